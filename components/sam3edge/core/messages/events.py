"""Messages on the events topic: what happened to tracked objects, and how many there are.

The life cycle of an event, and its members where they mean the same, are Frigate's (``frigate/events`` in
https://docs.frigate.video/integrations/mqtt): ``new`` when an object is sure to be there, ``update`` when something
about it changes that a person would tell of, ``end`` when it is gone; ``before`` and ``after`` say what was known then
and what is known now. Times are RFC 3339 as everywhere in our messages, where Frigate has seconds since 1970.

A track has one event a frame at most, and the id of an event follows from the two: what is said again after a crash is
dropped as a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from sam3edge.core.messages.bounds import bounded
from sam3edge.core.messages.envelope import (
    Envelope,
    FrameReference,
    Timestamp,
    envelope,
    frame_reference,
    stable_id,
    timestamp,
    to_json,
    write,
)
from sam3edge.core.messages.features import Position
from sam3edge.core.types import Box, Message

MAX_ZONES, MAX_LINES, MAX_PLACE_NAME = 16, 8, 24
"""Zones, lines, and characters (ASCII) of their names, so that the state of a track fits the smallest message."""

WORD = 40
"""Labels and phrases may have a message's bytes divided by this."""

Lifecycle: TypeAlias = Literal["new", "update", "end"]

ReasonKind: TypeAlias = Literal[
    "confirmed",
    "zone_entered",
    "zone_left",
    "dwelt",
    "line_crossed",
    "label",
    "stationary",
    "active",
    "gone",
    "interrupted",
]
"""Why there is an event: the object was seen often enough; it entered or left a zone, or stayed as long as the zone's
``DwellSeconds``; it crossed a line; it is called otherwise; it came to rest, or moves again; it was not found for
``MaxLostSeconds``; or there were no frames for so long that no object could be known again."""

Direction: TypeAlias = Literal["forward", "backward"]
"""Across a line: forward is from its right side to its left, for somebody who looks from ``From`` to ``To`` in the
image as it is seen; for a line drawn from left to right that is upwards."""


class CrossingMember(TypedDict):
    """How often a line was crossed, by direction."""

    forward: int
    backward: int


class TrackMember(TypedDict):
    """What is known of an object.

    ``score`` is that of the last frame it was found in, ``frame_time``, and ``top_score`` the best ever; ``box`` is x0,
    y0, x1, y1 in pixels of that frame and ``area`` its pixels. ``current_zones`` are those it is in, ``entered_zones``
    all it has been in, ``dwell`` the seconds it has been in each of them so far, ``crossings`` the lines that it has
    crossed. ``end_time`` is null until it is gone.

    Where the frame has a place on Earth, ``position`` is where the object stood in it, and ``speed_mps`` and
    ``heading_deg`` how it moves there: metres a second, and degrees clockwise from true north, left out while it may as
    well rest.
    """

    id: str
    label: str
    prompt: str
    score: float
    top_score: float
    box: list[float]
    area: float
    start_time: Timestamp
    frame_time: Timestamp
    end_time: Timestamp | None
    stationary: bool
    current_zones: list[str]
    entered_zones: list[str]
    dwell: dict[str, float]
    crossings: dict[str, CrossingMember]
    position: NotRequired[Position]
    speed_mps: NotRequired[float]
    heading_deg: NotRequired[float]


class ReasonMember(TypedDict):
    """Why there is an event; ``name`` is the zone's, the line's, or the new label."""

    kind: ReasonKind
    name: NotRequired[str]
    direction: NotRequired[Direction]


class TrackEventMessage(Envelope):
    """Something happened to one object. ``frame`` is the one in which it was noticed, captured at ``event_time``.

    ``before`` is what was known before this frame; with ``new``, what nobody was told of, for it was not sure yet. It
    is left out (``before_omitted``) where a message has no room for it, and so are reasons, which are counted.
    """

    message_type: Literal["event"]
    type: Lifecycle
    source: str
    frame: FrameReference
    event_time: Timestamp
    reasons: list[ReasonMember]
    before: NotRequired[TrackMember]
    after: TrackMember
    before_omitted: NotRequired[bool]
    reasons_omitted: NotRequired[int]


class ObjectCountMember(TypedDict):
    """Objects of a label: those that are there, and those that have been since the device began to count."""

    label: str
    current: int
    total: int


class ZoneCountMember(TypedDict):
    """Objects of a label in a zone: those that are in it, and how often one has entered since counting began."""

    zone: str
    label: str
    current: int
    entered: int


class LineCountMember(TypedDict):
    """How often objects of a label have crossed a line since counting began."""

    line: str
    label: str
    forward: int
    backward: int


class CountsMessage(Envelope):
    """How many objects there are; sent when one of the numbers has changed, and a newer one replaces one that was not
    delivered. ``omitted`` entries had no room."""

    message_type: Literal["counts"]
    source: str
    frame: FrameReference
    event_time: Timestamp
    objects: list[ObjectCountMember]
    zones: list[ZoneCountMember]
    lines: list[LineCountMember]
    omitted: NotRequired[int]


EventsMessage: TypeAlias = TrackEventMessage | CountsMessage


@dataclass(frozen=True, slots=True)
class TrackView:
    """What is told of a track; see ``TrackMember``. Times are UTC; ``dwell`` has every zone that was entered."""

    id: str
    label: str
    prompt: str
    score: float
    top_score: float
    box: Box
    area: float
    start: datetime
    seen: datetime
    end: datetime | None
    stationary: bool
    zones: Sequence[str]
    dwell: Mapping[str, float]
    crossings: Mapping[str, tuple[int, int]]
    position: tuple[float, float] | None = None
    speed: float | None = None
    heading: float | None = None


@dataclass(frozen=True, slots=True)
class EventReason:
    """See ``ReasonMember``."""

    kind: ReasonKind
    name: str = ""
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Noticed:
    """Where something was noticed.

    Attributes:
        device: the thing's name.
        source: as in ``Frame``.
        frame_id: the frame in which it was noticed.
        frame_name: likewise, for people.
        at: when that was captured.
    """

    device: str
    source: str
    frame_id: str
    frame_name: str
    at: datetime

    @property
    def when(self) -> tuple[str, str]:
        """What no other frame has: a file that is put into a folder again has the id that it had before."""
        return self.frame_id, timestamp(self.at)


def track_event(
    topic: str,
    noticed: Noticed,
    kind: Lifecycle,
    reasons: Sequence[EventReason],
    before: TrackView,
    after: TrackView,
    max_bytes: int,
) -> Message:
    """One event of a track. The same track and frame always give the same id.

    Args:
        max_bytes: largest payload of the transport, at least ``bounds.MIN_PAYLOAD``.
    """
    word = max_bytes // WORD
    body: TrackEventMessage = {
        **envelope(noticed.device, stable_id("event", noticed.device, after.id, *noticed.when)),  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "message_type": "event",
        "type": kind,
        "source": bounded(noticed.source, word),
        "frame": frame_reference(noticed.frame_id, noticed.frame_name),
        "event_time": timestamp(noticed.at),
        "reasons": [_reason(reason, word) for reason in reasons],
        "before": _track(before, word),
        "after": _track(after, word),
    }
    if len(to_json(body)) > max_bytes:
        del body["before"]
        body["before_omitted"] = True
    while body["reasons"] and len(to_json(body)) > max_bytes:
        body["reasons"].pop()
        body["reasons_omitted"] = len(reasons) - len(body["reasons"])
    return write(body, topic)


def counts(
    topic: str,
    noticed: Noticed,
    objects: Sequence[ObjectCountMember],
    zones: Sequence[ZoneCountMember],
    lines: Sequence[LineCountMember],
    max_bytes: int,
) -> Message:
    """How many objects there are after a frame. Labels of more than a share of the message are cut.

    Args:
        max_bytes: largest payload of the transport, at least ``bounds.MIN_PAYLOAD``.
    """
    word = max_bytes // WORD
    body: CountsMessage = {
        **envelope(noticed.device, stable_id("counts", noticed.device, *noticed.when)),  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "message_type": "counts",
        "source": bounded(noticed.source, word),
        "frame": frame_reference(noticed.frame_id, noticed.frame_name),
        "event_time": timestamp(noticed.at),
        "objects": [{**one, "label": bounded(one["label"], word)} for one in objects],
        "zones": [{**one, "label": bounded(one["label"], word)} for one in zones],
        "lines": [{**one, "label": bounded(one["label"], word)} for one in lines],
    }
    every = len(objects) + len(zones) + len(lines)
    while len(to_json(body)) > max_bytes:
        body["objects"] = body["objects"][: len(body["objects"]) * 3 // 4]
        body["zones"] = body["zones"][: len(body["zones"]) * 3 // 4]
        body["lines"] = body["lines"][: len(body["lines"]) * 3 // 4]
        body["omitted"] = every - len(body["objects"]) - len(body["zones"]) - len(body["lines"])
    return write(body, topic, supersedes="counts")


def _reason(reason: EventReason, max_bytes: int) -> ReasonMember:
    member: ReasonMember = {"kind": reason.kind}
    if reason.name:
        member["name"] = bounded(reason.name, max_bytes)
    if reason.direction is not None:
        member["direction"] = reason.direction
    return member


def _track(view: TrackView, max_bytes: int) -> TrackMember:
    member: TrackMember = {
        "id": view.id,
        "label": bounded(view.label, max_bytes),
        "prompt": bounded(view.prompt, max_bytes),
        "score": round(view.score, 4),
        "top_score": round(view.top_score, 4),
        "box": [round(value, 1) for value in view.box],
        "area": round(view.area, 1),
        "start_time": timestamp(view.start),
        "frame_time": timestamp(view.seen),
        "end_time": None if view.end is None else timestamp(view.end),
        "stationary": view.stationary,
        "current_zones": list(view.zones),
        "entered_zones": list(view.dwell),
        "dwell": {zone: round(seconds, 2) for zone, seconds in view.dwell.items()},
        "crossings": {line: {"forward": f, "backward": b} for line, (f, b) in view.crossings.items()},
    }
    if view.position is not None:
        member["position"] = (round(view.position[0], 7), round(view.position[1], 7))
    if view.speed is not None:
        member["speed_mps"] = round(view.speed, 2)
    if view.heading is not None:
        member["heading_deg"] = round(view.heading, 1)
    return member
