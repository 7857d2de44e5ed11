"""What is known of one object over time, and what about it is worth an event."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.georeference import Georeference
from sam3edge.core.messages.envelope import stable_id
from sam3edge.core.messages.events import EventReason, TrackView
from sam3edge.core.types import Box, Detection, Frame
from sam3edge.tracking.ground import Ground, Standing, shown
from sam3edge.tracking.motion import HORIZON, Edge, Motion, came_in, first_seen, measured
from sam3edge.tracking.places import PlacesInFrame
from sam3edge.tracking.presence import Presence, Sighting, presence_after

LABEL_LOOKS = 5
"""A track is called what it was called in most of its last so many frames."""

OUTLINE_VERTICES = 32
"""Of the outline that is kept; with it, a track takes a bounded number of bytes."""

LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True, slots=True)
class Seen:
    """One detection as tracks are compared with it.

    Attributes:
        number: in the frame.
        outline: simplified, in pixels; ``center`` its centre, ``size`` the root of its area.
        standing: where it stands; None where it has no place.
    """

    number: int
    detection: Detection
    outline: Polygon
    center: tuple[float, float]
    size: float
    standing: Standing | None

    @classmethod
    def of(cls, number: int, detection: Detection, standing: Standing | None) -> Seen:
        """With what is needed of its outline."""
        outline = compact(detection.geometry)
        center = outline.centroid
        return cls(number, detection, outline, (center.x, center.y), size_of(outline), standing)


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
        ground: the same on Earth; None if it had no place then.
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
    ground: Ground | None
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
        return self.motion.resting(self.size) if self._rests(at) else self.motion.after(at - self.seen, self.size)

    def predicted_on(self, ground: Ground, at: float) -> Motion:
        """The same on the ground."""
        return ground.resting() if self._rests(at) else ground.after(at - self.seen)

    def _rests(self, at: float) -> bool:
        return self.missing_since is None and at - self.seen > HORIZON

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
            presence.crossings, None if self.ground is None else self.ground.standing.position,
            None if self.ground is None else self.ground.speed, None if self.ground is None else self.ground.heading,
        )  # fmt: skip


def born(frame: Frame, seen: Seen, pause: float) -> Track:
    """A track of an object that was not known.

    Args:
        pause: seconds since the frame before.
    """
    detection, at = seen.detection, frame.captured_at.timestamp()
    motion, edge = first_seen(*seen.center, measured(seen.size), seen.size), _edge(seen.center, frame, pause)
    return Track(
        id=stable_id("track", frame.id, repr(at), seen.number),
        prompt=detection.prompt.text,
        labels=(detection.prompt.name,),
        label=detection.prompt.name,
        score=detection.score,
        top_score=detection.score,
        box=detection.box,
        area=detection.area,
        outline=seen.outline,
        motion=came_in(motion, edge, seen.size),
        ground=None if seen.standing is None else Ground.first(seen.standing, seen.size, edge),
        looks=1,
        born=at,
        seen=at,
        missing_since=None,
        announced=False,
        presence=Presence(detection.box, at, seen.standing),
    )


def seen_again(track: Track, seen: Seen, at: float) -> Track:
    """The track after one more frame in which it was found."""
    detection = seen.detection
    labels = (*track.labels, detection.prompt.name)[-LABEL_LOOKS:]
    return replace(
        track,
        labels=labels,
        label=_elected(labels, track.label),
        score=detection.score,
        top_score=max(track.top_score, detection.score),
        box=detection.box,
        area=detection.area,
        outline=seen.outline,
        motion=track.predicted(at).corrected(*seen.center, measured(track.size)),
        ground=_stood_again(track, seen, at),
        looks=track.looks + 1,
        seen=at,
        missing_since=None,
    )


def placed(
    track: Track, seen: Seen, rest_pixel: tuple[float, float] | None, places: PlacesInFrame, rest_seconds: float
) -> Track:
    """The track with what it does in zones, at lines and at rest, after it was seen.

    Args:
        rest_pixel: see ``rest_pixels``.
    """
    sighting = Sighting(seen.detection, seen.standing, track.seen, _rest_box(track, seen, rest_pixel))
    return replace(track, presence=presence_after(track.presence, sighting, places, rest_seconds))


def rest_pixels(tracks: Sequence[Track], georeference: Georeference | None) -> list[tuple[float, float] | None]:
    """Where a frame shows the places at which tracks may have come to rest; None of those that had none.

    Args:
        georeference: the frame's.
    """
    stands = [track.presence.rest_standing for track in tracks]
    positions = [one.position for one in stands if one is not None]
    if georeference is None:
        return [None] * len(tracks)
    pixels = iter(shown(positions, georeference))
    return [None if one is None else next(pixels) for one in stands]


def untold(track: Track) -> Track:
    """The track as if it had not done anything: of one that is not announced, nobody was told anything."""
    known = track.presence
    return replace(track, presence=Presence(known.rest_box, known.rest_since, known.rest_standing))


def reasons_between(before: Track, after: Track) -> Iterator[EventReason]:
    """What has happened to a track that a person would tell of."""
    a, b = before.presence, after.presence
    entered = [
        name for name, stay in b.stays.items() if stay.entries != (a.stays[name].entries if name in a.stays else 0)
    ]
    for name in entered:
        yield EventReason("zone_entered", name)
    for name in dict.fromkeys([*a.zones, *entered]):
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
    """Seconds since 1970 in UTC; the calendar's last second is not rounded up.

    Raises:
        ValueError, OverflowError: no calendar begins so early.
    """
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), timezone.utc)


def _rest_box(track: Track, seen: Seen, rest_pixel: tuple[float, float] | None) -> Box:
    """The box with which it may have come to rest, as this frame shows it: a camera that moves shows that place
    elsewhere, and the object larger or from another side, so it is the box of now in the place of then."""
    if rest_pixel is None or seen.standing is None or not all(map(math.isfinite, rest_pixel)):
        return track.presence.rest_box
    dx, dy = rest_pixel[0] - seen.standing.pixel[0], rest_pixel[1] - seen.standing.pixel[1]
    x0, y0, x1, y1 = seen.detection.box
    return x0 + dx, y0 + dy, x1 + dx, y1 + dy


def _stood_again(track: Track, seen: Seen, at: float) -> Ground | None:
    if seen.standing is None:
        return None
    if track.ground is None:
        return Ground.first(seen.standing, seen.size, Edge(math.inf, (1.0, 0.0), 0.0))
    return track.ground.again(track.predicted_on(track.ground, at), seen.standing, seen.size)


def _edge(center: tuple[float, float], frame: Frame, pause: float) -> Edge:
    x, y = center
    away, inwards = min((x, (1, 0)), (frame.width - x, (-1, 0)), (y, (0, 1)), (frame.height - y, (0, -1)))
    return Edge(away, inwards, pause)


def _elected(labels: tuple[str, ...], before: str) -> str:
    """The most frequent; of several, the one it had."""
    votes = Counter(labels)
    most = max(votes.values())
    leading = [label for label in reversed(labels) if votes[label] == most]
    return before if before in leading else leading[0]
