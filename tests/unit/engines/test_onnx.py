"""The ONNX Runtime engine, beyond the contract."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from sam3edge.bundle.golden import golden_frame
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.errors import EngineError
from sam3edge.core.types import ModelFiles, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions

CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)


@pytest.fixture
def files(demo_bundle: Path) -> ModelFiles:
    return model_files(demo_bundle, read_manifest(demo_bundle))


def counting(engine: OnnxEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that run, in order."""
    runs: list[str] = []
    names = {id(session): name for name, session in engine._graphs.items()}
    original = ort.InferenceSession.run_with_iobinding

    def run(session: ort.InferenceSession, binding: ort.IOBinding, options: object = None) -> None:
        runs.append(names[id(session)])
        original(session, binding, options)

    monkeypatch.setattr(ort.InferenceSession, "run_with_iobinding", run)
    return runs


def test_many_prompts_cost_one_vision_and_one_decoder_run(
    files: ModelFiles, demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine(files, CPU)
    runs = counting(engine, monkeypatch)
    engine.segment(golden_frame(demo_bundle), [Prompt(p) for p in read_manifest(demo_bundle).vocabulary])
    assert runs == ["vision", "decoder", "masks"]


def test_nothing_admitted_costs_no_mask_run(
    files: ModelFiles, demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine(files, CPU)
    runs = counting(engine, monkeypatch)
    found = engine.segment(golden_frame(demo_bundle), [Prompt("ship", 1.0)])
    assert found.instances == ()
    assert runs == ["vision", "decoder"]


def test_unknown_phrases_only_cost_no_run_at_all(
    files: ModelFiles, demo_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = OnnxEngine(files, CPU)
    runs = counting(engine, monkeypatch)
    engine.segment(golden_frame(demo_bundle), [Prompt("xyzzy")])
    assert runs == []


def test_an_unknown_phrase_says_which_are_known(files: ModelFiles, demo_bundle: Path) -> None:
    found = OnnxEngine(files, CPU).segment(golden_frame(demo_bundle), [Prompt("xyzzy")])
    assert "scratch" in found.unanswered["xyzzy"]


def test_phrases_are_read_as_the_tokenizer_would(files: ModelFiles, demo_bundle: Path) -> None:
    engine = OnnxEngine(files, CPU)
    frame = golden_frame(demo_bundle)
    plain, odd = (engine.segment(frame, [Prompt(text)]).instances for text in ("metal tag", "  Metal   TAG "))
    assert [i.score for i in plain] == [i.score for i in odd]


def test_at_most_so_many_instances_a_prompt(files: ModelFiles, demo_bundle: Path) -> None:
    engine = OnnxEngine(files, OnnxOptions(("CPUExecutionProvider",), max_instances=2))
    assert len(engine.segment(golden_frame(demo_bundle), [Prompt("hole", 0.0)]).instances) == 2


def test_a_provider_that_is_not_there_is_passed_over(files: ModelFiles) -> None:
    engine = OnnxEngine(files, OnnxOptions(("NoSuchProvider", "CPUExecutionProvider")))
    assert engine.model.provider == "CPUExecutionProvider"


def test_no_provider_at_all_is_an_error_that_names_those_there_are(files: ModelFiles) -> None:
    with pytest.raises(EngineError, match=r"NoSuchProvider.*CPUExecutionProvider"):
        OnnxEngine(files, OnnxOptions(("NoSuchProvider",)))


@pytest.mark.parametrize("name", ["vision.onnx", "prompts.npz"])
def test_a_damaged_file_is_an_engine_error_that_names_it(files: ModelFiles, bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"not what it was")
    damaged = ModelFiles(bundle, files.name, files.version, files.digest, files.precision, files.input_size)
    with pytest.raises(EngineError, match=name):
        OnnxEngine(damaged, CPU)


def test_pickled_prompt_files_are_not_opened(files: ModelFiles, bundle: Path) -> None:
    evil = np.array([{"a": 1}], dtype=object)
    np.savez(bundle / "prompts.npz", phrases=evil, features=evil, mask=evil)
    damaged = ModelFiles(bundle, files.name, files.version, files.digest, files.precision, files.input_size)
    with pytest.raises(EngineError, match=r"prompts\.npz"):
        OnnxEngine(damaged, CPU)


def test_an_engine_that_fails_in_a_run_says_on_what(files: ModelFiles, bundle: Path, demo_bundle: Path) -> None:
    shutil.copyfile(bundle / "decoder.onnx", bundle / "masks.onnx")
    damaged = ModelFiles(bundle, files.name, files.version, files.digest, files.precision, files.input_size)
    engine = OnnxEngine(damaged, CPU)
    with pytest.raises(EngineError, match="CPUExecutionProvider failed on frame"):
        engine.segment(golden_frame(demo_bundle), [Prompt("metal tag", 0.0)])
