"""Sequences with known tracks: seeded objects that move, cross, hide, leave and enter; and IDF1.

Times are seconds since the sequence began, coordinates pixels of a frame of ``WIDTH`` x ``HEIGHT``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import numpy as np
import numpy.typing as npt
import shapely
from scipy.optimize import linear_sum_assignment
from shapely.affinity import rotate

from sam3edge.core.matching import outline_iou
from sam3edge.core.types import Detection, Detections, Frame, Prompt
from support.samples import MODEL

WIDTH, HEIGHT = 1280, 720
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PERSON = Prompt("person")
BLACK: npt.NDArray[np.uint8] = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@dataclass(frozen=True)
class Mover:
    """One object: a person-like ellipse.

    Attributes:
        start, end: seconds in which it is in the scene.
        x, y: its centre at ``start``.
        vx, vy: pixels a second.
        turn: pixels a second squared, across its way: it walks a curve.
        hidden: seconds in which nobody can see it.
    """

    name: str
    start: float
    end: float
    x: float
    y: float
    vx: float
    vy: float
    turn: float = 0.0
    width: float = 50.0
    height: float = 130.0
    hidden: tuple[tuple[float, float], ...] = ()
    prompt: Prompt = PERSON

    def outline(self, at: float) -> shapely.Polygon | None:
        """Where it is; None when it cannot be seen."""
        t = at - self.start
        if not self.start <= at <= self.end or any(a <= at < b for a, b in self.hidden):
            return None
        speed = max(1e-9, float(np.hypot(self.vx, self.vy)))
        x = self.x + self.vx * t - self.turn * self.vy / speed * t * t / 2
        y = self.y + self.vy * t + self.turn * self.vx / speed * t * t / 2
        if not (0 <= x <= WIDTH and 0 <= y <= HEIGHT):
            return None
        return ellipse(x, y, self.width, self.height)


@dataclass(frozen=True)
class Moment:
    """One frame, what a detector finds in it, and what is really there."""

    frame: Frame
    detections: Detections
    truth: Mapping[str, shapely.Polygon]


def ellipse(x: float, y: float, width: float, height: float) -> shapely.Polygon:
    """An outline of 40 vertices."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return shapely.Polygon(np.stack([x + width / 2 * np.cos(angle), y + height / 2 * np.sin(angle)], 1))


def frame_at(at: float, source: str = "camera") -> Frame:
    """The frame of a moment."""
    captured = START + timedelta(seconds=at)
    return Frame(f"{source}-{at:.3f}", source, f"{at:09.3f}", BLACK, captured, "sha256:" + "0" * 64)


def found(*detections: Detection) -> Detections:
    """What a model found."""
    return Detections(MODEL, detections, {})


def detection_of(outline: shapely.Polygon, prompt: Prompt = PERSON, score: float = 0.9) -> Detection:
    """An outline as a detector tells of it."""
    return Detection(prompt, score, outline.bounds, outline.area, outline)


def film(
    movers: Sequence[Mover],
    times: Sequence[float],
    seed: int,
    *,
    jitter: float = 0.04,
    missed: float = 0.03,
    ghosts: float = 0.05,
) -> list[Moment]:
    """What a detector with faults sees: outlines that are off by ``jitter`` of the size, objects ``missed`` now and
    then, and ``ghosts`` (a frame) where nothing is. Of two objects of which one covers the other by 70 %, it finds the
    front one."""
    chance = np.random.default_rng(seed)
    moments = []
    for at in times:
        truth = {m.name: shape for m in movers if (shape := m.outline(at)) is not None}
        front = sorted(truth.items(), key=lambda item: -item[1].bounds[3])  # the nearer one stands lower in the image
        visible: dict[str, shapely.Polygon] = {}
        for name, shape in front:
            if all(shape.intersection(other).area < 0.7 * shape.area for other in visible.values()):
                visible[name] = shape
        prompts = {m.name: m.prompt for m in movers}
        seen = []
        for name, shape in visible.items():
            if chance.random() >= missed:
                x, y = shape.centroid.x, shape.centroid.y
                x0, y0, x1, y1 = shape.bounds
                w, h = x1 - x0, y1 - y0
                dx, dy = chance.normal(0, jitter, 2) * (w, h)
                scale = 1 + chance.normal(0, jitter)
                wobble = rotate(ellipse(x + dx, y + dy, w * scale, h * scale), float(chance.normal(0, 3)))
                seen.append(detection_of(wobble, prompts[name], float(chance.uniform(0.6, 0.95))))
        if chance.random() < ghosts:
            seen.append(detection_of(ellipse(chance.uniform(0, WIDTH), chance.uniform(0, HEIGHT), 45, 120), score=0.55))
        order = chance.permutation(len(seen))
        moments.append(Moment(frame_at(at), found(*(seen[i] for i in order)), visible))
    return moments


def crowd(seed: int, count: int, seconds: float, *, hide: float = 1.0) -> list[Mover]:
    """People who walk through the image from its sides on all kinds of ways; each second one is hidden once for
    ``hide`` seconds."""
    chance = np.random.default_rng(seed)
    movers = []
    for number in range(count):
        start = float(chance.uniform(0, seconds * 0.7))
        rightward = bool(chance.random() < 0.5)
        vx = float(chance.uniform(40, 110)) * (1 if rightward else -1)
        mover = Mover(
            f"p{number}", start, seconds, 0.0 if rightward else WIDTH, float(chance.uniform(120, 600)), vx,
            float(chance.uniform(-12, 12)), float(chance.normal(0, 2)), float(chance.uniform(40, 60)),
            float(chance.uniform(100, 150)),
        )  # fmt: skip
        if number % 2:
            begins = start + float(chance.uniform(3, 7))
            mover = replace(mover, hidden=((begins, begins + hide),))
        movers.append(mover)
    return movers


def without_places(moments: Sequence[Moment]) -> list[Moment]:
    """The same, of a camera that does not know where it is."""
    return [replace(m, detections=found(*(replace(d, place=None) for d in m.detections.detections))) for m in moments]


def idf1(truth: Sequence[Mapping[str, shapely.Polygon]], tracked: Sequence[Mapping[str, shapely.Polygon]]) -> float:
    """Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking (2016): the
    one-to-one assignment of identities that explains most outlines, at an overlap of at least 0.5 in each frame.

    Args:
        truth: by frame, outline of every object that is there, by its name.
        tracked: by frame, outline of every detection that has a track, by its identifier.
    """
    together: Counter[tuple[str, str]] = Counter()
    for real, said in zip(truth, tracked, strict=True):
        overlaps = outline_iou(list(real.values()), list(said.values()))
        for row, column in np.argwhere(overlaps >= 0.5):
            together[list(real)[row], list(said)[column]] += 1
    names = sorted({name for name, _ in together})
    identities = sorted({identity for _, identity in together})
    counts = np.array([[together[name, identity] for identity in identities] for name in names], int).reshape(
        len(names), len(identities)
    )
    rows, columns = linear_sum_assignment(-counts)
    every = sum(map(len, truth)) + sum(map(len, tracked))
    return 2 * float(counts[rows, columns].sum()) / every
