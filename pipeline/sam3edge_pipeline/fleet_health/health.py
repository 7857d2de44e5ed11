"""The health of a thing group, and the line of the log that CloudWatch reads metrics from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam3edge_pipeline.fleet_health.heartbeats import Heartbeat
from sam3edge_pipeline.fleet_health.judged import Judged, rejected_percent

NAMESPACE = "sam3edge"
DIMENSIONS = ("Stage", "Group")
UNITS: Mapping[str, str] = {
    "Devices": "Count",
    "SilentDevices": "Count",
    "DevicesWithoutModel": "Count",
    "DriftingDevices": "Count",
    "OutboxMessages": "Count",
    "OutboxSeconds": "Seconds",
    "RejectedPercent": "Percent",
}
"""Metric to unit. ``Outbox...`` and ``RejectedPercent`` are those of the worst device."""

WITHOUT_MODEL = "waiting for a model"
MAX_NAMES = 50
"""Devices that are named in a line of the log."""


@dataclass(frozen=True, slots=True)
class Health:
    """Of one group.

    Attributes:
        devices: members of the group.
        silent: members without a heartbeat for too long, or that never had one.
        without_model, drifting: members whose last heartbeat says so.
        outbox_messages, outbox_seconds: of the worst device: queued messages, and the age of the oldest.
        rejected: device to the share of its frames that it could not use, in percent, where that can be said.
    """

    devices: int
    silent: tuple[str, ...]
    without_model: tuple[str, ...]
    drifting: tuple[str, ...]
    outbox_messages: int
    outbox_seconds: float
    rejected: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        """Metric to value; without ``RejectedPercent`` where nothing can be said."""
        values = {
            "Devices": float(self.devices),
            "SilentDevices": float(len(self.silent)),
            "DevicesWithoutModel": float(len(self.without_model)),
            "DriftingDevices": float(len(self.drifting)),
            "OutboxMessages": float(self.outbox_messages),
            "OutboxSeconds": self.outbox_seconds,
        }
        return {**values, "RejectedPercent": max(self.rejected.values())} if self.rejected else values


def health_of(
    members: Sequence[str],
    beats: Mapping[str, Heartbeat],
    judged: Mapping[str, Judged],
    now: float,
    silent_seconds: float,
) -> Health:
    """The health of a group.

    Args:
        members: of the group.
        beats: last heartbeat by device; those of other groups' devices are left alone.
        judged: up to where a device's frames were judged before.
        now: seconds since 1970.
        silent_seconds: without a heartbeat, after which a device is silent.
    """
    speaking = [beats[one] for one in members if one in beats and now - beats[one].received_ms / 1000 < silent_seconds]
    heard = {beat.device for beat in speaking}
    shares = {beat.device: rejected_percent(beat, judged.get(beat.device)) for beat in speaking}
    return Health(
        devices=len(members),
        silent=tuple(sorted(set(members) - heard)),
        without_model=tuple(sorted(beat.device for beat in speaking if beat.state == WITHOUT_MODEL)),
        drifting=tuple(sorted(beat.device for beat in speaking if beat.drift_alarms)),
        outbox_messages=max((beat.queued for beat in speaking), default=0),
        outbox_seconds=max((beat.oldest_age_s for beat in speaking), default=0.0),
        rejected={device: share for device, share in shares.items() if share is not None},
    )


def log_line(health: Health, stage: str, group: str, now: float) -> str:
    """CloudWatch's embedded metric format: metrics out of a line of the log, which names the devices, too.

    See https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    metrics = health.metrics()
    defined = [{"Name": name, "Unit": UNITS[name]} for name in metrics]
    worst = sorted(health.rejected, key=lambda device: (-health.rejected[device], device))
    line: dict[str, Any] = {
        "_aws": {
            "Timestamp": int(now * 1000),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [list(DIMENSIONS)], "Metrics": defined}],
        },
        "Stage": stage,
        "Group": group,
        **metrics,
        "silent": health.silent[:MAX_NAMES],
        "without_model": health.without_model[:MAX_NAMES],
        "drifting": health.drifting[:MAX_NAMES],
        "most_rejected": {device: round(health.rejected[device], 2) for device in worst[:MAX_NAMES]},
    }
    return json.dumps(line)
