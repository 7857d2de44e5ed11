"""What every outliner keeps to, the fake included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import PromptError
from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.core.types import Frame, PointPrompt, VisualPrompt
from sam3edge.engines.fake import FakeInteractiveSegmenter
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from support.samples import frame, red_square
from support.small_sam3 import model_files, small_bundle

pytestmark = pytest.mark.timeout(600)  # the first to come exports everything

ON, BESIDE = PointPrompt(130.0, 110.0), PointPrompt(20.0, 20.0, positive=False)
BOX = (95.0, 75.0, 165.0, 145.0)
PROMPTS = [
    VisualPrompt((ON,)),
    VisualPrompt((ON, BESIDE)),
    VisualPrompt(box=BOX),
    VisualPrompt((ON,), BOX),
    VisualPrompt((ON,), multimask_output=True),
]


@pytest.fixture(params=["fake", "onnx"])
def interactive_segmenter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InteractiveSegmenter]:
    if request.param == "fake":
        yield FakeInteractiveSegmenter()
    else:
        options = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)
        engine = OnnxEngine(model_files(small_bundle(tmp_path_factory)), options)
        yield engine.interactive_segmenter()
        engine.close()


@pytest.fixture
def picture() -> Frame:
    return frame(red_square())


def test_each_object_has_an_answer_in_order(interactive_segmenter: InteractiveSegmenter, picture: Frame) -> None:
    outlines = interactive_segmenter.predict(picture, PROMPTS)
    assert len(outlines) == len(PROMPTS)
    for prompt, outline in zip(PROMPTS, outlines, strict=True):
        assert outline.masks.dtype == np.float32
        assert outline.masks.ndim == 3
        assert len(outline.masks) == len(outline.iou_predictions) == (3 if prompt.multimask_output else 1)
        assert ((outline.iou_predictions >= 0) & (outline.iou_predictions <= 1)).all()
        assert 0 <= outline.presence <= 1
        np.testing.assert_array_equal(outline.best, outline.masks[int(np.argmax(outline.iou_predictions))])


def test_an_object_is_answered_as_if_it_were_asked_alone(
    interactive_segmenter: InteractiveSegmenter, picture: Frame
) -> None:
    for prompt, among in zip(PROMPTS, interactive_segmenter.predict(picture, PROMPTS), strict=True):
        [alone] = interactive_segmenter.predict(picture, [prompt])
        np.testing.assert_allclose(among.masks, alone.masks, atol=1e-3)
        np.testing.assert_allclose(among.iou_predictions, alone.iou_predictions, atol=1e-4)


def test_nothing_asked_is_nothing_answered(interactive_segmenter: InteractiveSegmenter, picture: Frame) -> None:
    assert len(interactive_segmenter.predict(picture, [])) == 0


def test_an_answer_can_be_refined(interactive_segmenter: InteractiveSegmenter, picture: Frame) -> None:
    [first] = interactive_segmenter.predict(picture, [VisualPrompt((ON,))])
    [second] = interactive_segmenter.predict(picture, [VisualPrompt((ON, BESIDE), mask_input=first.best)])
    assert second.best.shape == first.best.shape
    [by_mask_alone] = interactive_segmenter.predict(picture, [VisualPrompt(mask_input=first.best)])
    assert by_mask_alone.best.shape == first.best.shape


@pytest.mark.parametrize(
    "wrong",
    [
        VisualPrompt(),
        VisualPrompt((PointPrompt(321.0, 10.0),)),
        VisualPrompt((PointPrompt(10.0, -1.0),)),
        VisualPrompt(box=(330.0, 10.0, 340.0, 20.0)),
    ],
)
def test_what_is_not_in_the_frame_is_refused(
    interactive_segmenter: InteractiveSegmenter, picture: Frame, wrong: VisualPrompt
) -> None:
    with pytest.raises(PromptError):
        interactive_segmenter.predict(picture, [VisualPrompt((ON,)), wrong])
    assert len(interactive_segmenter.predict(picture, [VisualPrompt((ON,))])) == 1


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (2000, 8)])
def test_frames_of_any_size(interactive_segmenter: InteractiveSegmenter, size: tuple[int, int]) -> None:
    picture = frame(np.asarray(cv2.resize(red_square(), size), np.uint8))
    [outline] = interactive_segmenter.predict(picture, [VisualPrompt((PointPrompt(size[0] / 2, size[1] / 2),))])
    assert np.isfinite(outline.masks).all()


def test_the_far_border_belongs_to_the_frame(interactive_segmenter: InteractiveSegmenter, picture: Frame) -> None:
    [outline] = interactive_segmenter.predict(picture, [replace(PROMPTS[0], points=(PointPrompt(320.0, 240.0),))])
    assert np.isfinite(outline.masks).all()
