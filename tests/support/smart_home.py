"""Events, counts and heartbeats as devices write them, by the functions that write them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from sam3edge.core.messages import events, status
from sam3edge.core.messages.events import EventReason, Noticed, TrackView
from sam3edge.core.types import Message, Prompt
from support.samples import MODEL

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
NOTICED = Noticed("line-7", "gate", "frame-1", "gate 1", AT)
COUNTERS: status.Counters = {
    "uptime_s": 12.5,
    "counts": {"frames": 3, "instances": 7, "messages": 4, "rejected": 1, "unchanged": 0},
    "frames_per_second": 0.25,
    "last_error": "",
}
TRACKING: status.TrackingMember = {"tracks": 1, "events": 2, "untracked": 0, "unwritten": 0}


def body(message: Message) -> dict[str, Any]:
    """What is in it."""
    return dict(json.loads(message.payload))


def track(**changes: Any) -> TrackView:
    """A track of a car on the driveway."""
    known = {
        "id": "1767323045.000000-a1b2c3",
        "label": "car",
        "prompt": "car",
        "score": 0.81,
        "top_score": 0.9,
        "box": (10.4, 20.6, 110.0, 80.0),
        "area": 3000.4,
        "start": AT,
        "seen": AT,
        "end": None,
        "stationary": False,
        "zones": ["driveway"],
        "dwell": {"driveway": 1.5},
        "crossings": {},
    }
    return TrackView(**{**known, **changes})


def event(kind: Any = "new", reason: Any = "confirmed", noticed: Noticed = NOTICED, **changes: Any) -> dict[str, Any]:
    """What happened to that track."""
    before = track(zones=[], dwell={})
    return body(events.track_event("t", noticed, kind, [EventReason(reason)], before, track(**changes), 131_072))


def counts(
    objects: dict[str, int], zones: dict[tuple[str, str], int] | None = None, noticed: Noticed = NOTICED
) -> dict[str, Any]:
    """How many there are, by label, and by zone and label."""
    return body(
        events.counts(
            "t",
            noticed,
            [{"label": label, "current": count, "total": 9} for label, count in objects.items()],
            [
                {"zone": zone, "label": label, "current": count, "entered": 9}
                for (zone, label), count in (zones or {}).items()
            ],
            [],
            131_072,
        )
    )


def heartbeat(state: status.State = "running", tracking: bool = True) -> dict[str, Any]:
    """Of the same device."""
    delivery = dict.fromkeys(status.DeliveryMember.__annotations__, 0) | {"last_error": ""}
    source: status.SourceMember = {"backlog": 0, "unfinished": 0}
    beat = status.Heartbeat(
        state, MODEL, (Prompt("car"),), COUNTERS, delivery, source, 30.0, tracking=TRACKING if tracking else None
    )
    return body(status.status("line-7", "t", beat, 131_072))


EVENT, COUNTS, STATUS = event(), counts({"car": 1}, {("driveway", "car"): 1}), heartbeat()
