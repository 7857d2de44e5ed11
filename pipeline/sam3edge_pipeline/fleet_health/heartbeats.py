"""Last heartbeats: what the rule of IoT Core keeps of a ``status`` message, and how it is read again.

table: partition key ``device``, sort key ``item``: ``status`` (the last heartbeat) or ``judged`` (``judged.py``);
``expires`` is its time to live
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

STATUS = "status"

KEPT_SECONDS = 30 * 86_400
"""A device that says nothing for so long, and is in no group any more, is forgotten."""

COLUMNS: Mapping[str, str] = {
    "state": "state",
    "uptime_s": "uptime_s",
    "frames": "counts.frames",
    "rejected": "counts.rejected",
    "queued": "delivery.queued",
    "oldest_age_s": "delivery.oldest_age_s",
    "drift_alarms": "drift.alarm_count",
}
"""Column to member of the message, see ``core.messages.status.StatusMessage``; what is absent has no column."""


class Heartbeat(BaseModel):
    """The last heartbeat of a device.

    Attributes:
        received_ms: by IoT Core, milliseconds since 1970: a device's own clock may be wrong.
        uptime_s: seconds since the component's start.
        frames, rejected: since then: looked at, and not usable.
        queued, oldest_age_s: messages in the outbox, and the age of the oldest in seconds.
        drift_alarms: how many series have drifted; absent where nothing is watched.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    device: str
    received_ms: int
    state: str
    uptime_s: float = Field(ge=0)
    frames: int = Field(ge=0)
    rejected: int = Field(ge=0)
    queued: int = Field(ge=0)
    oldest_age_s: float = Field(ge=0)
    drift_alarms: int = Field(0, ge=0)


def rule_sql(prefix: str = "sam3edge") -> str:
    """What the rule selects: of heartbeats only, and only where a device speaks for itself.

    Args:
        prefix: of the topics, before the thing's name.
    """
    columns = ", ".join(f"{member} AS {column}" for column, member in COLUMNS.items())
    return (
        f"SELECT device, '{STATUS}' AS item, timestamp() AS received_ms, "
        f"floor(timestamp() / 1000) + {KEPT_SECONDS} AS expires, {columns} "
        f"FROM '{prefix}/+/status' WHERE device = topic(2)"
    )


def read_heartbeat(row: Mapping[str, Any]) -> Heartbeat:
    """From an item of the table; raises pydantic's ValidationError."""
    return Heartbeat.model_validate(row)
