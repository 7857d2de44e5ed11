"""What begins labeling, and what begins training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest

import sam3edge_pipeline.definition
from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.retraining import handlers
from sam3edge_pipeline.retraining.versions import latest_version
from support.labeling_cloud import LabelingCloud, labeling_cloud

DEFINITION = Path(sam3edge_pipeline.definition.__file__).with_name("pipeline.json").read_text()
ROLE = "arn:aws:iam::123456789012:role/any"
DUE = {"time": "2026-03-02T08:00:00Z"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LabelingCloud]:
    with labeling_cloud(monkeypatch, tmp_path) as made:
        wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
        boto3.client("stepfunctions").create_state_machine(name="labeling", definition=json.dumps(wait), roleArn=ROLE)
        boto3.client("sagemaker").create_pipeline(
            PipelineName="training", PipelineDefinition=DEFINITION, RoleArn=ROLE, ClientRequestToken="t" * 32
        )
        yield made


def store(cloud: LabelingCloud, version: str, whole: bool = True) -> None:
    name = "manifest.json" if whole else "labels.parquet"
    cloud.s3.put_object(Bucket=cloud.learning, Key=f"datasets/yard/{version}/{name}", Body=b"{}")


def executions() -> list[dict[str, Any]]:
    states = boto3.client("stepfunctions")
    [machine] = states.list_state_machines()["stateMachines"]
    listed = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    return [states.describe_execution(executionArn=one["executionArn"]) for one in listed]


def test_versions_are_numbers_that_were_stored_whole(cloud: LabelingCloud) -> None:
    assert latest_version(cloud.s3, cloud.learning, "yard") is None
    for version in ("2", "10", "9", "x", "1.5"):
        store(cloud, version)
    store(cloud, "11", whole=False)
    assert latest_version(cloud.s3, cloud.learning, "yard") == 10


def test_labeling_begins_with_the_version_after_the_latest(cloud: LabelingCloud) -> None:
    store(cloud, "3")
    assert handlers.label(DUE, None) == {"started": True, "execution": "yard-4-20260302080000"}
    [one] = executions()
    assert json.loads(one["input"]) == {"backend": "files", "dataset": "yard", "version": "4", "parent": "3"}


def test_the_first_version_has_no_parent(cloud: LabelingCloud) -> None:
    handlers.label(DUE, None)
    [one] = executions()
    assert json.loads(one["input"]) == {"backend": "files", "dataset": "yard", "version": "1", "parent": ""}


def test_labeling_in_progress_is_not_started_beside_itself(cloud: LabelingCloud) -> None:
    handlers.label(DUE, None)
    again = handlers.label({"time": "2026-03-02T09:00:00Z"}, None)
    assert again == {"started": False, "reason": "yard-1-20260302080000 is in progress"}
    assert len(executions()) == 1


def test_a_repeated_event_starts_nothing(cloud: LabelingCloud) -> None:
    handlers.label(DUE, None)
    [one] = executions()
    boto3.client("stepfunctions").stop_execution(executionArn=one["executionArn"])
    handlers.label(DUE, None)
    assert len(executions()) == 1


RULE = "new-examples"


def uploaded(count: int, at: datetime) -> None:
    """Have EventBridge count uploads."""
    data = {"MetricName": "MatchedEvents", "Dimensions": [{"Name": "RuleName", "Value": RULE}]}
    boto3.client("cloudwatch").put_metric_data(
        Namespace="AWS/Events", MetricData=[{**data, "Timestamp": at, "Value": float(count)}]
    )


def hour(moment: datetime, minimum: int = 100) -> dict[str, Any]:
    """What ``label`` does when the rule of every hour calls it."""
    return handlers.label({"time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "minimum": minimum}, None)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[str, datetime]:
    """When executions began, by name: as AWS lists them, where it is to be another moment than that of the test."""
    moments: dict[str, datetime] = {}
    real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
        reply = real(client, operation, params)
        for one in reply["executions"] if operation == "ListExecutions" else ():
            one["startDate"] = moments.get(one["name"], one["startDate"])
        return reply

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    return moments


def ends(begun: dict[str, datetime], began: datetime) -> None:
    """The execution in progress ends; it began at that moment."""
    [running] = [one for one in executions() if one["status"] == "RUNNING"]
    boto3.client("stepfunctions").stop_execution(executionArn=running["executionArn"])
    begun[running["name"]] = began


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    monkeypatch.setenv("SAM3EDGE_RETRAINING_UPLOADS_RULE", RULE)
    return datetime.now(timezone.utc).replace(microsecond=0)


def test_examples_that_come_steadily_ask_for_labels_again_and_again(
    cloud: LabelingCloud, begun: dict[str, datetime], now: datetime
) -> None:
    """Every hour as many: there is no hour with fewer, after which something could go off anew."""
    asked = []
    for hours in range(1, 13):
        moment = now + timedelta(hours=hours)
        uploaded(25, moment - timedelta(minutes=30))
        if hour(moment)["started"]:
            asked.append(hours)
            ends(begun, moment)
    assert asked == [4, 8, 12]


def test_fewer_new_examples_ask_for_nothing(cloud: LabelingCloud, now: datetime) -> None:
    uploaded(99, now - timedelta(hours=3))
    assert hour(now) == {"started": False, "reason": "99 new examples of 100"}
    uploaded(1, now - timedelta(hours=2))
    assert hour(now)["started"]


def test_what_was_there_when_labels_were_asked_for_is_not_new(
    cloud: LabelingCloud, begun: dict[str, datetime], now: datetime
) -> None:
    uploaded(500, now - timedelta(hours=3))
    handlers.label(DUE, None)  # the schedule's, which needs no minimum
    ends(begun, now - timedelta(hours=1))
    assert hour(now)["reason"] == "0 new examples of 100"


def test_examples_that_come_while_people_label_are_counted_afterwards(
    cloud: LabelingCloud, begun: dict[str, datetime], now: datetime
) -> None:
    handlers.label(DUE, None)
    uploaded(100, now + timedelta(hours=1))
    assert "in progress" in hour(now + timedelta(hours=2))["reason"]
    ends(begun, now)
    assert hour(now + timedelta(hours=3))["started"]


def test_long_after_the_last_labels_the_count_is_bounded(
    cloud: LabelingCloud, begun: dict[str, datetime], now: datetime
) -> None:
    handlers.label(DUE, None)
    ends(begun, now - timedelta(days=300))
    uploaded(100, now - timedelta(days=58))
    uploaded(1000, now - timedelta(days=70))
    assert hour(now, minimum=101)["reason"] == "100 new examples of 101"
    assert hour(now)["started"]


def labeled(output: dict[str, Any], status: str = "SUCCEEDED") -> dict[str, Any]:
    arn = "arn:aws:states:eu-central-1:123456789012:execution:labeling:yard-4"
    return {"detail": {"executionArn": arn, "status": status, "output": json.dumps(output)}}


def test_a_stored_version_is_trained_on(cloud: LabelingCloud) -> None:
    started = handlers.train(labeled({"version": "4", "digest": "sha256:ab", "examples": {"train": 3}}), None)
    assert started["started"]
    sagemaker = boto3.client("sagemaker")
    told = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=started["execution"])
    values = {one["Name"]: one["Value"] for one in told["PipelineParameters"]}
    assert values["DatasetUri"] == "s3://learning/datasets/yard/4"
    assert values["NewPhrases"] == "red|dent"
    assert values["BundleVersion"] == "1.4.0"
    known = {one["Name"] for one in json.loads(DEFINITION)["Parameters"]}
    assert values.keys() <= known


@pytest.mark.parametrize(
    "event",
    [
        labeled({"backend": "files", "dataset": "yard", "version": "4", "parent": "3"}),  # NotEnough: as it began
        labeled({"version": "4", "digest": "sha256:ab"}, "FAILED"),
        {"detail": {"executionArn": "arn", "status": "SUCCEEDED"}},
    ],
)
def test_nothing_is_trained_where_nothing_was_stored(cloud: LabelingCloud, event: dict[str, Any]) -> None:
    assert handlers.train(event, None)["started"] is False
    listed = boto3.client("sagemaker").list_pipeline_executions(PipelineName="training")
    assert not listed["PipelineExecutionSummaries"]


def test_settings_name_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3EDGE_RETRAINING_MACHINE_ARN", "labeling")
    with pytest.raises(SettingsError) as refused:
        handlers.read_settings()
    assert all(name in str(refused.value) for name in ("machine_arn", "dataset", "pipeline", "phrases"))
