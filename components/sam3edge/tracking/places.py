"""Zones and lines: polygons and segments with a name, and the point of a detection that counts for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon

from sam3edge.core.messages.events import Direction
from sam3edge.core.types import Detection, Frame

Point: TypeAlias = tuple[float, float]
"""x, y in pixels of the frame, or in the coordinates that a zone is drawn in."""

Points: TypeAlias = npt.NDArray[np.float64]
"""float64 [N, 2]: x, y."""

ZoneKind: TypeAlias = Literal["watch", "include", "exclude"]
"""``watch`` only names what is in it; ``include`` drops detections that are in no such zone; ``exclude`` drops those
that are in it."""


class Coordinates(Protocol):
    """What zones and lines are drawn in. This is where a georeference comes in: one that turns longitude and latitude
    into pixels of a frame is another class of this protocol, and nothing else changes."""

    def to_pixels(self, points: Points, frame: Frame) -> Points:
        """The same points in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class RelativeToFrame:
    """0..1 of the frame's width and height."""

    def to_pixels(self, points: Points, frame: Frame) -> Points:
        """See ``Coordinates``."""
        return points * np.array([frame.width, frame.height], np.float64)


@dataclass(frozen=True, slots=True)
class PixelsOfFrame:
    """Pixels already."""

    def to_pixels(self, points: Points, frame: Frame) -> Points:
        """See ``Coordinates``."""
        return points


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon with a name.

    Attributes:
        name: in messages; unique among zones and lines.
        points: its corners, not closed.
        coordinates: what they are given in.
        prompts: texts of the prompts that it is for; empty for all.
        dwell_seconds: after so long in it there is an event; 0 for never.
    """

    name: str
    points: tuple[Point, ...]
    coordinates: Coordinates
    kind: ZoneKind = "watch"
    prompts: frozenset[str] = frozenset()
    dwell_seconds: float = 0.0

    def is_for(self, prompt: str) -> bool:
        """Whether objects of a prompt, given by its text, count here."""
        return not self.prompts or prompt in self.prompts


@dataclass(frozen=True, slots=True)
class Line:
    """A segment with a name; see ``Zone`` for the attributes, and ``events.Direction`` for what is forward."""

    name: str
    start: Point
    end: Point
    coordinates: Coordinates
    prompts: frozenset[str] = frozenset()

    def is_for(self, prompt: str) -> bool:
        """Whether objects of a prompt, given by its text, count here."""
        return not self.prompts or prompt in self.prompts


TestPoint: TypeAlias = Callable[[Detection], Point]


def bottom_center(detection: Detection) -> Point:
    """The middle of the lower edge of the box: where somebody stands whom a camera sees from the side."""
    x0, _, x1, y1 = detection.box
    return (x0 + x1) / 2, y1


def centroid(detection: Detection) -> Point:
    """The centre of gravity of the outline: for images that were taken from above."""
    point = detection.geometry.centroid
    return point.x, point.y


@dataclass(frozen=True, slots=True)
class Places:
    """All zones and lines, and the point of a detection that is in a zone or crosses a line."""

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    test_point: TestPoint = bottom_center

    def within(self, frame: Frame) -> PlacesInFrame:
        """The same in pixels of a frame."""
        zones = tuple(
            (zone, Polygon(zone.coordinates.to_pixels(np.array(zone.points, np.float64), frame))) for zone in self.zones
        )
        lines = []
        for line in self.lines:
            ends = line.coordinates.to_pixels(np.array([line.start, line.end], np.float64), frame)
            lines.append((line, (float(ends[0, 0]), float(ends[0, 1])), (float(ends[1, 0]), float(ends[1, 1]))))
        return PlacesInFrame(zones, tuple(lines), self.test_point)


@dataclass(frozen=True, slots=True, eq=False)
class PlacesInFrame:
    """Zones with their polygons, and lines with their ends, in pixels of one frame."""

    zones: tuple[tuple[Zone, Polygon], ...]
    lines: tuple[tuple[Line, Point, Point], ...]
    test_point: TestPoint

    def zones_at(self, point: Point, prompt: str) -> tuple[Zone, ...]:
        """Zones that are for a prompt and have the point in them, or on their edge."""
        return tuple(
            zone for zone, area in self.zones if zone.is_for(prompt) and bool(shapely.intersects_xy(area, *point))
        )


def side_of(point: Point, start: Point, end: Point) -> float:
    """Pixels from a point to the line through two others; positive on its right, for y runs down."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (dx * (point[1] - start[1]) - dy * (point[0] - start[0])) / max(float(np.hypot(dx, dy)), 1e-9)


def crossing(before: Point, now: Point, start: Point, end: Point) -> Direction | None:
    """How a step crosses a segment; None when it does not, or ends on the line itself."""
    a, b = side_of(before, start, end), side_of(now, start, end)
    if a * b >= 0:
        return None
    share = a / (a - b)
    at = before[0] + share * (now[0] - before[0]), before[1] + share * (now[1] - before[1])
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((at[0] - start[0]) * dx + (at[1] - start[1]) * dy) / (dx * dx + dy * dy)
    if not 0 <= along <= 1:
        return None
    return "forward" if a > 0 else "backward"
