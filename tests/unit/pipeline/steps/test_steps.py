"""Each step in SageMaker's layout; bad input is told in ``output/failure``.

Steps that load torch run in this process: that each is a program, too, is what the interpreter's test shows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3edge.bundle.verify import verify
from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.steps.evaluate import judge
from sam3edge_pipeline.steps.export import export
from sam3edge_pipeline.steps.parameters import export_of, margins_of, phrases_of, recipe_of, registration_of
from sam3edge_pipeline.steps.places import Places, run_step, unpacked
from sam3edge_pipeline.steps.train import train
from sam3edge_pipeline.training.finetune import METRICS, STATE
from support.small_dataset import write_small_dataset

pytestmark = [
    pytest.mark.timeout(400),  # trainings, beside three other tests on two cores
    pytest.mark.xdist_group("steps"),
]

ASSETS = Path(__file__).parents[4] / "assets"
FAST = {"steps": "2", "batch": "2", "prompts": "2", "mask_points": "64", "transformer_rate": "1e-4"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_small_dataset(folder / "1", folder / "scratch")
    return folder / "1"


def step(module: str, root: Path, *told: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"sam3edge_pipeline.steps.{module}", "--root", str(root), *told]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def status(work: Callable[[Places], None], root: Path, *told: str) -> int:
    """The exit status of a step that runs here, as its program does."""
    try:
        run_step(work, "", ["--root", str(root), *told])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def failure(root: Path) -> str:
    return (root / "output" / "failure").read_text()


def test_the_first_step_counts_what_there_is(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "processing/input/dataset")
    assert step("prepare", tmp_path, "new_phrases=tank").returncode == 0
    summary = json.loads((tmp_path / "processing/output/summary/summary.json").read_text())
    assert summary["dataset"] == "scenes"
    assert summary["splits"]["train"]["images"] == 8
    assert summary["splits"]["test"]["objects"]["tank"] > 0
    assert summary["splits"]["test"]["absent"]["tank"] > 0


def test_a_phrase_that_the_dataset_does_not_show_fails_with_the_reason(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "processing/input/dataset")
    assert step("prepare", tmp_path, "new_phrases=barrel").returncode == 1
    assert failure(tmp_path).startswith("the train split shows no 'barrel'; label more images of it")


def test_a_dataset_that_was_changed_fails_with_the_reason(dataset: Path, tmp_path: Path) -> None:
    place = tmp_path / "processing/input/dataset"
    shutil.copytree(dataset, place)
    image = next((place / "images").iterdir())
    image.unlink()
    image.write_bytes(b"other")
    assert step("prepare", tmp_path, "new_phrases=tank").returncode == 1
    assert "it was changed" in failure(tmp_path)


@pytest.mark.long
def test_training_leaves_a_checkpoint_and_continues_after_an_interruption(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(dataset, tmp_path / "input/data/dataset")
    shutil.copytree(ASSETS / "demo-checkpoint", tmp_path / "input/data/checkpoint")
    given = {"new_phrases": "tank", **FAST}
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(given))
    assert status(train, tmp_path) == 0, failure(tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json", "LICENSE"} <= {
        p.name for p in (tmp_path / "model").iterdir()
    }
    assert len((tmp_path / "output/data" / METRICS).read_text().splitlines()) == 2
    assert (tmp_path / "checkpoints" / STATE).exists()
    caplog.set_level("INFO")
    assert "continuing" not in caplog.text
    assert status(train, tmp_path) == 0  # nothing is left to learn
    assert "continuing after step 2" in caplog.text


def test_a_checkpoint_without_licence_is_refused_before_anything_is_learned(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "input/data/dataset")
    shutil.copytree(ASSETS / "demo-checkpoint", tmp_path / "input/data/checkpoint")
    (tmp_path / "input/data/checkpoint/LICENSE").unlink()
    (tmp_path / "input/config").mkdir(parents=True)
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps({"new_phrases": "tank", **FAST}))
    assert status(train, tmp_path) == 1
    assert failure(tmp_path).startswith("the licence of the weights must travel with them")
    assert not (tmp_path / "checkpoints" / STATE).exists()


@pytest.mark.slow  # the interpreter's test runs this step, too
def test_judging_says_that_an_unchanged_model_may_not_replace_itself(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "processing/input/dataset")
    for name in ("model", "baseline"):
        shutil.copytree(ASSETS / "demo-checkpoint", tmp_path / "processing/input" / name)
    assert status(judge, tmp_path, "new_phrases=tank", "gain=0.05") == 0, failure(tmp_path)
    output = tmp_path / "processing/output"
    decision = json.loads((output / "decision/decision.json").read_text())
    assert decision["passed"] is False
    assert decision["fall"] == 0
    assert decision["reasons"][0].startswith("F1 of tank rose by 0.000, expected 0.05")
    assert (output / "report/index.html").exists()
    assert json.loads((output / "report/report.json").read_text())["dataset"]["split"] == "test"


@pytest.mark.slow  # the interpreter's test runs this step, too
def test_the_export_is_a_bundle_that_devices_verify(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "processing/input/dataset")
    shutil.copytree(ASSETS / "demo-checkpoint", tmp_path / "processing/input/model")
    told = ("bundle_name=sam3", "bundle_version=2.0.0", "precision=fp32", "phrases=ship|car|building")
    assert status(export, tmp_path, *told) == 0, failure(tmp_path)
    manifest = verify(tmp_path / "processing/output/bundle/sam3-2.0.0", None)
    assert manifest.vocabulary == ["ship", "car", "building"]
    assert manifest.parity is not None
    assert manifest.parity["passed"]
    assert (tmp_path / "processing/output/parity/parity.json").exists()


def test_a_missing_input_is_told(tmp_path: Path) -> None:
    assert status(judge, tmp_path, "new_phrases=tank") == 1
    assert "dataset" in failure(tmp_path)


def test_an_archive_may_not_reach_out_of_itself(tmp_path: Path) -> None:
    import io
    import tarfile

    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("../outside")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(SettingsError, match="cannot be unpacked"), unpacked(tmp_path):
        pass
    assert not (tmp_path.parent / "outside").exists()


def test_hyperparameters_are_strings_of_the_recipe() -> None:
    recipe, words = recipe_of({"new_phrases": "tank| silo |", "steps": "7", "bf16": "true", "clip": "0.5"})
    assert words == ("tank", "silo")
    assert (recipe.steps, recipe.bf16, recipe.clip) == (7, True, 0.5)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "new_phrases: expected phrases"),
        ({"new_phrases": "tank", "stepz": "7"}, "stepz is not a hyperparameter"),
        ({"new_phrases": "tank", "steps": "seven"}, "steps: expected a whole number, got 'seven'"),
        ({"new_phrases": "tank", "flips": "yes"}, "flips: expected true or false"),
        ({"new_phrases": "tank", "steps": "0"}, "steps: expected 1"),
    ],
)
def test_hyperparameters_that_cannot_be_meant_are_refused(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        recipe_of(given)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="precision: expected a value"):
        export_of({"bundle_name": "a", "bundle_version": "1.0.0", "phrases": "tank"})
    with pytest.raises(SettingsError, match="group: expected a value"):
        registration_of({})
    assert margins_of({"gain": "0.1", "new_phrases": "tank"}).gain == 0.1
    assert phrases_of({"new_phrases": "tank|tank"}) == ("tank",)
