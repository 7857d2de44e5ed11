"""What is known of one object over time, and what about it is worth an event."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.messages.envelope import stable_id
from sam3edge.core.messages.events import EventReason, TrackView
from sam3edge.core.types import Box, Detection
from sam3edge.tracking.motion import HORIZON, Motion, first_seen
from sam3edge.tracking.places import PlacesInFrame
from sam3edge.tracking.presence import Presence, seen

LABEL_LOOKS = 5
"""A track is called what it was called in most of its last so many frames."""

OUTLINE_VERTICES = 32
"""Of the outline that is kept; with it, a track takes a bounded number of bytes."""


@dataclass(frozen=True, slots=True)
class Track:
    """One object. Times are seconds since 1970, coordinates pixels of the frame.

    Attributes:
        id: follows from the first frame it was seen in and its time, so it never repeats, whatever is forgotten.
        prompt: text of the prompt that finds it.
        labels: what it was called in its last frames, the newest last.
        label: what it is called.
        score: in the last frame; ``top_score`` the best ever.
        area: as in ``Detection``, of the last frame, like ``box`` and ``outline``, which is simplified.
        motion: at the time it was last seen.
        looks: frames it was seen in.
        born, seen: when it was seen first and last.
        missing_since: when it was first looked for and not found, since it was last seen; None when it was not missed.
        announced: whether its ``new`` event was made.
    """

    id: str
    prompt: str
    labels: tuple[str, ...]
    label: str
    score: float
    top_score: float
    box: Box
    area: float
    outline: Polygon
    motion: Motion
    looks: int
    born: float
    seen: float
    missing_since: float | None
    announced: bool
    presence: Presence

    @property
    def size(self) -> float:
        """Root of the area of its outline, pixels."""
        return size_of(self.outline)

    @property
    def gone_at(self) -> float:
        """When it ended, if it is over: it was there until it was missed."""
        return self.seen if self.missing_since is None else self.missing_since

    def predicted(self, at: float) -> Motion:
        """Where it should be. After a pause without any look it should be where it was: a gate holds frames back only
        while nothing moves, and after a longer interruption nothing better is known."""
        pause = at - self.seen
        if self.missing_since is None and pause > HORIZON:
            return self.motion.resting(self.size)
        return self.motion.after(pause, self.size)

    def view(self, at: float, end: float | None = None) -> TrackView:
        """What is told of it.

        Args:
            at: when, for the seconds in its zones.
            end: when it ended.
        """
        presence = self.presence
        return TrackView(
            self.id, self.label, self.prompt, self.score, self.top_score, self.box, self.area,
            moment(self.born), moment(self.seen), None if end is None else moment(end), presence.stationary,
            presence.zones if end is None else (), {name: stay.seconds(at) for name, stay in presence.stays.items()},
            presence.crossings,
        )  # fmt: skip


def born(frame_id: str, number: int, detection: Detection, outline: Polygon, at: float) -> Track:
    """A track of an object that was not known.

    Args:
        number: of the detection in its frame.
        outline: the detection's, simplified.
    """
    center, name, size = outline.centroid, detection.prompt.name, size_of(outline)
    return Track(
        id=stable_id("track", frame_id, repr(at), number),
        prompt=detection.prompt.text,
        labels=(name,),
        label=name,
        score=detection.score,
        top_score=detection.score,
        box=detection.box,
        area=detection.area,
        outline=outline,
        motion=first_seen(center.x, center.y, size),
        looks=1,
        born=at,
        seen=at,
        missing_since=None,
        announced=False,
        presence=Presence(detection.box, at),
    )


def seen_again(track: Track, detection: Detection, outline: Polygon, at: float) -> Track:
    """The track after one more frame in which it was found."""
    center, labels = outline.centroid, (*track.labels, detection.prompt.name)[-LABEL_LOOKS:]
    return replace(
        track,
        labels=labels,
        label=_elected(labels, track.label),
        score=detection.score,
        top_score=max(track.top_score, detection.score),
        box=detection.box,
        area=detection.area,
        outline=outline,
        motion=track.predicted(at).corrected(center.x, center.y, track.size),
        looks=track.looks + 1,
        seen=at,
        missing_since=None,
    )


def placed(track: Track, detection: Detection, places: PlacesInFrame, rest_seconds: float) -> Track:
    """The track with what it does in zones, at lines and at rest, after it was seen."""
    return replace(track, presence=seen(track.presence, detection, track.seen, places, rest_seconds))


def reasons_between(before: Track, after: Track) -> Iterator[EventReason]:
    """What has happened to a track that a person would tell of."""
    a, b = before.presence, after.presence
    for name in b.zones:
        if name not in a.zones or b.stays[name].entries != a.stays[name].entries:
            yield EventReason("zone_entered", name)
    for name in a.zones:
        if name not in b.zones:
            yield EventReason("zone_left", name)
    for name, stay in b.stays.items():
        if stay.told and not (name in a.stays and a.stays[name].told):
            yield EventReason("dwelt", name)
    for name, (forward, backward) in b.crossings.items():
        forward_before, backward_before = a.crossings.get(name, (0, 0))
        if forward > forward_before:
            yield EventReason("line_crossed", name, "forward")
        if backward > backward_before:
            yield EventReason("line_crossed", name, "backward")
    if before.label != after.label:
        yield EventReason("label", after.label)
    if a.stationary != b.stationary:
        yield EventReason("stationary" if b.stationary else "active")


def compact(geometry: Polygon | MultiPolygon) -> Polygon:
    """An outline of at most ``OUTLINE_VERTICES`` vertices, without holes; of several parts, the hull of all of them: a
    pole in front of somebody does not make two of him."""
    shape: BaseGeometry = Polygon(geometry.exterior) if isinstance(geometry, Polygon) else shapely.convex_hull(geometry)
    tolerance = 0.01 * max(1.0, shape.area) ** 0.5
    while shapely.get_num_coordinates(shape) > OUTLINE_VERTICES:
        shape = shapely.simplify(shape, tolerance)
        tolerance *= 2
    if not isinstance(shape, Polygon) or shape.is_empty:
        return shapely.box(*geometry.bounds)
    return shape


def size_of(outline: Polygon) -> float:
    """Root of the area, at least a pixel."""
    return max(1.0, math.sqrt(outline.area))


def moment(seconds: float) -> datetime:
    """Seconds since 1970 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def _elected(labels: tuple[str, ...], before: str) -> str:
    """The most frequent; of several, the one it had."""
    votes = Counter(labels)
    most = max(votes.values())
    leading = [label for label in reversed(labels) if votes[label] == most]
    return before if before in leading else leading[0]
