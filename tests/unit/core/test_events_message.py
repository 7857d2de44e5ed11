"""Messages on the events topic: they fit, and the same event has the same id."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest

from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.messages.events import (
    MAX_LINES,
    MAX_PLACE_NAME,
    MAX_ZONES,
    EventReason,
    LineCountMember,
    Noticed,
    ObjectCountMember,
    TrackView,
    ZoneCountMember,
    counts,
    track_event,
)
from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Message

AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LONG = "\x01é" * 200
ZONES = ["z" * (MAX_PLACE_NAME - 2) + f"{i:02d}" for i in range(MAX_ZONES)]
LINES = ["l" * (MAX_PLACE_NAME - 2) + f"{i:02d}" for i in range(MAX_LINES)]
NOTICED = Noticed("d" * 128, LONG, "f" * 200, LONG, AT)
WORST = TrackView(
    "t" * 36, LONG, LONG, 0.12345, 0.98765, (12345.6,) * 4, 123456789.0, AT, AT, AT, True, ZONES,
    dict.fromkeys(ZONES, 1234567.89), dict.fromkeys(LINES, (1_000_000, 1_000_000)),
)  # fmt: skip
REASONS = [
    *(EventReason("zone_entered", zone) for zone in ZONES),
    *(EventReason("line_crossed", line, "backward") for line in LINES),
    EventReason("label", LONG),
]


def event(max_bytes: int, noticed: Noticed = NOTICED, view: TrackView = WORST) -> Message:
    return track_event("t", noticed, "update", REASONS, view, view, max_bytes)


def body(message: Message) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(message.payload)
    jsonschema.Draft202012Validator(schema("events")).validate(read)
    return read


@pytest.mark.parametrize("max_bytes", [MIN_PAYLOAD, 7000, 131_072])
def test_the_largest_event_fits_and_says_what_it_leaves_out(max_bytes: int) -> None:
    message = event(max_bytes)
    assert len(message.payload) <= max_bytes
    read = body(message)
    assert len(read["after"]["current_zones"]) == MAX_ZONES  # what is known now is always there
    assert ("before" in read) != read.get("before_omitted", False)
    assert len(read["reasons"]) + read.get("reasons_omitted", 0) == len(REASONS)
    assert ("before" in read) == (max_bytes == 131_072)


def test_an_events_id_follows_from_track_frame_and_time() -> None:
    same = event(131_072, replace(NOTICED, frame_name="other name"), replace(WORST, score=0.5))
    assert same.id == event(MIN_PAYLOAD).id
    others = [
        event(131_072, replace(NOTICED, frame_id="g")),
        event(131_072, replace(NOTICED, at=AT + timedelta(seconds=1))),
        event(131_072, replace(NOTICED, device="other")),
        event(131_072, view=replace(WORST, id="u" * 36)),
    ]
    assert len({same.id, *(other.id for other in others)}) == 5


@pytest.mark.parametrize("max_bytes", [MIN_PAYLOAD, 7000, 131_072])
def test_the_largest_counts_fit_and_say_what_they_leave_out(max_bytes: int) -> None:
    objects: list[ObjectCountMember] = [{"label": LONG, "current": 99, "total": 10**6}] * 256
    zones: list[ZoneCountMember] = [{"zone": ZONES[0], "label": LONG, "current": 99, "entered": 10**6}] * 256
    lines: list[LineCountMember] = [{"line": LINES[0], "label": LONG, "forward": 10**6, "backward": 10**6}] * 256
    message = counts("t", NOTICED, objects, zones, lines, max_bytes)
    assert len(message.payload) <= max_bytes
    read = body(message)
    said = len(read["objects"]) + len(read["zones"]) + len(read["lines"])
    assert said + read.get("omitted", 0) == 3 * 256
    assert said > 0


def test_newer_counts_replace_older_ones_and_events_replace_nothing() -> None:
    assert counts("t", NOTICED, [], [], [], MIN_PAYLOAD).supersedes == "counts"
    assert event(MIN_PAYLOAD).supersedes == ""
