"""The definition that is kept, executed step by step with both outcomes; what is not understood is an error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sam3edge.bundle.manifest import read_manifest
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_pipeline.definition import interpreter as programs
from sam3edge_pipeline.definition.interpreter import DefinitionError, Interpreter, StepFailed, read_definition
from sam3edge_pipeline.synthetic import PHRASES
from support.small_dataset import write_small_dataset

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[4]
DEFINITION = ROOT / "pipeline/sam3edge_pipeline/definition/pipeline.json"

GIVEN = {
    "DatasetUri": "s3://bucket/datasets/scenes/1",
    "CheckpointUri": "s3://bucket/checkpoints/demo",
    "OutputUri": "s3://bucket/runs",
    "NewPhrases": "tank",
    "Phrases": "|".join((*PHRASES, "tank")),
    "BundleName": "sam3edge-demo",
    "BundleVersion": "2.0.0",
    "Precision": "fp32",
    "Steps": 1,
    "Batch": 2,
    "MaskPoints": 16,
    "TransformerRate": 1e-9,
    "TextRate": 1e-9,
}
"""One step that hardly moves a weight: the model stays what it was."""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """SageMaker's registry on loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """What stands for S3, with a dataset and the checkpoint to begin with: the demo's, one layer of its decoder."""
    write_small_dataset(tmp_path / "store/bucket/datasets/scenes/1", tmp_path / "scratch")
    demo, checkpoint = ROOT / "assets/demo-checkpoint", tmp_path / "store/bucket/checkpoints/demo"
    model = read_checkpoint(demo).model
    del model.detr_decoder.layers[1:]
    model.config.detr_decoder_config.num_layers = 1
    model.save_pretrained(checkpoint)
    for name in ("tokenizer.json", "LICENSE"):
        shutil.copy(demo / name, checkpoint)
    return tmp_path / "store"


class RunOnce:
    """Runs the programs of steps; what one has left it leaves again, without running it a second time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run = subprocess.run

    def __call__(self, command: list[str], **given: Any) -> subprocess.CompletedProcess[Any]:
        module, root = command[2], Path(command[4])
        if (self._folder / module).exists():
            shutil.copytree(self._folder / module, root, dirs_exist_ok=True)
            return subprocess.CompletedProcess(command, 0)
        done = self._run(command, **given)
        if done.returncode == 0:
            shutil.copytree(root, self._folder / module)
        return done


def environment(registry: str) -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
        "AWS_ENDPOINT_URL": registry,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@pytest.mark.long
def test_a_candidate_is_registered_where_it_is_good_enough_and_turned_down_where_it_is_no_better(
    store: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second execution has the same candidate, and other margins."""
    told: list[str] = []
    interpreter = Interpreter(
        read_definition(DEFINITION), store, environment(registry), lambda step, what: told.append(f"{step} {what}")
    )
    monkeypatch.setattr(programs.subprocess, "run", RunOnce(store.parent / "left"))
    execution = interpreter.execute({**GIVEN, "Gain": -1.0, "FalseAlarms": 1.0})  # anything will do
    assert execution.steps == ("Prepare", "Train", "Evaluate", "IsBetter", "Export", "Register")
    assert "IsBetter holds" in told
    made = store / execution.outputs["Export"]["bundle"].removeprefix("s3:/").lstrip("/")
    manifest = read_manifest(made / "sam3edge-demo-2.0.0")
    assert "tank" in manifest.vocabulary
    client = boto3.client(
        "sagemaker", "eu-central-1", endpoint_url=registry, aws_access_key_id="test", aws_secret_access_key="test"
    )
    [package] = client.list_model_packages(ModelPackageGroupName="sam3edge")["ModelPackageSummaryList"]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    said = client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    assert said["CustomerMetadataProperties"]["bundle_digest"] == manifest.digest()
    assert said["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].startswith(f"s3://bucket/runs/{execution.id}/")

    told.clear()
    with pytest.raises(StepFailed, match="TurnedDown: the candidate may not replace the model before"):
        interpreter.execute({**GIVEN, "ModelPackageGroup": "other"})
    assert told[-1] == "IsBetter does not hold"
    assert not any(one.startswith(("Export", "Register")) for one in told)


def test_a_step_that_fails_ends_the_execution_with_its_reason(tmp_path: Path, registry: str) -> None:
    (tmp_path / "bucket/datasets/scenes/1").mkdir(parents=True)
    interpreter = Interpreter(read_definition(DEFINITION), tmp_path, environment(registry))
    with pytest.raises(StepFailed, match=r"Prepare ended with status 1: .*manifest\.json"):
        interpreter.execute(GIVEN)


def test_parameters_that_the_definition_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="expected parameters among"):
        Interpreter(read_definition(DEFINITION), tmp_path).execute({"Speed": 1})


def changed(change: Any) -> Any:
    definition = deepcopy(read_definition(DEFINITION))
    change(definition)
    return definition


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["Steps"][0].update(Type="Lambda"), "a Lambda step, which is not understood"),
        (lambda d: d["Steps"].pop(0), "depends on Prepare"),
        (
            lambda d: d["Steps"][0]["Arguments"]["ProcessingInputs"][0]["S3Input"].update(LocalPath="/opt/ml/../etc"),
            "within its place",
        ),
        (
            lambda d: d["Steps"][0]["Arguments"]["ProcessingInputs"][0]["S3Input"].update(S3Uri={"Get": "Steps.No.X"}),
            "a step that was executed before",
        ),
    ],
)
def test_what_is_not_understood_is_an_error(change: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        Interpreter(changed(change), tmp_path).execute(GIVEN)


def test_the_definition_holds_what_the_services_that_are_open_can_do() -> None:
    definition = read_definition(DEFINITION)
    text = json.dumps(definition)
    assert "QualityCheck" not in text
    assert "ClarifyCheck" not in text
    [train] = [step for step in definition["Steps"] if step["Type"] == "Training"]
    assert train["Arguments"]["EnableManagedSpotTraining"]
    assert train["Arguments"]["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
