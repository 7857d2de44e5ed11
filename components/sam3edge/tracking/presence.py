"""What a track does in zones, at lines, and when it rests. Times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sam3edge.core.matching import box_iou
from sam3edge.core.types import Box, Detection
from sam3edge.tracking.earth import Position
from sam3edge.tracking.ground import Standing
from sam3edge.tracking.places import PlacesInFrame, Point, crossing, side_of

LINE_MARGIN = 0.05
"""Sizes of the object: so far from a line it is on one of its sides; nearer, it trembles on it."""

REST_IOU = 0.6
"""What rests has a box that overlaps the one it came to rest with at least so much."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A track and one zone.

    Attributes:
        entries: how often it has entered.
        total: seconds of the stays that are over.
        since: when the present stay began; None while it is outside.
        outside: when it was first outside, which has to be seen twice: a point on an edge trembles.
        told: whether the present stay has been long enough for an event.
    """

    entries: int
    total: float
    since: float | None
    outside: float | None = None
    told: bool = False

    def seconds(self, now: float) -> float:
        """In the zone so far, at most until it was outside."""
        if self.since is None:
            return self.total
        return self.total + max(0.0, (now if self.outside is None else self.outside) - self.since)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a track was clearly on one side of a line.

    Attributes:
        origin: of the plane, as in ``Coordinates``: on another one, as after the line was drawn anew, it says nothing.
    """

    point: Point
    origin: Position | None


@dataclass(frozen=True, slots=True)
class Presence:
    """Where a track has been.

    Attributes:
        stays: by the name of every zone that it has been in, in the order it first entered.
        anchors: by line, where it was last clearly on one side.
        crossings: by line, how often it went forward and backward.
        rest_box: with which it may have come to rest, pixels.
        rest_since: when.
        rest_standing: where on Earth that was; None where it has no place.
        stationary: whether it rests.
    """

    rest_box: Box
    rest_since: float
    rest_standing: Standing | None = None
    stays: Mapping[str, Stay] = field(default_factory=dict)
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    crossings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    stationary: bool = False

    @property
    def zones(self) -> tuple[str, ...]:
        """Those that it is in."""
        return tuple(name for name, stay in self.stays.items() if stay.since is not None)


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object that was seen.

    Attributes:
        standing: where it stands; None where it has no place.
        at: when.
        rest_box: with which it may have come to rest, as this frame shows it.
    """

    detection: Detection
    standing: Standing | None
    at: float
    rest_box: Box


def presence_after(presence: Presence, sighting: Sighting, places: PlacesInFrame, rest_seconds: float) -> Presence:
    """After one more sighting. Zones and lines that are there no more are forgotten; of those that cannot be compared
    with what is in this frame, nothing changes.

    Args:
        rest_seconds: that a box has to stay where it is.
    """
    detection, at = sighting.detection, sighting.at
    anchors, crossings = _lines(presence, detection, places)
    moved = box_iou([sighting.rest_box], [detection.box])[0, 0] < REST_IOU
    since = at if moved else presence.rest_since
    return Presence(
        detection.box if moved else presence.rest_box,
        since,
        sighting.standing if moved else presence.rest_standing,
        _stays(presence.stays, detection, at, places),
        anchors,
        crossings,
        not moved and at - since >= rest_seconds,
    )


def _stays(before: Mapping[str, Stay], detection: Detection, now: float, places: PlacesInFrame) -> dict[str, Stay]:
    prompt = detection.prompt.text
    zones = {zone.name: zone for zone, _ in places.zones if zone.is_for(prompt) and zone.kind != "exclude"}
    inside = {zone.name for zone in places.zones_of(detection)} & zones.keys()
    after = {name: stay for name, stay in before.items() if name in zones or name in places.unknown}
    for name, zone in zones.items():
        stay = after.get(name)
        if name in inside:
            if stay is None or stay.since is None:
                stay = Stay(1 + (stay.entries if stay else 0), stay.total if stay else 0.0, now)
            told = stay.told or (zone.dwell_seconds > 0 and now - (stay.since or now) >= zone.dwell_seconds)
            after[name] = replace(stay, outside=None, told=told)
        elif stay is not None and stay.since is not None:
            leaves = stay.outside is not None
            after[name] = Stay(stay.entries, stay.seconds(now), None) if leaves else replace(stay, outside=now)
    return after


def _lines(
    presence: Presence, detection: Detection, places: PlacesInFrame
) -> tuple[dict[str, Anchor], dict[str, tuple[int, int]]]:
    anchors = {name: anchor for name, anchor in presence.anchors.items() if name in places.unknown}
    crossings = {name: count for name, count in presence.crossings.items() if name in places.unknown}
    for line, start, end in places.lines:
        if not line.is_for(detection.prompt.text):
            continue
        origin, spot = line.coordinates.origin, line.coordinates.spot(detection, places.test_point)
        anchor, count = presence.anchors.get(line.name), presence.crossings.get(line.name)
        if spot is not None and abs(side_of(spot.point, start, end)) >= LINE_MARGIN * spot.size:
            direction = None
            if anchor is not None and anchor.origin == origin:
                direction = crossing(anchor.point, spot.point, start, end)
            if direction is not None:
                forward, backward = count or (0, 0)
                count = (forward + 1, backward) if direction == "forward" else (forward, backward + 1)
            anchor = Anchor(spot.point, origin)
        if anchor is not None:
            anchors[line.name] = anchor
        if count is not None:
            crossings[line.name] = count
    return anchors, crossings
