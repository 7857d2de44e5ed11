"""The functions around the state machine: settings, records, and what arrives from EventBridge and SQS."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import boto3
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.rollout import handlers
from sam3edge_pipeline.rollout.observations import Observation
from sam3edge_pipeline.rollout.records import Good
from sam3edge_simulator.loop.rollout import approval_event as event
from support.canaries import OLD, as_record, detections_messages
from support.rollout_rig import CANARY, Rig, rollout_rig

START = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, demo_bundle: Path, tmp_path: Path) -> Iterator[Rig]:
    with rollout_rig(monkeypatch, demo_bundle, tmp_path) as made:
        yield made


def test_settings_name_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3EDGE_ROLLOUT_CANARY_GROUP_ARN", "canaries")
    monkeypatch.setenv("SAM3EDGE_ROLLOUT_ALPHA", "2")
    with pytest.raises(SettingsError) as refused:
        handlers.read_settings()
    assert all(name in str(refused.value) for name in ("canary_group_arn", "alpha", "records_table"))


def test_one_claims_a_target_until_it_gives_it_back_or_its_time_is_over(rig: Rig) -> None:
    records = rig.rollout.records
    assert records.claim(CANARY, "a", 1000.0, 60)
    assert records.claim(CANARY, "a", 1010.0, 60)
    assert not records.claim(CANARY, "b", 1020.0, 60)
    records.release(CANARY, "b")
    assert not records.claim(CANARY, "b", 1020.0, 60)
    assert records.claim(CANARY, "b", 1071.0, 60)
    records.release(CANARY, "b")
    assert records.claim(CANARY, "c", 1072.0, 60)


def test_what_ran_well_is_remembered(rig: Rig) -> None:
    assert rig.rollout.records.good(CANARY) is None
    good = Good({"com.sam3edge.Model": "1.0.0"}, OLD, "arn", 12.5)
    rig.rollout.records.put_good(CANARY, good)
    assert rig.rollout.records.good(CANARY) == good
    assert rig.rollout.records.outcome("never") is None


def test_observations_come_back_as_they_were_the_newest_first_and_bounded(rig: Rig) -> None:
    table = rig.rollout.watch.table
    kept = [
        Observation(
            f"id-{n}", "line-7", 1000.0 + n, "detections", OLD, "c", f"f{n}", 0.5, 2, 80.5, ("a",), {"a": (0.5,)}
        )
        for n in range(30)
    ]
    table.put([*kept, *kept[:5]])
    assert list(table.read("line-7", 1000.0, 1029.0, 100)) == kept[::-1]
    assert list(table.read("line-7", 1010.0, 1012.0, 100)) == kept[12:9:-1]
    assert list(table.read("line-7", 0.0, 5000.0, 7)) == kept[::-1][:7]
    assert list(table.read("line-8", 0.0, 5000.0, 7)) == []


def test_a_record_that_is_no_message_is_dropped_and_the_others_are_kept(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    [good] = detections_messages(START, 0, ["dent"])
    bodies = ["not JSON", "[]", json.dumps({"message_type": "detections"}), good]
    records = [as_record(body, f"m{n}") for n, body in enumerate(bodies)]
    with caplog.at_level(logging.WARNING, handlers.logger.name):
        assert handlers.observe({"Records": records}, None) == {"batchItemFailures": []}
    assert [one.args[0] for one in caplog.records if one.args] == ["m0", "m1", "m2"]
    assert [one.id for one in rig.rollout.watch.table.read("line-7", 0, 9e9, 10)] == [good["id"]]


def test_a_devices_clock_that_is_ahead_dates_nothing_to_the_future(rig: Rig) -> None:
    """Or it would be kept for as long, and be what the device said last; one that was queued is older than received."""
    ahead, late = (message for n in (0, 1) for message in detections_messages(START, n, ["dent"]))
    records = [as_record(ahead, delay_s=-86_400 * 365), as_record(late, delay_s=3600)]
    assert handlers.observe({"Records": records}, None) == {"batchItemFailures": []}
    kept = {one.id: one.at for one in rig.rollout.watch.table.read("line-7", 0, 9e9, 10)}
    assert kept == {ahead["id"]: START.timestamp() - 86_400 * 365, late["id"]: START.timestamp()}
    rows = boto3.resource("dynamodb").Table("observations").scan()["Items"]
    assert {int(one["expires"]) - float(one["at"].partition("#")[0]) for one in rows} == {21 * 86_400}


def test_an_event_that_comes_while_its_roll_out_runs_starts_nothing(rig: Rig) -> None:
    approved = event("arn:aws:sagemaker:eu-west-1:123456789012:model-package/sam3edge/1", "Approved")
    rig.cloud.functions.clear()  # every task fails, which is not what is looked at
    first, second = handlers.start(approved, None), handlers.start(approved, None)
    assert first["execution"] == second["execution"]
    assert len(rig.states.list_executions(stateMachineArn=rig.machine)["executions"]) == 1
    rig.wait(first["execution"])
    assert handlers.start({**approved, "attempt": 2}, None)["started"]
