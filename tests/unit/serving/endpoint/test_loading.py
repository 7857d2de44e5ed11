"""From a path to an engine, or to a reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sam3edge.bundle.proof import ProvenEngine
from sam3edge.core.errors import BundleError, EngineError, SettingsError
from sam3edge.core.types import ModelInfo
from sam3edge.engines.fake import FakeEngine
from sam3edge_serving.endpoint import loading
from sam3edge_serving.endpoint.loading import examine, find_model
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.environment import read_settings

DEMO_CHECKPOINT = Path(__file__).parents[4] / "assets" / "demo-checkpoint"


def a_key() -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


def test_a_bundle_is_verified_then_loaded_and_proved(demo_bundle: Path) -> None:
    load = examine(read_settings(Settings, {"CHECKPOINT_PATH": str(demo_bundle), "SAM3EDGE_THREADS": "1"}))
    engine = load()
    assert engine.model.name == "sam3edge-demo"
    engine.close()


def test_a_bundle_that_finds_something_else_than_when_it_was_built_is_refused(bundle: Path) -> None:
    expected = bundle / "golden" / "expected.json"
    golden = json.loads(expected.read_text())
    golden["instances"][0]["score"] -= 0.3
    expected.write_text(json.dumps(golden))
    with pytest.raises(BundleError, match=r"expected\.json"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(bundle)}))


def test_a_damaged_bundle_is_refused_before_it_is_loaded(bundle: Path) -> None:
    (bundle / "vision.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"vision\.onnx"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(bundle)}))


def test_an_unsigned_bundle_where_a_key_is_set(demo_bundle: Path) -> None:
    with pytest.raises(BundleError, match="not signed"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(demo_bundle), "SAM3EDGE_PUBLIC_KEY": a_key()}))
    with pytest.raises(SettingsError, match="PublicKey"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(demo_bundle), "SAM3EDGE_PUBLIC_KEY": "nonsense"}))


def test_a_checkpoint_where_a_key_is_set() -> None:
    with pytest.raises(BundleError, match="nobody can sign"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(DEMO_CHECKPOINT), "SAM3EDGE_PUBLIC_KEY": a_key()}))


def test_where_sagemaker_unpacks_models(tmp_path: Path, demo_bundle: Path) -> None:
    with pytest.raises(BundleError, match="is not there"):
        find_model(tmp_path / "model")
    (tmp_path / "readme.txt").touch()
    with pytest.raises(BundleError, match="holds nothing that is one"):
        find_model(tmp_path)
    inside = shutil.copytree(demo_bundle, tmp_path / "sam3-1.0.0")
    assert find_model(tmp_path) == find_model(inside) == inside
    weights = tmp_path / "sam3.pt"
    weights.touch()
    assert find_model(weights) == weights
    with pytest.raises(BundleError, match=r"holds sam3-1\.0\.0, sam3\.pt"):
        find_model(tmp_path)


@pytest.mark.timeout(300)
def test_a_transformers_folder_runs_on_torch() -> None:
    engine = examine(read_settings(Settings, {"CHECKPOINT_PATH": str(DEMO_CHECKPOINT)}))()
    assert engine.model.provider == "torch:cpu"
    assert engine.model.name == "sam3"
    engine.close()


def test_a_checkpoint_where_nothing_runs_one_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the image for CPUs, which has no torch."""
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(BundleError, match=r"is a checkpoint, and to run one torch must be installed: .* to a bundle"):
        examine(read_settings(Settings, {"CHECKPOINT_PATH": str(DEMO_CHECKPOINT)}))


def test_a_bundle_needs_none_of_that(monkeypatch: pytest.MonkeyPatch, demo_bundle: Path) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda _: None)
    examine(read_settings(Settings, {"CHECKPOINT_PATH": str(demo_bundle)}))


class CpuOnly(FakeEngine):
    """Runs on the CPU, whatever was asked for: so does ONNX Runtime where CUDA's libraries are missing."""

    @property
    def model(self) -> ModelInfo:
        """Which model answers."""
        return replace(super().model, provider="CPUExecutionProvider")


@pytest.mark.parametrize("asked", ["CUDAExecutionProvider", "TensorrtExecutionProvider, CUDAExecutionProvider"])
@pytest.mark.parametrize("checkpoint", ["bundle", "checkpoint"])
def test_a_provider_that_does_not_run_is_never_silently_another(
    demo_bundle: Path, monkeypatch: pytest.MonkeyPatch, asked: str, checkpoint: str
) -> None:
    monkeypatch.setattr(loading, "open_on_this_machine", lambda *_: ProvenEngine(CpuOnly()))
    place = demo_bundle if checkpoint == "bundle" else DEMO_CHECKPOINT
    load = examine(read_settings(Settings, {"CHECKPOINT_PATH": str(place), "SAM3EDGE_PROVIDERS": asked}))
    with pytest.raises(EngineError, match=r"asks for .*CUDAExecutionProvider, and here .* CPUExecutionProvider"):
        load()


def test_a_provider_that_this_build_has_not_is_refused(demo_bundle: Path) -> None:
    asked = {"CHECKPOINT_PATH": str(demo_bundle), "SAM3EDGE_PROVIDERS": "CUDAExecutionProvider"}
    with pytest.raises(EngineError, match="none of the execution providers CUDAExecutionProvider"):
        examine(read_settings(Settings, asked))()


def test_the_cpu_is_taken_where_it_is_asked_for_too(demo_bundle: Path) -> None:
    asked = {"CHECKPOINT_PATH": str(demo_bundle), "SAM3EDGE_PROVIDERS": "CUDAExecutionProvider,CPUExecutionProvider"}
    engine = examine(read_settings(Settings, asked))()
    assert engine.model.provider == "CPUExecutionProvider"
    engine.close()
