"""From heartbeats in a table to lines of the log, with AWS's clients against moto."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge.core.messages import schemas, status
from sam3edge.core.types import Prompt
from sam3edge_pipeline.fleet_health import handlers
from sam3edge_pipeline.fleet_health.heartbeats import COLUMNS, read_heartbeat, rule_sql
from support.samples import MODEL

NOW = 1_800_000_000.0
SCHEMA = json.loads((Path(schemas.__file__).parent / "status.schema.json").read_text())
DRIFT: status.DriftMember = {"series": 3, "collecting": 1, "alarm_count": 2, "alarms": []}


def message(device: str, drift: status.DriftMember | None = None) -> dict[str, Any]:
    """A heartbeat as a device writes it."""
    delivery = dict.fromkeys(status.DeliveryMember.__annotations__, 0)
    beat = status.Heartbeat(
        "running",
        MODEL,
        [Prompt("dent")],
        {
            "uptime_s": 60.5,
            "counts": {"frames": 30, "instances": 1, "messages": 30, "rejected": 10, "unchanged": 0},
            "frames_per_second": 0.5,
            "last_error": "",
        },
        {**delivery, "queued": 4, "oldest_age_s": 12.25, "refused_s": 0.0, "last_error": ""},
        {"backlog": 0, "unfinished": 0},
        30.0,
        drift=drift,
    )
    said = json.loads(status.status(device, f"sam3edge/{device}/status", beat, 7000).payload)
    jsonschema.validate(said, SCHEMA)
    return dict(said)


def selected(said: Mapping[str, Any], received_ms: int) -> dict[str, Any]:
    """What ``rule_sql`` selects of a message, by its own text: an absent member has no column."""
    row: dict[str, Any] = {"device": said["device"], "received_ms": received_ms}
    clause = rule_sql().removeprefix("SELECT device, ").split(" FROM ")[0]
    for member, column in re.findall(r"([\w.']+) AS (\w+)", clause.replace("timestamp() AS received_ms, ", "")):
        value: Any = said
        if member.startswith("'"):
            row[column] = member.strip("'")
            continue
        for name in member.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            row[column] = value
    return row


@dataclass
class Rig:
    fleet: handlers.Fleet
    table: Any
    lines: list[str] = field(default_factory=list)

    def heard(self, device: str, age_s: float, **changes: Any) -> None:
        row = {**selected(message(device), int((NOW - age_s) * 1000)), **changes}
        self.table.put_item(Item=json.loads(json.dumps(row), parse_float=Decimal))

    def look(self) -> list[dict[str, Any]]:
        self.lines.clear()
        self.fleet.look()
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    values = {"STAGE": "dev", "TABLE": "heartbeats", "CANARY_GROUP": "canaries", "FLEET_GROUP": "fleet"}
    for name, value in {**values, "SILENT_MINUTES": "15"}.items():
        monkeypatch.setenv(f"SAM3EDGE_FLEET_{name}", value)
    with mock_aws():
        iot = boto3.client("iot")
        for group, things in (("canaries", ["c-1"]), ("fleet", [f"f-{number:03}" for number in range(260)])):
            iot.create_thing_group(thingGroupName=group)
            for thing in things:
                iot.create_thing(thingName=thing)
                iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
        table = boto3.resource("dynamodb").create_table(
            TableName="heartbeats",
            KeySchema=[
                {"AttributeName": "device", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "device", "AttributeType": "S"},
                {"AttributeName": "item", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        lines: list[str] = []
        fleet = handlers.Fleet(handlers.read_settings(), iot, table, lambda: NOW, lines.append)
        yield Rig(fleet, table, lines)


def test_the_rule_selects_members_that_heartbeats_have() -> None:
    row = selected(message("line-7", DRIFT), 5000)
    assert set(row) == {"device", "item", "received_ms", *COLUMNS}
    beat = read_heartbeat(row)
    assert (beat.frames, beat.rejected, beat.queued, beat.oldest_age_s, beat.drift_alarms) == (30, 10, 4, 12.25, 2)
    assert read_heartbeat(selected(message("line-7"), 5000)).drift_alarms == 0


def test_the_rule_takes_heartbeats_only_and_of_nobody_in_anothers_name() -> None:
    assert rule_sql().endswith("FROM 'sam3edge/+/status' WHERE device = topic(2)")


def test_each_group_has_its_line(rig: Rig) -> None:
    rig.heard("c-1", 10)
    rig.heard("f-000", 10, drift_alarms=1)
    rig.heard("f-001", 10_000)
    canaries, fleet = rig.look()
    assert (canaries["Group"], canaries["Devices"], canaries["SilentDevices"]) == ("canaries", 1, 0)
    assert (fleet["Group"], fleet["Devices"], fleet["SilentDevices"]) == ("fleet", 260, 259)
    assert (fleet["drifting"], fleet["OutboxMessages"], fleet["OutboxSeconds"]) == (["f-000"], 4, 12.25)


def test_frames_are_judged_once(rig: Rig) -> None:
    rig.heard("c-1", 10)
    assert rig.look()[0]["RejectedPercent"] == 25
    assert "RejectedPercent" not in rig.look()[0]
    rig.heard("c-1", 0, frames=130, rejected=10)
    assert rig.look()[0]["RejectedPercent"] == 0


def test_a_row_that_is_not_a_heartbeat_makes_its_device_silent_and_no_other(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.heard("c-1", 10)
    rig.heard("f-000", 10, frames="many")
    canaries, fleet = rig.look()
    assert (canaries["SilentDevices"], "f-000" in fleet["silent"]) == (0, True)
    assert "heartbeat of f-000" in caplog.text


def test_the_function_returns_how_many_are_silent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "_fleet", lambda: rig.fleet)
    rig.heard("c-1", 10)
    assert handlers.look({}, None) == {"canaries": 0, "fleet": 260}


def test_settings_name_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3EDGE_FLEET_SILENT_MINUTES", "0")
    with pytest.raises(SettingsError) as refused:
        handlers.read_settings()
    assert all(name in str(refused.value) for name in ("silent_minutes", "table", "fleet_group"))
