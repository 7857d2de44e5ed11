"""What a group's heartbeats say of it."""

from __future__ import annotations

import json

import pytest

from sam3edge_pipeline.fleet_health.health import MAX_NAMES, UNITS, Health, health_of, log_line
from sam3edge_pipeline.fleet_health.heartbeats import Heartbeat
from sam3edge_pipeline.fleet_health.judged import MIN_FRAMES, Judged, rejected_percent

NOW = 1_800_000_000.0


def beat(device: str, age_s: float = 10, **members: object) -> Heartbeat:
    said: dict[str, object] = {
        "state": "running",
        "uptime_s": 900.0,
        "frames": 100,
        "rejected": 0,
        "queued": 0,
        "oldest_age_s": 0.0,
        **members,
    }
    return Heartbeat.model_validate({"device": device, "received_ms": int((NOW - age_s) * 1000), **said})


def health(members: list[str], *beats: Heartbeat, judged: dict[str, Judged] | None = None) -> Health:
    return health_of(members, {one.device: one for one in beats}, judged or {}, NOW, 900)


def test_a_member_is_silent_that_speaks_no_more_or_never_did() -> None:
    found = health(["gone", "late", "new", "there"], beat("there", 899), beat("late", 900), beat("gone", 90_000))
    assert (found.devices, found.silent) == (4, ("gone", "late", "new"))


def test_what_a_silent_device_said_last_counts_no_more() -> None:
    """Its outbox was full a week ago: that is neither news nor something that this alarm could end by."""
    found = health(["old"], beat("old", 90_000, queued=5000, drift_alarms=3, state="waiting for a model", rejected=100))
    assert (found.outbox_messages, found.drifting, found.without_model, dict(found.rejected)) == (0, (), (), {})


def test_devices_of_other_groups_are_left_alone() -> None:
    found = health(["mine"], beat("mine"), beat("theirs", queued=9, drift_alarms=1))
    assert (found.devices, found.outbox_messages, found.drifting) == (1, 0, ())


def test_the_worst_outbox_is_the_groups() -> None:
    found = health(["a", "b"], beat("a", queued=7, oldest_age_s=30.0), beat("b", queued=2, oldest_age_s=4000.5))
    assert (found.outbox_messages, found.outbox_seconds) == (7, 4000.5)


def test_drift_and_missing_models_are_counted_by_device() -> None:
    found = health(["a", "b"], beat("a", drift_alarms=12), beat("b", state="waiting for a model"))
    assert (found.drifting, found.without_model) == (("a",), ("b",))


@pytest.mark.parametrize(
    ("before", "frames", "rejected", "percent"),
    [
        (None, MIN_FRAMES - 2, 1, None),  # too few to say anything
        (None, MIN_FRAMES - 1, 1, 100 / MIN_FRAMES),
        (Judged("a", 1000, 0), 1000, 40, 100.0),  # all since the last look, however many were good before
        (Judged("a", 1000, 50), 1090, 60, 10.0),
        (Judged("a", 1000, 50), 1005, 50, None),
        (Judged("a", 1000, 50), 90, 10, 10.0),  # it has started again
    ],
)
def test_the_share_of_rejected_frames_is_since_the_last_look(
    before: Judged | None, frames: int, rejected: int, percent: float | None
) -> None:
    assert rejected_percent(beat("a", frames=frames, rejected=rejected), before) == percent


def test_one_bad_camera_among_many_is_seen() -> None:
    found = health(["a", "b", "c"], beat("a"), beat("b"), beat("c", frames=50, rejected=50))
    assert found.metrics()["RejectedPercent"] == 50


def test_nothing_is_said_of_frames_where_there_are_none() -> None:
    assert "RejectedPercent" not in health(["a"], beat("a", frames=3)).metrics()


def test_a_line_of_the_log_is_in_cloudwatchs_metric_format() -> None:
    """Every metric that it defines is a number in it, and every dimension a text; else CloudWatch drops the line."""
    line = json.loads(log_line(health(["a", "b"], beat("a", drift_alarms=1)), "dev", "canaries", NOW))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == NOW * 1000
    assert directive["Namespace"] == "sam3edge"
    assert [{name: line[name] for name in names} for names in directive["Dimensions"]] == [
        {"Stage": "dev", "Group": "canaries"}
    ]
    assert {one["Name"] for one in directive["Metrics"]} == set(UNITS)
    assert all(isinstance(line[one["Name"]], (int, float)) for one in directive["Metrics"])
    assert (line["SilentDevices"], line["silent"], line["drifting"]) == (1, ["b"], ["a"])


def test_a_line_is_bounded_and_its_counts_are_not() -> None:
    members = [f"device-{number:05}" for number in range(4000)]
    text = log_line(health(members), "dev", "fleet", NOW)
    line = json.loads(text)
    assert (line["SilentDevices"], len(line["silent"])) == (4000, MAX_NAMES)
    assert len(text) < 256_000  # one event of CloudWatch Logs
