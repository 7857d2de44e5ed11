"""What begins labeling, and what begins training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
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
