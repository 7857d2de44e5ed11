"""Where detections stand on the ground, and tracks with them: what stays the same when the camera moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sam3edge.core.georeference import Georeference, Points
from sam3edge.core.types import Detection
from sam3edge.tracking.earth import Position, offset
from sam3edge.tracking.motion import FIRST_SPEED, MEASURED, Edge, Matrices, Motion, came_in, first_seen

Affine: TypeAlias = list[float]
"""Six numbers, see ``shapely.affinity.affine_transform``."""

MIN_SIZE = 0.8
"""Metres: what appears smaller moves as if it were as large, as people do who are seen from above."""

ACCURACY_95 = 2.4477
"""Standard deviations in an accuracy of 95 % on a plane (``Georeference.accuracy``)."""

TREMBLE = 0.2
"""Share of the accuracy by which a camera that moves may place things elsewhere than in the frame before: most of what
is wrong with its position and its angles changes slowly."""

HELD_STILL = 0.01
"""Pixels by which a place may have moved in the picture of a camera that stands."""

LANDMARKS = ((0.1, 0.9), (0.9, 0.9))
"""Shares of the width and height: two of them, since a camera that turns may turn around one."""

Landmark: TypeAlias = tuple[tuple[float, float], Position]
"""A pixel, and the position that it shows."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an object stands, in one frame.

    Attributes:
        position: longitude, latitude.
        pixel: where the frame shows that.
        scale: metres there of a step of one pixel, row by row: east of one to the right, east of one down, north of one
            to the right, north of one down.
        tremble: metres by which the camera may place all it sees elsewhere than in the frame before (standard
            deviation).
    """

    position: Position
    pixel: tuple[float, float]
    scale: tuple[float, float, float, float]
    tremble: float

    def noise(self, size: float) -> Matrices:
        """[2, 2], square metres: covariance of the position of what is so large.

        Args:
            size: of the object, pixels.
        """
        by_pixel = np.array(self.scale).reshape(2, 2)
        return np.asarray((MEASURED * size) ** 2 * by_pixel @ by_pixel.T + self.tremble**2 * np.eye(2))

    def metres(self, size: float) -> float:
        """The size of what appears so large: by the direction in which a pixel is shortest, for the other one is
        stretched where a camera looks from the side."""
        e_x, e_y, n_x, n_y = self.scale
        squares, area = e_x**2 + e_y**2 + n_x**2 + n_y**2, e_x * n_y - e_y * n_x
        longest = math.sqrt((squares + math.sqrt(max(0.0, squares**2 - 4 * area**2))) / 2)
        return size * abs(area) / longest


@dataclass(frozen=True, slots=True)
class Ground:
    """A track on the ground, as it was last seen.

    Attributes:
        standing: where that was.
        motion: metres east and north of that position.
        size: metres.
    """

    standing: Standing
    motion: Motion
    size: float

    @classmethod
    def first(cls, standing: Standing, size: float, edge: Edge) -> Ground:
        """Of what was seen once.

        Args:
            size: pixels.
            edge: the nearest one, pixels; over that of a camera that moves it need not have come itself.
        """
        metres = standing.metres(size)
        extent = max(MIN_SIZE, metres)
        motion = first_seen(0.0, 0.0, standing.noise(size), extent)
        if not standing.tremble:
            inwards = np.array(standing.scale).reshape(2, 2) @ edge.inwards
            length = float(np.hypot(*inwards))
            east, north = map(float, inwards / length)
            motion = came_in(motion, Edge(length * edge.away, (east, north), edge.seconds), extent)
        return cls(standing, motion, metres)

    @property
    def extent(self) -> float:
        """The size in which its movements are measured, metres."""
        return max(MIN_SIZE, self.size)

    def after(self, seconds: float) -> Motion:
        """Where it should be by now, around where it was."""
        return self.motion.after(seconds, self.extent)

    def resting(self) -> Motion:
        """See ``Motion.resting``."""
        return self.motion.resting(self.extent)

    def again(self, expected: Motion, standing: Standing, size: float) -> Ground:
        """After it was seen once more.

        Args:
            expected: where it should have been.
            size: pixels.
        """
        east, north = map(float, offset(self.standing.position, [standing.position])[0])
        motion = expected.corrected(east, north, standing.noise(size)).around(east, north)
        return Ground(standing, motion, standing.metres(size))

    @property
    def speed(self) -> float | None:
        """Metres a second; None before it was seen for long enough to know."""
        if self.motion.speed_deviation > FIRST_SPEED * self.extent / 2:
            return None
        return math.hypot(self.motion.vx, self.motion.vy)

    @property
    def heading(self) -> float | None:
        """Degrees clockwise from north; None while it may as well rest."""
        if self.speed is None or self.speed < 2 * self.motion.speed_deviation:
            return None
        return math.degrees(math.atan2(self.motion.vx, self.motion.vy)) % 360.0


def landmarks(georeference: Georeference | None) -> tuple[Landmark, ...]:
    """Points on the ground by which it is seen whether the camera moves: low in the picture, where there is no sky."""
    if georeference is None:
        return ()
    pixels = np.array(LANDMARKS) * georeference.size
    pairs = zip(pixels.tolist(), georeference.to_world(pixels).tolist(), strict=True)
    return tuple(((x, y), (east, north)) for (x, y), (east, north) in pairs if math.isfinite(east + north))


def has_moved(before: Sequence[Landmark], georeference: Georeference) -> bool:
    """Whether a frame shows the landmarks of an earlier one elsewhere; also where there were none."""
    if not before:
        return True
    now = shown([position for _, position in before], georeference)
    away = np.hypot(*(np.array(now) - [pixel for pixel, _ in before]).T)
    return not bool((away < HELD_STILL).all())


def standings(detections: Sequence[Detection], georeference: Georeference | None, moves: bool) -> list[Standing | None]:
    """Where detections stand; None of those that have no place.

    Args:
        moves: whether the camera has moved since the frame before.
    """
    found: list[Standing | None] = [None] * len(detections)
    placed = [(number, d.place) for number, d in enumerate(detections) if d.place is not None]
    if georeference is None or not placed:
        return found
    share = TREMBLE / ACCURACY_95 if moves else 0.0
    pixels = georeference.to_pixels(np.array([place.position for _, place in placed], np.float64))
    for (number, place), pixel, scale in zip(placed, pixels, _scales(georeference, pixels), strict=True):
        if _is_regular(scale):
            e_x, e_y, n_x, n_y = map(float, scale.ravel())
            at = float(pixel[0]), float(pixel[1])
            found[number] = Standing(place.position, at, (e_x, e_y, n_x, n_y), share * place.accuracy)
    return found


def shown(positions: Sequence[Position], georeference: Georeference) -> list[tuple[float, float]]:
    """Pixels of positions; NaN where the frame shows them nowhere."""
    if not positions:
        return []
    return [(float(x), float(y)) for x, y in georeference.to_pixels(np.array(positions, np.float64))]


def carried(
    standings: Sequence[Standing], positions: Sequence[Position], georeference: Georeference
) -> list[Affine | None]:
    """From pixels around where objects stood to pixels of another frame, in which they stand elsewhere: to first order,
    as if they lay flat on the ground. None where that frame does not show the new position.

    Args:
        positions: where each of them stands now.
        georeference: of the other frame.
    """
    if not standings:
        return []
    pixels = georeference.to_pixels(np.array(positions, np.float64))
    return [
        _affine(standing, pixel, scale) if _is_regular(scale) else None
        for standing, pixel, scale in zip(standings, pixels, _scales(georeference, pixels), strict=True)
    ]


def _affine(then: Standing, pixel: Points, scale: Matrices) -> Affine:
    """As shapely takes it: x' = a x + b y + x0, y' = d x + e y + y0, in the order a, b, d, e, x0, y0."""
    turn = np.linalg.solve(scale, np.reshape(then.scale, (2, 2)))
    shift = pixel - turn @ then.pixel
    return [*map(float, turn.ravel()), *map(float, shift)]


def _scales(georeference: Georeference, pixels: Points) -> Matrices:
    """[n, 2, 2], as ``Standing.scale``; NaN where a pixel or one beside it has no place."""
    steps = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    right, left, down, up = georeference.to_world((pixels[None] + steps[:, None]).reshape(-1, 2)).reshape(4, -1, 2)
    return np.stack([offset(left, right), offset(up, down)], axis=2)


def _is_regular(scale: Matrices) -> bool:
    return bool(np.isfinite(scale).all()) and abs(float(np.linalg.det(scale))) > 0.0
