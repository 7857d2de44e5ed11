"""What every engine keeps to, the fake included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.bundle.golden import golden_frame
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.polygons import to_detection
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from support.samples import frame, red_square


@dataclass
class Case:
    """An engine, a frame in which it finds ``present``, and phrases it knows of which ``absent`` is not there."""

    engine: Engine
    frame: Frame
    present: str
    absent: str
    unknown: str = "xyzzy"
    extra: dict[str, object] = field(default_factory=dict)


def onnx_engine(bundle: Path) -> OnnxEngine:
    options = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)
    return OnnxEngine(model_files(bundle, read_manifest(bundle)), options)


@pytest.fixture(params=["fake", "onnx"])
def case(request: pytest.FixtureRequest, closed_bundle: Path) -> Iterator[Case]:
    if request.param == "fake":
        one = Case(FakeEngine(), frame(red_square()), "red", "blue")
    else:
        one = Case(onnx_engine(closed_bundle), golden_frame(closed_bundle), "metal tag", "ship")
    yield one
    one.engine.close()
    one.engine.close()


def resized(image: npt.NDArray[np.uint8], width: int, height: int) -> Frame:
    return frame(np.asarray(cv2.resize(image, (width, height)), np.uint8))


def test_it_says_which_model_it_is(case: Case) -> None:
    model = case.engine.model
    assert model.digest.startswith("sha256:")
    assert model.name
    assert model.version
    assert model.provider


def test_it_finds_what_is_there_and_not_what_is_not(case: Case) -> None:
    found = case.engine.segment(case.frame, [Prompt(case.present), Prompt(case.absent)])
    assert {i.prompt.text for i in found.instances} == {case.present}
    assert not found.unsupported_prompts


def test_masks_cover_the_frame_and_agree_with_boxes(case: Case) -> None:
    for instance in case.engine.segment(case.frame, [Prompt(case.present)]).instances:
        assert instance.mask.dtype == np.float32
        assert instance.mask.ndim == 2
        assert 0 <= instance.score <= 1
        x0, y0, x1, y1 = instance.box
        assert 0 <= x0 < x1 <= case.frame.width
        assert 0 <= y0 < y1 <= case.frame.height
        detection = to_detection(instance, case.frame.width, case.frame.height, 0.5)
        assert detection is not None
        inner = (min(x1, detection.box[2]) - max(x0, detection.box[0])) * (
            min(y1, detection.box[3]) - max(y0, detection.box[1])
        )
        assert inner / ((x1 - x0) * (y1 - y0)) > 0.7


def test_each_prompt_has_its_own_threshold(case: Case) -> None:
    strict, lax = Prompt(case.present, 1.0, label="strict"), Prompt(case.present, 0.1, label="lax")
    found = case.engine.segment(case.frame, [strict, lax])
    assert {i.prompt.label for i in found.instances} == {"lax"}


def test_instances_come_by_prompt_in_order_then_by_falling_score(case: Case) -> None:
    prompts = [Prompt(case.absent, 0.0), Prompt(case.present, 0.0)]
    found = case.engine.segment(case.frame, prompts).instances
    order = [prompts.index(i.prompt) for i in found]
    assert order == sorted(order)
    for prompt in prompts:
        scores = [i.score for i in found if i.prompt == prompt]
        assert scores == sorted(scores, reverse=True)


def test_an_unknown_phrase_is_named_with_a_reason_and_the_others_are_answered(case: Case) -> None:
    found = case.engine.segment(case.frame, [Prompt(case.unknown), Prompt(case.present)])
    assert list(found.unsupported_prompts) == [case.unknown]
    assert len(found.unsupported_prompts[case.unknown]) > 10
    assert found.instances


def test_only_unknown_phrases_give_an_empty_answer(case: Case) -> None:
    found = case.engine.segment(case.frame, [Prompt(case.unknown)])
    assert found.instances == ()
    assert list(found.unsupported_prompts) == [case.unknown]


def test_the_same_frame_gives_the_same_answer(case: Case) -> None:
    first, again = (case.engine.segment(case.frame, [Prompt(case.present)]).instances for _ in range(2))
    assert [(i.score, i.box) for i in first] == [(i.score, i.box) for i in again]


def test_a_prompt_is_answered_alike_whatever_else_is_asked(case: Case) -> None:
    alone = case.engine.segment(case.frame, [Prompt(case.present)]).instances
    among = case.engine.segment(case.frame, [Prompt(case.absent), Prompt(case.present)]).instances
    assert [i.score for i in among] == pytest.approx([i.score for i in alone], abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (2000, 8), (1600, 1200)])
def test_frames_of_any_size_are_answered(case: Case, size: tuple[int, int]) -> None:
    picture = resized(case.frame.image, *size)
    for instance in case.engine.segment(picture, [Prompt(case.present, 0.0)]).instances:
        to_detection(instance, picture.width, picture.height, 0.5)


def test_stages_are_timed(case: Case) -> None:
    timing = case.engine.segment(case.frame, [Prompt(case.present)]).timing
    assert {"vision", "decoder", "masks"} <= set(timing)
    assert all(ms >= 0 for ms in timing.values())
