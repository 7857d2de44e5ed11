"""Prompts with exemplars on the ONNX engine, and what becomes of them where they cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3edge.core.types import VISUAL, Exemplar, Frame, Instance, Prompt
from sam3edge.engines.exemplars import boxes_of, outside
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.engines.runtime import Graphs
from support import samples
from support.small_sam3 import LENGTH, QUERIES, model_files, small_bundle

pytestmark = pytest.mark.timeout(600)  # the first to come exports everything

CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)
LEFT, RIGHT = Exemplar((20.0, 30.0, 120.0, 200.0)), Exemplar((200.0, 30.0, 300.0, 200.0), positive=False)


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory)


@pytest.fixture
def frame() -> Frame:
    return samples.frame(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8))


def scores(instances: tuple[Instance, ...]) -> list[float]:
    return [i.score for i in instances]


def test_boxes_are_shares_of_the_frame_and_padded() -> None:
    frame = samples.frame(np.zeros((100, 200, 3), np.uint8))
    one = Prompt("a", exemplars=(Exemplar((20, 10, 60, 50)), Exemplar((150, -5, 250, 105), positive=False)))
    boxes, labels = boxes_of([one, Prompt("b")], frame)
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes[0], [[0.2, 0.3, 0.2, 0.4], [0.875, 0.5, 0.25, 1.0]])
    assert labels.tolist() == [[1, 0], [-10, -10]]


def test_boxes_that_cover_nothing_of_the_frame_are_found() -> None:
    frame = samples.frame(np.zeros((100, 200, 3), np.uint8))
    good, beyond, empty, turned = (
        Exemplar(box) for box in ((0, 0, 1, 1), (200, 0, 210, 5), (5, 5, 5, 9), (9, 9, 5, 20))
    )
    assert outside([good, beyond, empty, turned], frame) == [beyond, empty, turned]


@pytest.mark.long
def test_exemplars_change_the_answer_and_leave_other_prompts_alone(bundle: Path, frame: Frame) -> None:
    engine = OnnxEngine(model_files(bundle), CPU)
    plain, shown = Prompt("some", 0.0), Prompt("some", 0.0, label="shown", exemplars=(LEFT, RIGHT))
    alone = engine.segment(frame, [plain])
    both = engine.segment(frame, [plain, shown])
    assert not both.unsupported_prompts
    by_text, by_box = both.instances[:QUERIES], both.instances[QUERIES:]
    assert [i.prompt for i in by_text] == [plain] * QUERIES
    assert [i.prompt for i in by_box] == [shown] * QUERIES
    assert scores(by_text) == pytest.approx(scores(alone.instances), abs=1e-5)
    np.testing.assert_allclose(by_text[0].mask, alone.instances[0].mask, atol=1e-4)
    assert np.abs(np.subtract(scores(by_box), scores(by_text))).max() > 1e-4
    flipped = Prompt("some", 0.0, exemplars=(Exemplar(LEFT.box, positive=False), Exemplar(RIGHT.box)))
    assert scores(engine.segment(frame, [flipped]).instances) != pytest.approx(scores(by_box), abs=1e-5)


def test_exemplars_are_enough(bundle: Path, frame: Frame) -> None:
    found = OnnxEngine(model_files(bundle), CPU).segment(frame, [Prompt(VISUAL, 0.0, exemplars=(LEFT,))])
    assert len(found.instances) == QUERIES
    assert set(found.timing) == {"vision", "exemplars", "decoder", "masks"}


def test_all_prompts_go_through_one_run_of_each_graph_and_text_prompts_through_no_exemplar_graph(
    bundle: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    original = Graphs.run

    def run(self: Graphs, graph: str, inputs: Any, *args: Any) -> Any:
        runs.append(graph)
        if graph == "decoder":
            text = inputs["text"]
            runs.append(str(list(text.shape if isinstance(text, np.ndarray) else text.shape())[:2]))
        return original(self, graph, inputs, *args)

    monkeypatch.setattr(Graphs, "run", run)
    engine = OnnxEngine(model_files(bundle), CPU)
    engine.segment(frame, [Prompt("some", 0.0), Prompt("other", 0.0, exemplars=(LEFT, RIGHT))])
    assert runs == ["vision", "exemplars", "decoder", f"[2, {LENGTH + 2}]", "masks"]
    runs.clear()
    engine.segment(frame, [Prompt("some", 1.0)])
    assert runs == ["decoder", f"[1, {LENGTH}]"]


def test_an_exemplar_beside_the_frame_is_refused_with_the_reason(bundle: Path, frame: Frame) -> None:
    beside = Prompt("other", 0.0, exemplars=(LEFT, Exemplar((400.0, 0.0, 500.0, 50.0))))
    found = OnnxEngine(model_files(bundle), CPU).segment(frame, [Prompt("some", 0.0), beside])
    assert "(400.0, 0.0, 500.0, 50.0) covers nothing of the frame of 320 x 240" in found.unsupported_prompts["other"]
    assert {i.prompt.text for i in found.instances} == {"some"}


def test_a_bundle_without_the_graph_says_so_and_answers_the_others(bundle: Path, frame: Frame, tmp_path: Path) -> None:
    bare = shutil.copytree(bundle, tmp_path / "bare", ignore=shutil.ignore_patterns("exemplars.onnx"))
    found = OnnxEngine(model_files(bare), CPU).segment(
        frame, [Prompt("some", 0.0), Prompt("other", 0.0, exemplars=(LEFT,))]
    )
    assert "no exemplars.onnx" in found.unsupported_prompts["other"]
    assert {i.prompt.text for i in found.instances} == {"some"}


def test_the_same_text_with_and_without_a_usable_exemplar(bundle: Path, frame: Frame, tmp_path: Path) -> None:
    """The refusal is of one prompt, not of its text."""
    bare = shutil.copytree(bundle, tmp_path / "bare", ignore=shutil.ignore_patterns("exemplars.onnx"))
    plain, shown = Prompt("some", 0.0), Prompt("some", 0.0, exemplars=(LEFT,))
    found = OnnxEngine(model_files(bare), CPU).segment(frame, [shown, plain])
    assert [i.prompt for i in found.instances] == [plain] * QUERIES
    assert list(found.unsupported_prompts) == ["some"]
