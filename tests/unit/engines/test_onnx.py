"""The ONNX Runtime engine, beyond the contract."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.bundle.golden import golden_frame
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.errors import EngineError
from sam3edge.core.types import ModelFiles, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import Graphs, load_accelerator_libraries
from support import samples

CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)


@pytest.fixture
def files(closed_bundle: Path) -> ModelFiles:
    return model_files(closed_bundle, read_manifest(closed_bundle))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The graphs that run, in order."""
    names: list[str] = []
    original = Graphs.run

    def run(self: Graphs, graph: str, *args: Any) -> dict[str, ort.OrtValue]:
        names.append(graph)
        return original(self, graph, *args)

    monkeypatch.setattr(Graphs, "run", run)
    return names


def test_many_prompts_share_one_look_and_runs_of_the_decoder(
    files: ModelFiles, demo_bundle: Path, runs: list[str]
) -> None:
    golden, prompts = golden_frame(demo_bundle), [Prompt(p) for p in read_manifest(demo_bundle).vocabulary]
    together = OnnxEngine(files, replace(CPU, prompts_per_run=16)).segment(golden, prompts)
    assert runs == ["vision", "decoder", "masks"]
    runs.clear()
    by_four = OnnxEngine(files, replace(CPU, prompts_per_run=4)).segment(golden, prompts)
    assert runs[0] == "vision"
    assert (runs.count("vision"), runs.count("decoder")) == (1, 3)
    assert len(by_four.instances) > 3
    assert [(i.prompt, i.score) for i in by_four.instances] == [
        (i.prompt, pytest.approx(i.score, abs=1e-5)) for i in together.instances
    ]
    assert set(by_four.timing) == set(together.timing)


def test_nothing_admitted_costs_no_mask_run(files: ModelFiles, demo_bundle: Path, runs: list[str]) -> None:
    engine = OnnxEngine(files, CPU)
    found = engine.segment(golden_frame(demo_bundle), [Prompt("ship", 1.0)])
    assert found.instances == ()
    assert runs == ["vision", "decoder"]


def test_unknown_phrases_only_cost_no_run_at_all(files: ModelFiles, demo_bundle: Path, runs: list[str]) -> None:
    engine = OnnxEngine(files, CPU)
    engine.segment(golden_frame(demo_bundle), [Prompt("xyzzy")])
    assert runs == []


def test_another_question_about_the_same_frame_costs_no_look_at_it(
    files: ModelFiles, demo_bundle: Path, runs: list[str]
) -> None:
    engine, golden = OnnxEngine(files, CPU), golden_frame(demo_bundle)
    for frame in (golden, golden, samples.frame(golden.image), golden):
        engine.segment(frame, [Prompt("ship", 1.0)])
    assert runs == ["vision", "decoder", "decoder", "vision", "decoder", "vision", "decoder"]


def test_an_unknown_phrase_says_which_are_known(files: ModelFiles, demo_bundle: Path) -> None:
    found = OnnxEngine(files, CPU).segment(golden_frame(demo_bundle), [Prompt("xyzzy")])
    assert "scratch" in found.unsupported_prompts["xyzzy"]


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


def test_an_observer_is_told_what_the_graphs_gave(files: ModelFiles, demo_bundle: Path) -> None:
    told: dict[str, Mapping[str, npt.NDArray[Any]]] = {}
    frame, prompts = golden_frame(demo_bundle), [Prompt("metal tag"), Prompt("ship")]
    observed = OnnxEngine(files, CPU, observe=told.__setitem__).segment(frame, prompts)
    assert set(told["vision"]) >= {"fine", "medium", "coarse", "geometry"}
    assert set(told["decoder"]) >= {"logits", "presence", "scores", "boxes"}
    assert max(i.score for i in observed.instances) == pytest.approx(float(told["decoder"]["scores"].max()))
    plain = OnnxEngine(files, CPU).segment(frame, prompts)
    assert [i.score for i in plain.instances] == [i.score for i in observed.instances]


def test_the_engine_says_how_sure_it_is_of_every_prompt(files: ModelFiles, demo_bundle: Path) -> None:
    prompts = [Prompt(p) for p in read_manifest(demo_bundle).vocabulary]
    found = OnnxEngine(files, CPU).segment(golden_frame(demo_bundle), [*prompts, Prompt("unicorn")])
    assert list(found.confidence) == prompts
    for prompt, confidence in found.confidence.items():
        admitted = [i.score for i in found.instances if i.prompt == prompt]
        assert confidence.best == pytest.approx(max([*admitted, confidence.missed]))
        assert confidence.missed <= prompt.threshold
        assert (confidence.presence > 0.5) == bool(
            admitted
        )  # on its golden image this model does not contradict itself


@pytest.mark.parametrize(("providers", "loads"), [(("CPUExecutionProvider",), 0), (("CUDAExecutionProvider",), 1)])
def test_pips_cuda_libraries_are_loaded_where_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, providers: tuple[str, ...], loads: int
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: calls.append(1), raising=False)
    load_accelerator_libraries(providers)
    assert len(calls) == loads
    monkeypatch.delattr(ort, "preload_dlls")  # builds before 1.21
    load_accelerator_libraries(providers)
