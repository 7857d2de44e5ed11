"""The share of frames that a device could not use, from counters that grow since its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sam3edge_pipeline.fleet_health.heartbeats import KEPT_SECONDS, Heartbeat

JUDGED = "judged"

MIN_FRAMES = 20
"""Frames that a share is of: of fewer, one bad image would be an alarm."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Counters up to which a device was judged."""

    device: str
    frames: int
    rejected: int

    def item(self, now: float) -> dict[str, Any]:
        """For the table."""
        counts = {"frames": self.frames, "rejected": self.rejected}
        return {"device": self.device, "item": JUDGED, "expires": int(now) + KEPT_SECONDS, **counts}


def read_judged(row: Mapping[str, Any]) -> Judged:
    """From an item of the table, which nobody else writes."""
    return Judged(str(row["device"]), int(row["frames"]), int(row["rejected"]))


def rejected_percent(beat: Heartbeat, before: Judged | None) -> float | None:
    """Of all frames since a device was judged, or since its start; None for fewer than ``MIN_FRAMES``."""
    frames, rejected = beat.frames, beat.rejected
    if before is not None and before.frames <= frames and before.rejected <= rejected:  # else it has started again
        frames, rejected = frames - before.frames, rejected - before.rejected
    seen = frames + rejected
    return 100 * rejected / seen if seen >= MIN_FRAMES else None
