"""The labeling workflow, executed: moto runs the definition, the steps are ours, the functions between are a fake."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.engines.fake import FakeEngine
from sam3edge_pipeline.datasets.formats.annotations import ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.datasets.labels import in_force
from sam3edge_pipeline.datasets.splits import SplitPolicy
from sam3edge_pipeline.datasets.storage import FolderStorage
from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.labeling.backends import (
    FilesBackend,
    ImageToLabel,
    JobStatus,
    LabelingRequest,
    ReviewBackend,
    from_engine,
)
from sam3edge_pipeline.labeling.ground_truth import GroundTruthBackend
from sam3edge_pipeline.labeling.steps import LabelingSteps, Step, StepError
from sam3edge_pipeline.labeling.workflow import BACKENDS, StepFunctions, WorkflowSettings, definition
from support.ground_truth import FakeGroundTruth, output_line
from support.labeled_images import HEIGHT, WIDTH, record, square, write_image
from unit.pipeline.labeling.test_backends import SETTINGS

FUNCTIONS = StepFunctions("check", "start", "status", "verify", "store")
ONCE = WorkflowSettings(minimum=2, maximum=10, minimum_share=1, poll_seconds=1, polls=2)
ENDED = 60.0


class World:
    """Images, backends, datasets, and the functions that the state machine calls."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.images = []
        for number in range(images):
            path = folder / "images" / f"{number}.png"
            image = write_image(path, 10 + number)
            self.images.append(
                ImageToLabel(record(path, image, f"g{number}"), path, f"s3://bucket/images/{number}.png")
            )
        self.ground_truth = FakeGroundTruth()
        self.labels = folder / "labels.json"
        clients = [boto3.client(name, region_name="us-east-1") for name in ("sagemaker", "s3")]
        self.steps = LabelingSteps(
            candidates=lambda: self.images,
            labeled=lambda: self.known,
            phrases=("red",),
            backends={
                "files": FilesBackend(self.labels, "coco", folder / "images", "ann"),
                "ground-truth": GroundTruthBackend(*clients, SETTINGS),
                "review": ReviewBackend(folder / "queues", from_engine(FakeEngine())),
            },
            jobs=FolderStorage(folder / "jobs"),
            versions=lambda name, version: FolderStorage(folder / "datasets" / name / version),
            policy=SplitPolicy(),
        )
        self.known: frozenset[str] = frozenset()
        self.calls: list[str] = []
        self.on_status: list[Any] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have Lambda's Invoke call the steps, as the Lambda service would."""
        self.ground_truth.install(monkeypatch)
        real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if operation != "Invoke":
                return real(client, operation, parameters)
            shape = client.meta.service_model.operation_model(operation).input_shape
            assert not ParamValidator().validate(parameters, shape).has_errors()
            return self._invoke(parameters["FunctionName"], json.loads(parameters["Payload"]))

        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)

    def _invoke(self, step: Step, payload: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(step)
        if step == "status" and self.on_status:
            self.on_status.pop(0)()
        try:
            returned: Any = self.steps.handle(step, payload)
            failed = {}
        except Sam3EdgeError as error:
            returned = {"errorType": type(error).__name__, "errorMessage": str(error)}
            failed = {"FunctionError": "Unhandled"}
        body = io.BytesIO(json.dumps(returned).encode())
        return {"StatusCode": 200, "Payload": body, "ExecutedVersion": "$LATEST", **failed}

    def write_labels(self, count: int | None = None) -> None:
        labeled = self.images[:count]
        images = [ImageAnnotations(o.file.name, WIDTH, HEIGHT, (square(10 + n),)) for n, o in enumerate(labeled)]
        self.labels.write_bytes(coco_of(images))

    def run(self, backend: str, settings: WorkflowSettings = ONCE, job: str = "job-1", **more: str) -> dict[str, Any]:
        """Execute until it ends; what Step Functions says of the execution, and the states that it entered."""
        client = boto3.client("stepfunctions", region_name="us-east-1")
        machine = client.create_state_machine(
            name=f"labeling-{job}",
            definition=json.dumps(definition(FUNCTIONS, settings)),
            roleArn="arn:aws:iam::123456789012:role/workflow",
        )["stateMachineArn"]
        given = {"backend": backend, "dataset": "line", "version": "1", "parent": "", **more}
        execution = client.start_execution(stateMachineArn=machine, name=job, input=json.dumps(given))["executionArn"]
        until = time.monotonic() + ENDED
        while True:
            found: dict[str, Any] = client.describe_execution(executionArn=execution)
            if found["status"] != "RUNNING":
                break
            assert time.monotonic() < until, "the execution has not ended"
            time.sleep(0.05)
        events = client.get_execution_history(executionArn=execution)["events"]
        found["states"] = [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Three images, nothing labeled."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bucket")
        made = World(tmp_path, 3)
        made.install(monkeypatch)
        yield made


def test_labels_from_a_file_become_a_version(world: World) -> None:
    world.write_labels()
    ended = world.run("files")
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"] == [
        "CheckUnlabeled", "Enough", "ChooseBackend", "Start-files", "BeginPolling", "Wait", "CountPolls", "Status",
        "Labeled", "Verify", "Store", "Done",
    ]  # fmt: skip
    output = json.loads(ended["output"])
    opened = open_dataset(world.folder / "datasets" / "line" / "1")
    assert opened.manifest is not None
    assert output == {
        "version": "1",
        "digest": opened.manifest.digest,
        "examples": dict(opened.manifest.examples),
    }
    assert [len(example.objects) for example in opened.examples] == [1, 1, 1]
    assert opened.manifest.sources[0].name == "job-1/labels.json"


def test_too_few_images_are_left_for_later(world: World) -> None:
    world.known = frozenset(one.record.id for one in world.images[1:])
    ended = world.run("files")
    assert ended["status"] == "SUCCEEDED"
    assert ended["states"][-1] == "NotEnough"
    assert world.calls == ["check"]


def test_ground_truth_from_start_to_version(world: World) -> None:
    lines = [
        output_line("job-1", one.address, WIDTH, HEIGHT, (10 + n, 80, 60, 60)) for n, one in enumerate(world.images)
    ]
    world.on_status = [lambda: None, lambda: world.ground_truth.complete("job-1", lines)]
    ended = world.run("ground-truth")
    assert ended["status"] == "SUCCEEDED"
    assert world.calls == ["check", "start", "status", "status", "verify", "store"]
    opened = open_dataset(world.folder / "datasets" / "line" / "1")
    assert {event.job for event in in_force(opened.events)} == {"job-1"}


def test_a_failure_of_ground_truth_ends_in_a_state_that_says_why(world: World) -> None:
    world.on_status = [lambda: world.ground_truth.fail("job-1", "the work team is gone")]
    ended = world.run("ground-truth")
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "LabelingFailed", "the work team is gone")
    assert ended["states"][-1] == "LabelingFailed"
    assert not (world.folder / "datasets").exists()


def test_a_job_that_is_never_completed_is_given_up(world: World) -> None:
    ended = world.run("review")
    assert (ended["status"], ended["error"]) == ("FAILED", "LabelingTimedOut")
    assert world.calls.count("status") == ONCE.polls


def test_labels_of_too_few_images_are_not_stored(world: World) -> None:
    world.write_labels(2)
    ended = world.run("files")
    assert (ended["status"], ended["error"]) == ("FAILED", "VerificationFailed")
    assert "for 100% of 3 images, got them for 2" in ended["cause"]
    assert not (world.folder / "datasets").exists()


def test_damaged_labels_are_not_stored(world: World) -> None:
    world.labels.write_text("{")
    ended = world.run("files")
    assert (ended["status"], ended["error"]) == ("FAILED", "VerificationFailed")
    assert "labels.json" in ended["cause"]


def test_an_unknown_backend_is_refused(world: World) -> None:
    ended = world.run("crowd")
    assert (ended["status"], ended["error"]) == ("FAILED", "UnknownBackend")


def test_a_version_that_exists_stays_as_it_is(world: World) -> None:
    world.write_labels()
    assert world.run("files")["status"] == "SUCCEEDED"
    before = (world.folder / "datasets" / "line" / "1" / "manifest.json").read_bytes()
    ended = world.run("files", job="job-2")
    assert (ended["status"], ended["error"]) == ("FAILED", "StoreFailed")
    assert (world.folder / "datasets" / "line" / "1" / "manifest.json").read_bytes() == before


class TestSteps:
    def test_a_second_version_continues_the_first(self, world: World) -> None:
        added, world.images = world.images[2:], world.images[:2]
        world.write_labels()
        self.all_of(world, "job-1", version="1", parent="")
        world.known = frozenset(one.record.id for one in world.images)
        world.images += added
        world.labels.write_bytes(coco_of([ImageAnnotations(added[0].file.name, WIDTH, HEIGHT, (square(12),))]))
        self.all_of(world, "job-2", version="2", parent="1")
        opened = open_dataset(world.folder / "datasets" / "line" / "2")
        assert len(opened.examples) == 3
        earlier = open_dataset(world.folder / "datasets" / "line" / "1")
        assert {image: opened.splits[image] for image in earlier.splits} == dict(earlier.splits)
        assert opened.manifest is not None
        assert opened.manifest.parent is not None
        assert opened.manifest.parent.version == "1"

    def test_every_step_can_be_repeated(self, world: World) -> None:
        world.write_labels()
        once = self.all_of(world, "job-1", version="1", parent="")
        world.known = frozenset(one.record.id for one in world.images)  # by now they are labeled
        assert self.all_of(world, "job-1", version="1", parent="") == once

    @pytest.mark.parametrize(
        ("step", "event"),
        [
            ("check", {}),
            ("check", {"job": "../x", "maximum": 1}),
            ("check", {"job": "a", "maximum": 0}),
            ("start", {"job": "a", "backend": "files", "more": 1}),
            ("store", {"job": "a", "backend": "files"}),
        ],
    )
    def test_other_payloads_are_refused(self, world: World, step: Step, event: dict[str, Any]) -> None:
        with pytest.raises(StepError, match=f"the step {step}"):
            world.steps.handle(step, event)

    def all_of(self, world: World, job: str, version: str, parent: str) -> list[Any]:
        labeling = {"job": job, "backend": "files"}
        store = {**labeling, "dataset": "line", "version": version, "parent": parent}
        return [
            world.steps.handle("check", {"job": job, "maximum": 10}),
            world.steps.handle("start", labeling),
            world.steps.handle("status", labeling),
            world.steps.handle("verify", {**labeling, "minimum_share": 1}),
            world.steps.handle("store", store),
        ]


class TestDefinition:
    def test_it_is_the_same_every_time_and_names_every_backend(self) -> None:
        made = definition(FUNCTIONS, WorkflowSettings())
        assert json.dumps(made) == json.dumps(definition(FUNCTIONS, WorkflowSettings()))
        assert {f"Start-{backend}" for backend in BACKENDS} <= made["States"].keys()

    def test_every_state_can_be_reached_and_every_task_says_where_its_failure_leads(self) -> None:
        made = definition(FUNCTIONS, WorkflowSettings())
        states: dict[str, Any] = made["States"]
        reached, todo = set(), [made["StartAt"]]
        while todo:
            name = todo.pop()
            if name in reached:
                continue
            reached.add(name)
            state = states[name]
            todo += [state[key] for key in ("Next", "Default") if key in state]
            todo += [choice["Next"] for choice in (*state.get("Choices", ()), *state.get("Catch", ()))]
            if state["Type"] == "Task":
                assert [c["Next"] for c in state["Catch"] if c["ErrorEquals"] == ["States.ALL"]]
        assert reached == states.keys()

    @pytest.mark.parametrize(
        "wrong", [{"minimum": 0}, {"minimum": 2, "maximum": 1}, {"polls": 0}, {"minimum_share": 0}]
    )
    def test_bounds_are_checked(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="expected"):
            WorkflowSettings(**wrong)


def test_a_status_has_what_the_workflow_reads(world: World) -> None:
    class Failing:
        def start(self, request: LabelingRequest) -> None: ...

        def status(self, request: LabelingRequest) -> JobStatus:
            return JobStatus("failed", 0, 1)

    world.steps.backends["files"] = Failing()  # type: ignore[index]
    world.steps.handle("check", {"job": "j", "maximum": 1})
    returned = world.steps.handle("status", {"job": "j", "backend": "files"})
    assert returned == {"state": "failed", "labeled": 0, "total": 1, "reason": ""}
