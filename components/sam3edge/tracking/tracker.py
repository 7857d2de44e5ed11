"""One frame further: which track each detection belongs to, and what has changed about the tracks.

Everything here follows from the scene before, the frame and its detections: no clock, no randomness, no files. So the
same frame gives the same tracks and events again, and a scene that was read from the disk goes on as if nothing had
been.

An own tracker, and not a library: roboflow's ``trackers`` (Apache-2.0, well kept) needs numpy 2, scipy, supervision
and OpenCV with windows on the device, where JetPack's ONNX Runtime has numpy 1; ``norfair`` needs numpy 1 and filterpy,
which is not kept; ``motpy`` has had no release since 2021; ``boxmot`` is AGPL. All of them count frames where ours lie
any time apart, compare boxes, number tracks by a counter of the process, and have no state that could be written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sam3edge.core.messages.events import EventReason, Lifecycle
from sam3edge.core.types import Detections, Frame
from sam3edge.tracking.association import Expectation, associate, expectations
from sam3edge.tracking.counters import Totals
from sam3edge.tracking.ground import Landmark, has_moved, landmarks, standings
from sam3edge.tracking.places import Places, PlacesInFrame
from sam3edge.tracking.track import Seen, Track, born, placed, reasons_between, rest_pixels, seen_again, untold

MAX_TRACKS = 256
"""At once; what is found beyond stays without a track."""


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """When a track begins and ends.

    Attributes:
        confirm_looks: frames in a row that an object must be found in before anything is said of it.
        max_lost: seconds that it may be hidden.
        max_gap: seconds between two frames; after more, no object can be known again.
        rest_seconds: without moving, after which it counts as stationary.
        prompts: texts of the prompts that are tracked; empty for all.
    """

    confirm_looks: int = 2
    max_lost: float = 3.0
    max_gap: float = 120.0
    rest_seconds: float = 10.0
    prompts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is remembered between two frames.

    Attributes:
        source: where the frames come from; empty before the first one.
        frame_id: the last one that was tracked.
        size: its width and height in pixels.
        time: when it was captured, seconds since 1970.
        landmarks: where it showed the ground; empty where that is not known.
        totals: what was counted.
    """

    source: str = ""
    frame_id: str = ""
    size: tuple[int, int] = (0, 0)
    time: float = 0.0
    tracks: tuple[Track, ...] = ()
    totals: Totals = field(default_factory=Totals)
    landmarks: tuple[Landmark, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What there is to tell of a track.

    Attributes:
        ended_at: when it ended, seconds since 1970; None while it has not.
    """

    kind: Lifecycle
    reasons: tuple[EventReason, ...]
    before: Track
    after: Track
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a frame led to.

    Attributes:
        changes: at most one for each track.
        owners: track of each detection, by its number; of those that are not tracked there is none.
    """

    scene: Scene
    changes: tuple[Change, ...] = ()
    owners: Mapping[int, Track] = field(default_factory=dict)


def advance(scene: Scene, frame: Frame, looked: Detections, places: Places, options: TrackingOptions) -> Step:
    """The scene one frame later. Where a clock has stepped back, no object can be known again: what was seen last is
    ahead of all that comes. Files have clocks of their own, and may come late: one that is up to ``max_gap`` older than
    the last one changes nothing.

    Args:
        looked: what was found in the frame.
    """
    at, size, georeference = frame.captured_at.timestamp(), (frame.width, frame.height), looked.georeference
    pause = at - scene.time
    ended: list[Change] = []
    known = scene.tracks
    stepped_back = pause < 0 and frame.clock == "device"
    if stepped_back or abs(pause) > options.max_gap or (frame.source, size) != (scene.source, scene.size):
        ended = [_end(track, "interrupted") for track in known if track.announced]
        known = ()
    elif pause < 0:
        return Step(scene)
    moves = georeference is not None and has_moved(scene.landmarks, georeference)
    edges = None if moves else size
    expected = expectations(known, at, georeference)
    gone = {track.id for track, to in zip(known, expected, strict=True) if _has_left(track, to, edges)}
    ended += [_end(track, "gone") for track in known if track.id in gone and track.announced]
    expected = [to for track, to in zip(known, expected, strict=True) if track.id not in gone]
    known = tuple(track for track in known if track.id not in gone)

    seen = _seen(looked, moves, options)
    pairs = associate(known, expected, list(seen.values()))
    here, rests = places.within(frame, georeference), rest_pixels(known, georeference)
    before: list[Track] = []
    after: list[Track] = []
    owners: dict[int, Track] = {}
    for row, track in enumerate(known):
        if row in pairs:
            one = seen[pairs[row]]
            owners[one.number] = _settled(seen_again(track, one, at), one, rests[row], here, options)
            before.append(track)
            after.append(owners[one.number])
        elif track.announced:  # what was not is forgotten as soon as it is missed
            missed = replace(track, missing_since=at if track.missing_since is None else track.missing_since)
            if at - missed.gone_at >= options.max_lost or _has_left(missed, expected[row], edges):
                ended.append(_end(missed, "gone"))
            else:
                before.append(track)
                after.append(missed)
    for number, one in seen.items():
        if number not in owners and len(after) < MAX_TRACKS:
            first = born(frame, one, pause)
            owners[number] = _settled(first, one, None, here, options)
            before.append(first)
            after.append(owners[number])
    changes = [change for a, b in zip(before, after, strict=True) if (change := _change(a, b)) is not None]
    totals = scene.totals.after(list(zip(before, after, strict=True)))
    now = Scene(frame.source, frame.id, size, at, tuple(after), totals, landmarks(georeference))
    return Step(now, (*ended, *changes), owners)


def wants_look(scene: Scene, frame: Frame, places: Places, options: TrackingOptions) -> bool:
    """Whether the next frame decides something, though nothing in it may have moved: whether an object is really there,
    really gone or out of a zone, has rested or stayed for long enough."""
    at = frame.captured_at.timestamp()
    dwells = {zone.name: zone.dwell_seconds for zone in places.zones if zone.dwell_seconds > 0}
    for track in scene.tracks:
        presence = track.presence
        if not track.announced or track.missing_since is not None:
            return True
        if not presence.stationary and at - presence.rest_since >= options.rest_seconds:
            return True
        for name, stay in presence.stays.items():
            if stay.since is not None and (
                stay.outside is not None or (not stay.told and at - stay.since >= dwells.get(name, float("inf")))
            ):
                return True
    return False


def _has_left(track: Track, to: Expectation, edges: tuple[int, int] | None) -> bool:
    """Whether it is on its way out of the image: what comes in there is another. Of what was missed, the centre counts;
    what was not may still be seen in part, so all of it must be outside. From what the camera has turned away from, it
    is not known.

    Args:
        edges: width and height of the image; None while the camera moves.
    """
    if edges is None or not (0 <= to.before[0] <= edges[0] and 0 <= to.before[1] <= edges[1]):
        return False
    if to.outline is None:
        return True
    x0, y0, x1, y1 = to.outline.bounds
    share = 0.0 if track.missing_since is not None else 0.5
    x, y, far_x, far_y = (x0 + x1) / 2, (y0 + y1) / 2, share * (x1 - x0), share * (y1 - y0)
    return not (-far_x <= x <= edges[0] + far_x and -far_y <= y <= edges[1] + far_y)


def _seen(looked: Detections, moves: bool, options: TrackingOptions) -> dict[int, Seen]:
    """The detections that are tracked, by their numbers."""
    pairs = zip(looked.detections, standings(looked.detections, looked.georeference, moves), strict=True)
    return {
        number: Seen.of(number, detection, standing)
        for number, (detection, standing) in enumerate(pairs)
        if not options.prompts or detection.prompt.text in options.prompts
    }


def _settled(
    track: Track, seen: Seen, rest_pixel: tuple[float, float] | None, places: PlacesInFrame, options: TrackingOptions
) -> Track:
    now = placed(track, seen, rest_pixel, places, options.rest_seconds)
    return replace(now, announced=now.announced or now.looks >= options.confirm_looks)


def _change(before: Track, after: Track) -> Change | None:
    if not after.announced:
        return None
    if not before.announced:
        since = reasons_between(replace(untold(before), label=after.label), after)
        return Change("new", (EventReason("confirmed"), *since), before, after)
    reasons = tuple(reasons_between(before, after))
    return Change("update", reasons, before, after) if reasons else None


def _end(track: Track, kind: str) -> Change:
    reason = EventReason("gone" if kind == "gone" else "interrupted")
    left = (EventReason("zone_left", name) for name in track.presence.zones)
    return Change("end", (reason, *left), track, track, track.gone_at)
