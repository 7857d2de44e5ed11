"""Requests that wait for the same model: together where that helps, and none at another's expense."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest

from sam3edge.core.errors import EngineError, FrameError, PromptError
from sam3edge.core.ports import Engine
from sam3edge.core.types import EngineOutput, Exemplar, Frame, PointPrompt, Prompt, VisualPrompt
from sam3edge_serving.endpoint.batching import UNHEALTHY_AFTER, Batcher
from support.engines import Pointing, Together, Watched
from support.samples import frame, red_square

RED, GREEN, BLUE = Prompt("red"), Prompt("green"), Prompt("blue")
SECONDS = 60


class Batches(list[tuple[int, int]]):
    """Remembers how many questions and images each batch had."""

    def batch(self, requests: int, images: int, seconds: float) -> None:
        assert seconds >= 0
        self.append((requests, images))


Start = Callable[..., Batcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts batchers, and waits until they are ready."""
    started: list[Batcher] = []

    def make(engine: Engine, most: int = 8, wait: float = 0.0, observer: Batches | None = None) -> Batcher:
        ready = threading.Event()

        def load() -> Engine:
            ready.set()
            return engine

        batcher = Batcher(load, most, wait, Batches() if observer is None else observer, lambda _: None)
        assert batcher.model is None
        assert "loaded" in batcher.not_ready_reason
        batcher.start()
        assert ready.wait(SECONDS)
        started.append(batcher)
        return batcher

    yield make
    for batcher in started:
        batcher.close(SECONDS)


def shifted(x: int) -> Frame:
    return frame(red_square(x))


def hold(batcher: Batcher, engine: Watched) -> Future[EngineOutput]:
    """Keep the model busy, so that what is asked now gathers."""
    engine.may_go_on.clear()
    first = batcher.segment(shifted(200), (RED,))
    assert engine.has_begun.wait(SECONDS)
    return first


def test_questions_about_one_picture_share_a_look(start: Start) -> None:
    engine, batches = Watched(), Batches()
    batcher = start(engine, observer=batches)
    hold(batcher, engine)
    picture = shifted(10)
    answers = [batcher.segment(picture, prompts) for prompts in ((RED,), (GREEN, RED), (BLUE,), (RED,))]
    engine.may_go_on.set()
    found = [answer.result(SECONDS) for answer in answers]
    assert engine.asked[1:] == [(picture.digest, ("red", "green", "blue"))]
    assert [[i.prompt for i in one.instances] for one in found] == [[RED], [RED], [], [RED]]
    batcher.close(SECONDS)
    assert batches == [(1, 1), (4, 1)]


def test_each_question_hears_of_its_own_prompts_only(start: Start) -> None:
    engine = Watched()
    batcher = start(engine)
    hold(batcher, engine)
    picture, loose, strict = shifted(10), Prompt("red", 0.1), Prompt("red", 0.999999)
    asked = [(loose,), (strict,), (Prompt("zebra"), RED), (Prompt("okapi"),)]
    answers = [batcher.segment(picture, prompts) for prompts in asked]
    engine.may_go_on.set()
    found = [answer.result(SECONDS) for answer in answers]
    assert [len(one.instances) for one in found] == [1, 1, 1, 0]
    assert found[0].instances[0].prompt == loose
    assert [set(one.unsupported_prompts) for one in found] == [set(), set(), {"zebra"}, {"okapi"}]


def test_pictures_go_to_the_engine_together_where_it_takes_several(start: Start) -> None:
    engine = Together()
    batcher = start(engine, most=3)
    hold(batcher, engine)
    answers = [batcher.segment(shifted(x), (RED,)) for x in (10, 20, 30, 40)]
    engine.may_go_on.set()
    boxes = [answer.result(SECONDS).instances[0].box[0] for answer in answers]
    assert boxes == [10, 20, 30, 40]
    assert engine.runs == [3]  # the first and the last came alone


def test_the_first_waits_for_others_only_where_the_engine_gains(start: Start) -> None:
    engine = Together()
    batcher = start(engine, most=2, wait=30.0)  # a second picture ends the wait
    answers = [batcher.segment(shifted(x), (RED,)) for x in (10, 20)]
    assert [len(answer.result(SECONDS).instances) for answer in answers] == [1, 1]
    assert engine.runs == [2]
    alone = start(Watched(), most=2, wait=10 * SECONDS)
    assert alone.segment(shifted(10), (RED,)).result(SECONDS).instances


@pytest.mark.parametrize("kind", [Watched, Together])
@pytest.mark.parametrize("error", [EngineError("no memory left"), ValueError("a fault of ours"), MemoryError()])
def test_one_bad_question_never_harms_its_batch_mates(start: Start, kind: type[Watched], error: Exception) -> None:
    engine = kind(fails_at=["poison"], error=error)
    batcher = start(engine)
    hold(batcher, engine)
    same = shifted(10)
    good = [batcher.segment(same, (RED,)), batcher.segment(shifted(20), (RED,)), batcher.segment(same, (RED, GREEN))]
    bad = batcher.segment(same, (Prompt("poison"), RED))
    engine.may_go_on.set()
    assert [len(answer.result(SECONDS).instances) for answer in good] == [1, 1, 1]
    with pytest.raises(type(error)):
        bad.result(SECONDS)
    assert batcher.segment(same, (RED,)).result(SECONDS).instances


def test_exemplars_of_one_are_not_mixed_with_those_of_another(start: Start) -> None:
    engine = Watched()
    batcher = start(engine)
    hold(batcher, engine)
    picture = shifted(10)
    by_example = Prompt("visual", exemplars=(Exemplar((1, 1, 5, 5)),))
    answers = [batcher.segment(picture, (prompt,)) for prompt in (RED, by_example, by_example)]
    engine.may_go_on.set()
    for answer in answers:
        answer.result(SECONDS)
    assert [texts for _, texts in engine.asked[1:]] == [("red",), ("visual",), ("visual",)]


def test_what_was_cancelled_is_not_worked_on(start: Start) -> None:
    engine = Watched()
    batcher = start(engine)
    hold(batcher, engine)
    given_up, wanted = batcher.segment(shifted(10), (RED,)), batcher.segment(shifted(20), (RED,))
    assert batcher.waiting == 2
    assert given_up.cancel()
    engine.may_go_on.set()
    assert wanted.result(SECONDS).instances
    with pytest.raises(CancelledError):
        given_up.result(0)
    assert [digest for digest, _ in engine.asked[1:]] == [shifted(20).digest]


def test_closing_answers_what_was_asked_and_refuses_what_comes_after(start: Start) -> None:
    engine = Watched()
    batcher = start(engine)
    first = hold(batcher, engine)
    second = batcher.segment(shifted(10), (RED,))
    closing = threading.Thread(target=batcher.close, args=(SECONDS,))
    closing.start()
    engine.may_go_on.set()
    closing.join(SECONDS)
    assert first.result(0).instances
    assert second.result(0).instances
    assert engine.closed
    assert batcher.model is None
    with pytest.raises(EngineError, match="going away"):
        batcher.segment(shifted(10), (RED,)).result(SECONDS)
    batcher.close(SECONDS)


def test_a_model_that_fails_all_the_time_is_said_to_be_broken_until_it_works(start: Start) -> None:
    batcher = start(Watched(fails_at=["poison"]))
    for _ in range(UNHEALTHY_AFTER):
        assert not batcher.not_ready_reason
        with pytest.raises(EngineError):
            batcher.segment(shifted(10), (Prompt("poison"),)).result(SECONDS)
    batcher.segment(shifted(10), (RED,)).result(SECONDS)
    assert not batcher.not_ready_reason


def test_three_failures_in_a_row_are_trouble(start: Start) -> None:
    batcher = start(Watched(fails_at=["poison"]))
    for _ in range(UNHEALTHY_AFTER + 1):  # the last answer is given after the one before was noted
        with pytest.raises(EngineError):
            batcher.segment(shifted(10), (Prompt("poison"),)).result(SECONDS)
    assert "no memory left" in batcher.not_ready_reason


@pytest.mark.parametrize("error", [FrameError("black", frame_id="1", name="a"), PromptError("what?")])
def test_a_bad_question_is_no_failure_of_the_model(start: Start, error: Exception) -> None:
    batcher = start(Watched(fails_at=["poison"], error=error))
    for _ in range(UNHEALTHY_AFTER + 1):
        with pytest.raises(type(error)):
            batcher.segment(shifted(10), (Prompt("poison"),)).result(SECONDS)
    assert not batcher.not_ready_reason


def test_clicks_are_answered_by_engines_that_have_an_outliner(start: Start) -> None:
    clicks = (VisualPrompt((PointPrompt(130, 110),)),)
    [outline] = start(Pointing()).predict(shifted(100), clicks).result(SECONDS)
    assert np.count_nonzero(outline.best > 0) == 60 * 60
    with pytest.raises(PromptError, match="points"):
        start(Watched()).predict(shifted(100), clicks).result(SECONDS)


def test_a_click_outside_is_the_askers_fault(start: Start) -> None:
    batcher = start(Pointing())
    with pytest.raises(PromptError):
        batcher.predict(shifted(100), (VisualPrompt((PointPrompt(-5, 0),)),)).result(SECONDS)
    assert not batcher.not_ready_reason


def test_a_model_that_does_not_load_is_reported() -> None:
    told: list[Exception] = []
    heard = threading.Event()

    def load() -> Engine:
        raise EngineError("decoder.onnx does not load")

    def failed(error: Exception) -> None:
        told.append(error)
        heard.set()

    batcher = Batcher(load, 1, 0, Batches(), failed)
    batcher.start()
    assert heard.wait(SECONDS)
    assert "decoder.onnx" in str(told[0])
    assert "decoder.onnx" in batcher.not_ready_reason
    batcher.close(SECONDS)
