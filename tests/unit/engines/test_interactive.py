"""Clicks on the ONNX engine, beyond the contract of ``InteractiveSegmenter``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3edge.core.errors import EngineError, PromptError
from sam3edge.core.types import Frame, PointPrompt, Prompt, VisualPrompt
from sam3edge.engines.interactive import points_of
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import Graphs
from support import samples
from support.small_sam3 import SIDE, model_files, small_bundle

pytestmark = pytest.mark.timeout(600)  # the first to come exports everything

CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)
HERE = VisualPrompt((PointPrompt(60.0, 70.0),))


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory)


@pytest.fixture
def frame() -> Frame:
    return noise(0)


def noise(seed: int) -> Frame:
    return samples.frame(np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8))


def test_points_are_shares_of_the_frame_with_the_box_first_as_its_corners() -> None:
    points, labels = points_of([HERE], samples.frame(np.zeros((140, 120, 3), np.uint8)))
    np.testing.assert_allclose(points[0, 0], [0.5, 0.5])
    assert np.asarray(labels).tolist() == [[1]]
    frame = samples.frame(np.zeros((100, 200, 3), np.uint8))
    both = VisualPrompt((PointPrompt(50, 50), PointPrompt(200, 0, positive=False)), (20, 10, 60, 90))
    points, labels = points_of([both, VisualPrompt(mask_input=np.zeros((4, 4), np.float32))], frame)
    np.testing.assert_allclose(points[0], [[0.1, 0.1], [0.3, 0.9], [0.25, 0.5], [1.0, 0.0]])
    assert np.asarray(labels).tolist() == [[2, 3, 1, 0], [-10, -10, -10, -10]]


def test_the_answer_is_that_of_the_graphs(bundle: Path, frame: Frame) -> None:
    """What the engine binds and picks is what the files say when they are run by hand."""

    def run(name: str, **inputs: Any) -> dict[str, Any]:
        session = ort.InferenceSession(bundle / f"{name}.onnx", providers=["CPUExecutionProvider"])
        return dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))

    maps = run("interactive_vision", tokens=run("vision", image=frame.image[None])["tokens"])
    answer = run(
        "interactive",
        **maps,
        image_index=np.zeros(1, np.int64),
        points=np.array([[[60 / 320, 70 / 240]]], np.float32),
        labels=np.array([[1]]),
        before=np.zeros((1, 1, SIDE // 2, SIDE // 2), np.float32),
        has_before=np.array([False]),
    )
    several = VisualPrompt(HERE.points, multimask_output=True)
    one, three = OnnxEngine(model_files(bundle), CPU).interactive_segmenter().predict(frame, [HERE, several])
    bounded = np.clip(answer["masks"][0], -32, 32)
    np.testing.assert_allclose(three.masks, bounded[1:], atol=1e-4)
    np.testing.assert_allclose(three.iou_predictions, answer["quality"][0, 1:], atol=1e-5)
    np.testing.assert_allclose(one.masks[0], bounded[answer["single"][0]], atol=1e-4)
    assert one.presence == pytest.approx(1 / (1 + np.exp(-answer["presence"][0, 0])), abs=1e-5)


def test_many_clicks_and_prompts_cost_one_look_at_the_image(
    bundle: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    original = Graphs.run

    def run(self: Graphs, graph: str, *args: Any) -> Any:
        runs.append(graph)
        return original(self, graph, *args)

    monkeypatch.setattr(Graphs, "run", run)
    engine = OnnxEngine(model_files(bundle), CPU)
    interactive_segmenter = engine.interactive_segmenter()
    interactive_segmenter.predict(frame, [HERE])
    interactive_segmenter.predict(frame, [HERE, HERE])
    engine.segment(frame, [Prompt("some", 1.0)])
    assert runs == ["vision", "interactive_vision", "interactive", "interactive", "decoder"]
    runs.clear()
    engine.segment(noise(1), [Prompt("some", 1.0)])
    interactive_segmenter.predict(noise(1), [HERE])
    interactive_segmenter.predict(frame, [HERE])
    assert runs == ["vision", "decoder", "interactive_vision", "interactive", *runs[4:]]
    assert runs[4:] == ["vision", "interactive_vision", "interactive"]


def test_another_image_is_answered_for_itself(bundle: Path) -> None:
    interactive_segmenter = OnnxEngine(model_files(bundle), CPU).interactive_segmenter()
    (first,), (other,), (again,) = (interactive_segmenter.predict(noise(seed), [HERE]) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first.masks, again.masks)
    assert np.abs(first.masks - other.masks).max() > 1e-3


def test_a_bundle_without_the_graphs_says_so(bundle: Path, demo_bundle: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(bundle, tmp_path / "bare", ignore=shutil.ignore_patterns("interactive.onnx"))
    engine = OnnxEngine(model_files(bare), CPU)
    with pytest.raises(EngineError, match=r"small 1\.0\.0 answers no clicks.*tracker's weights"):
        engine.interactive_segmenter()


def test_a_mask_of_another_size_is_refused(bundle: Path, frame: Frame) -> None:
    odd = VisualPrompt(HERE.points, mask_input=np.zeros((7, 9), np.float32))
    with pytest.raises(PromptError, match=r"expected a mask of 32 x 32 to refine, got one of shape \(7, 9\)"):
        OnnxEngine(model_files(bundle), CPU).interactive_segmenter().predict(frame, [odd])


def test_a_graph_that_fails_says_on_what(bundle: Path, frame: Frame, tmp_path: Path) -> None:
    broken = shutil.copytree(bundle, tmp_path / "broken")
    shutil.copyfile(broken / "text.onnx", broken / "interactive.onnx")
    with pytest.raises(EngineError, match="CPUExecutionProvider failed on frame"):
        OnnxEngine(model_files(broken), CPU).interactive_segmenter().predict(frame, [HERE])
