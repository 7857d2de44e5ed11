"""Sequences with known tracks on the ground, seen by cameras that stand, fly or turn, with errors in what they say of
themselves.

Times are seconds since the sequence began, coordinates metres east and north of ``HOME``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely.affinity import rotate, translate

from sam3edge.core.types import Detection, Prompt
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from sam3edge.tracking.earth import moved
from support.moving_scenes import HEIGHT, PERSON, WIDTH, Moment, detection_of, ellipse, found, frame_at
from support.places import located

HOME = (13.4, 52.5)
CAR = Prompt("car")
SIZES: Mapping[str, tuple[float, float, float]] = {"person": (0.5, 0.35, 1.75), "car": (1.8, 4.5, 1.5)}
"""Metres: across the way, along it, and upwards."""


@dataclass(frozen=True)
class Walker:
    """One object on the ground.

    Attributes:
        start, end: seconds in which it is there.
        east, north: where it is at ``start``.
        speed: metres a second; ``heading`` of its way, degrees, and by how much it turns a second.
        hidden: seconds in which nobody can see it.
    """

    name: str
    start: float
    end: float
    east: float
    north: float
    speed: float
    heading: float
    turn: float = 0.0
    prompt: Prompt = PERSON
    hidden: tuple[tuple[float, float], ...] = ()

    def at(self, time: float) -> tuple[float, float, float]:
        """East, north, heading."""
        t, heading = time - self.start, np.radians(self.heading)
        if abs(self.turn) < 1e-6:
            return self.east + self.speed * t * np.sin(heading), self.north + self.speed * t * np.cos(heading), heading
        radius, now = self.speed / np.radians(self.turn), heading + np.radians(self.turn) * t
        return (
            self.east + radius * (np.cos(heading) - np.cos(now)),
            self.north + radius * (np.sin(now) - np.sin(heading)),
            now,
        )

    def is_visible(self, time: float) -> bool:
        return self.start <= time <= self.end and not any(a <= time < b for a, b in self.hidden)

    def body(self, time: float) -> np.ndarray:
        """[n, 3], metres east, north and up: an elliptic column."""
        east, north, heading = self.at(time)
        across, along, height = SIZES[self.prompt.text]
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        side, ahead = across / 2 * np.cos(angle), along / 2 * np.sin(angle)
        ring = np.stack(
            [
                east + side * np.cos(heading) + ahead * np.sin(heading),
                north - side * np.sin(heading) + ahead * np.cos(heading),
            ],
            1,
        )
        return np.concatenate([np.column_stack([ring, np.full(24, z)]) for z in (0.0, height / 2, height)])


@dataclass(frozen=True)
class View:
    """Where a camera is and looks; see ``CameraPose``."""

    east: float
    north: float
    height: float
    heading: float
    tilt: float

    def pose(self) -> CameraPose:
        longitude, latitude = map(float, moved(HOME, self.east, self.north))
        return CameraPose(longitude, latitude, self.height, self.heading, self.tilt, 0.0, 65.0)

    def shown(self, points: np.ndarray) -> np.ndarray | None:
        """[n, 2] pixels of [n, 3] metres; None where one is behind the camera. A pinhole that is written anew, so that
        what the device computes is compared with something else."""
        h, t = np.radians([self.heading, self.tilt])
        ahead = np.array([np.sin(h) * np.cos(t), np.cos(h) * np.cos(t), -np.sin(t)])
        right = np.array([np.cos(h), -np.sin(h), 0.0])
        seen = (points - [self.east, self.north, self.height]) @ np.stack([right, np.cross(ahead, right), ahead]).T
        if (seen[:, 2] < 0.5).any():
            return None
        focal = WIDTH / 2 / np.tan(np.radians(65.0) / 2)
        return focal * seen[:, :2] / seen[:, 2:] + [WIDTH / 2, HEIGHT / 2]


Flight = Callable[[float], View]
"""The camera at a time."""


def _swing(t: float, most: float, seconds: float) -> float:
    """To both sides and back."""
    return float(most * np.sin(2 * np.pi * t / seconds))


FLIGHTS: Mapping[str, Flight] = {
    "mast": lambda t: View(0, 0, 6, 0, 22),
    "pan": lambda t: View(0, 0, 8, _swing(t, 40, 14), 25),
    "over": lambda t: View(_swing(t, 6, 9), 3 * t + _swing(t, 5, 7), 25, _swing(t, 15, 8), 90),
    "oblique": lambda t: View(_swing(t, 8, 10), -25 + 2 * t, 25 + _swing(t, 4, 11), _swing(t, 20, 9), 50),
    "orbit": lambda t: View(20 * np.sin(0.3 * t), 20 * np.cos(0.3 * t), 25, float(np.degrees(0.3 * t)) + 180, 55),
}
"""A camera on a mast; one that pans; drones that look down while they fly, ahead with gusts, and at what they fly
around."""

STEADY = PoseAccuracy(position=0.0, height=0.0, heading=0.0, tilt=0.0, roll=0.0, field_of_view=0.0)
SURVEYED = PoseAccuracy(position=0.05, height=0.05, heading=0.3, tilt=0.2, roll=0.1, field_of_view=0.2)
SATELLITE = PoseAccuracy(position=2.0, height=1.0, heading=2.0, tilt=0.5, roll=0.5, field_of_view=0.5)
"""What a camera states: nothing wrong; with RTK; a drone's default."""

TREMBLE = 0.1
"""Share of these errors that is another one in every frame; the rest drifts slowly, over a minute."""


AWAY = 3.0
"""Seconds: who was not found in the picture for so long, and not in the next frame either, is somebody else when the
camera comes back to him: so long tracks wait by default."""


def watch(
    walkers: Sequence[Walker],
    flight: Flight,
    times: Sequence[float],
    seed: int,
    *,
    errors: PoseAccuracy = STEADY,
    jitter: float = 0.04,
    missed: float = 0.03,
    ghosts: float = 0.05,
) -> list[Moment]:
    """What a detector with faults sees, as ``moving_scenes.film``, with the place of everything as the device computes
    it from what the camera says of itself."""
    chance = np.random.default_rng(seed)
    spread = np.array([errors.position, errors.position, errors.height, errors.heading, errors.tilt])
    drift, phase = chance.normal(0, 1, (2, 5)), chance.uniform(0, 2 * np.pi, 5)
    stated = replace(errors, **{n: max(1e-6, getattr(errors, n)) for n in errors.__slots__})
    stands = flight(0.0) == flight(1.0)
    moments, prompts = [], {walker.name: walker.prompt for walker in walkers}
    last, visits = dict[str, float](), Counter[str]()
    step = times[1] - times[0]
    for at in times:
        view = flight(at)
        visible = _visible(walkers, view, at)
        visits.update(name for name in visible if at - last.get(name, at) > AWAY + step)
        last.update(dict.fromkeys(visible, at))
        truth = {f"{name}-{visits[name]}": shape for name, shape in visible.items()}
        seen = [
            _with_faults(shape, prompts[name], jitter, chance)
            for name, shape in visible.items()
            if chance.random() >= missed
        ]
        if chance.random() < ghosts:
            seen.append(detection_of(ellipse(chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT), 30, 30), score=0.55))
        turn = 2 * np.pi * at / 60 + phase
        off = spread * (drift[0] * np.sin(turn) + drift[1] * np.cos(turn)) / np.sqrt(2)
        off = off + TREMBLE * spread * chance.normal(0, 1, 5)
        if stands:
            off = spread * drift[0]
        east, north, height, heading, tilt = map(float, np.array([*vars(view).values()]) + off)
        camera = camera_of(View(east, north, height, heading, tilt).pose(), (WIDTH, HEIGHT), stated)
        order = chance.permutation(len(seen))
        moments.append(Moment(frame_at(at), located(camera, found(*(seen[i] for i in order))), truth))
    return moments


def _visible(walkers: Sequence[Walker], view: View, at: float) -> dict[str, shapely.Polygon]:
    """Outlines of those of whom half is in the picture, and less than 70 % behind somebody nearer."""
    frame = shapely.box(0, 0, WIDTH, HEIGHT)
    near: list[tuple[float, str, shapely.Polygon]] = []
    for walker in walkers:
        if walker.is_visible(at) and (pixels := view.shown(walker.body(at))) is not None:
            whole = shapely.MultiPoint(pixels).convex_hull
            part = whole.intersection(frame)
            east, north, _ = walker.at(at)
            if part.area >= 0.5 * whole.area and part.area > 60:
                near.append((np.hypot(east - view.east, north - view.north), walker.name, part))
    visible: dict[str, shapely.Polygon] = {}
    for _, name, shape in sorted(near, key=lambda one: one[0]):
        if all(shape.intersection(other).area < 0.7 * shape.area for other in visible.values()):
            visible[name] = shape
    return visible


def _with_faults(shape: shapely.Polygon, prompt: Prompt, jitter: float, chance: np.random.Generator) -> Detection:
    x0, y0, x1, y1 = shape.bounds
    dx, dy = chance.normal(0, jitter, 2) * (x1 - x0, y1 - y0)
    grown = 1 + chance.normal(0, jitter)
    wobble = shapely.affinity.scale(rotate(translate(shape, dx, dy), float(chance.normal(0, 3))), grown, grown)
    return detection_of(wobble, prompt, float(chance.uniform(0.6, 0.95)))


def street(seed: int, count: int, seconds: float, flight: Flight, *, hide: float = 1.0) -> list[Walker]:
    """People and some cars on all kinds of ways where the camera will look; each second one is hidden once for ``hide``
    seconds while it is in the picture."""
    chance = np.random.default_rng(seed)
    walkers = []
    for number in range(count):
        is_car = number % 5 == 4
        speed = float(chance.uniform(3, 9) if is_car else chance.uniform(0.6, 2.0))
        heading, met = float(chance.uniform(0, 360)), float(chance.uniform(0, seconds))
        east, north = _looked_at(flight(met), chance)
        before = float(min(met, chance.uniform(4, 15)))
        way = np.radians(heading)
        walker = Walker(
            f"w{number}", met - before, met + float(chance.uniform(4, 15)), east - speed * before * np.sin(way),
            north - speed * before * np.cos(way), speed, heading, float(chance.normal(0, 2)), CAR if is_car else PERSON,
        )  # fmt: skip
        if number % 2:
            begins = met + float(chance.uniform(-3, 3))
            walker = replace(walker, hidden=((begins, begins + hide),))
        walkers.append(walker)
    return walkers


def _looked_at(view: View, chance: np.random.Generator) -> tuple[float, float]:
    """A place on the ground that a camera shows, at most 45 m away."""
    camera = camera_of(view.pose(), (WIDTH, HEIGHT), PoseAccuracy())
    while True:
        pixel = np.array([[chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT)]])
        east, north = camera.plane.to_plane(camera.to_world(pixel))[0] + [view.east, view.north]
        if np.hypot(east - view.east, north - view.north) < 45:
            return float(east), float(north)
