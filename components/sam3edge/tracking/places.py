"""Zones and lines: polygons and segments with a name, and the point of a detection that counts for them.

They are drawn in the picture or on the map, and a detection is compared with each where it was drawn: by its test point
in pixels, or by where it stands on Earth. So a zone on the map needs no projection into the picture, in which parts of
it may be behind the camera or beyond the horizon, and is the same for a camera that moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import Polygon

from sam3edge.core.georeference import Georeference
from sam3edge.core.messages.events import Direction
from sam3edge.core.types import Detection, Frame
from sam3edge.tracking.earth import Position, offset

Point: TypeAlias = tuple[float, float]
"""x, y on a plane (see ``Coordinates``), or in the coordinates that a zone is drawn in."""

Points: TypeAlias = npt.NDArray[np.float64]
"""float64 [N, 2]: x, y."""

ZoneKind: TypeAlias = Literal["watch", "include", "exclude"]
"""``watch`` only names what is in it; ``include`` drops detections that are in no such zone; ``exclude`` drops those
that are in it."""


TestPoint: TypeAlias = Callable[[Detection], Point]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a detection is on a plane.

    Attributes:
        point: that counts for zones and lines.
        size: of the object, in units of the plane: the root of the area it covers in the picture.
    """

    point: Point
    size: float


class Coordinates(Protocol):
    """What zones and lines are drawn in: they and detections are compared on a plane, in which x runs to the right and
    y down as one sees the picture or the map."""

    @property
    def origin(self) -> Position | None:
        """Around which position the plane is, in metres; None for the pixels of the frame."""

    def to_plane(self, points: Points, frame: Frame) -> Points:
        """Corners on the plane."""

    def spot(self, detection: Detection, test_point: TestPoint) -> Spot | None:
        """A detection on the plane; None where it is nowhere.

        Args:
            test_point: gives the point of it, in pixels, where the plane is the frame.
        """


class InFrame:
    """The plane is the frame: what all coordinates in the picture have in common."""

    __slots__ = ()

    @property
    def origin(self) -> Position | None:
        """See ``Coordinates``."""
        return None

    def spot(self, detection: Detection, test_point: TestPoint) -> Spot | None:
        """See ``Coordinates``."""
        return Spot(test_point(detection), max(1.0, math.sqrt(detection.geometry.area)))


@dataclass(frozen=True, slots=True)
class RelativeToFrame(InFrame):
    """0..1 of the frame's width and height."""

    def to_plane(self, points: Points, frame: Frame) -> Points:
        """See ``Coordinates``."""
        return points * np.array([frame.width, frame.height], np.float64)


@dataclass(frozen=True, slots=True)
class PixelsOfFrame(InFrame):
    """Pixels already."""

    def to_plane(self, points: Points, frame: Frame) -> Points:
        """See ``Coordinates``."""
        return points


@dataclass(frozen=True, slots=True)
class OnEarth:
    """Longitude and latitude. Edges are straight in them (RFC 7946, section 3.1.1), and go the short way round the
    globe. A detection is at its ``Place.position``, which is chosen by how the camera looks at it.

    Attributes:
        origin: some position near; it may be any of the corners.
    """

    origin: Position

    def to_plane(self, points: Points, frame: Frame) -> Points:
        """See ``Coordinates``: metres east and south."""
        return offset(self.origin, points) * [1.0, -1.0]

    def spot(self, detection: Detection, test_point: TestPoint) -> Spot | None:
        """See ``Coordinates``; a detection without a place is nowhere on Earth."""
        if (place := detection.place) is None:
            return None
        east, north = offset(self.origin, [place.position])[0]
        return Spot((float(east), -float(north)), math.sqrt(detection.geometry.area) * place.pixel)


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
    """All zones and lines, and the point of a detection that is in a zone or crosses a line of the frame."""

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
    test_point: TestPoint = bottom_center

    def within(self, frame: Frame, georeference: Georeference | None) -> PlacesInFrame:
        """The same on the planes on which they are compared with what is in a frame.

        Args:
            georeference: the frame's; without one, nobody knows who is in places on Earth.
        """
        every: tuple[Zone | Line, ...] = (*self.zones, *self.lines)
        unknown = frozenset(one.name for one in every if one.coordinates.origin is not None and georeference is None)
        zones = tuple(
            (zone, Polygon(zone.coordinates.to_plane(np.array(zone.points, np.float64), frame)))
            for zone in self.zones
            if zone.name not in unknown
        )
        lines = []
        for line in self.lines:
            if line.name not in unknown:
                ends = line.coordinates.to_plane(np.array([line.start, line.end], np.float64), frame)
                lines.append((line, (float(ends[0, 0]), float(ends[0, 1])), (float(ends[1, 0]), float(ends[1, 1]))))
        return PlacesInFrame(zones, tuple(lines), unknown, self.test_point)


@dataclass(frozen=True, slots=True, eq=False)
class PlacesInFrame:
    """Zones with their polygons, and lines with their ends, each on its plane.

    Attributes:
        unknown: names of those that cannot be compared with what is in this frame.
    """

    zones: tuple[tuple[Zone, Polygon], ...]
    lines: tuple[tuple[Line, Point, Point], ...]
    unknown: frozenset[str]
    test_point: TestPoint

    def zones_of(self, detection: Detection) -> tuple[Zone, ...]:
        """Zones that are for a detection's prompt and have it in them, or on their edge."""
        inside = []
        for zone, area in self.zones:
            if zone.is_for(detection.prompt.text):
                spot = zone.coordinates.spot(detection, self.test_point)
                if spot is not None and bool(shapely.intersects_xy(area, *spot.point)):
                    inside.append(zone)
        return tuple(inside)


def side_of(point: Point, start: Point, end: Point) -> float:
    """Distance on a plane from a point to the line through two others; positive on its right, for y runs down."""
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
