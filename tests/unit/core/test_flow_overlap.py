"""While the engine has a frame, the flow decodes the next and stores the one before; what is durable when stays so.

Every order is held by events, not by time: an engine that finishes only when it is told to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import EngineError, FrameError
from sam3edge.core.flow import Flow
from sam3edge.core.types import EngineOutput, Frame, Message, Prompt
from sam3edge.engines.fake import FakeEngine
from support.samples import frame, red_square
from support.waiting import until
from unit.core.test_flow import Memory, Script, flow

SECONDS = 20


class Held(FakeEngine):
    """Begins with a frame at once, and finishes with it when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.let = threading.Semaphore(0)

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        self.begun.append(frame.name)
        assert self.let.acquire(timeout=SECONDS)
        return super().segment(frame, prompts)


@contextmanager
def running(made: Flow, stop: threading.Event | None = None) -> Iterator[None]:
    """A flow in a thread of its own, which must end."""
    thread = threading.Thread(target=made.run, args=(stop or threading.Event(),))
    thread.start()
    yield
    thread.join(SECONDS)
    assert not thread.is_alive()


def three(waits: bool) -> Script:
    return Script(*(frame(red_square(), name) for name in "abc"), waits=waits)


def test_the_next_file_is_decoded_while_the_engine_has_a_frame() -> None:
    engine, source, outbox = Held(), three(waits=True), Memory()
    with running(flow(source, outbox, engine=lambda: engine)):
        until(lambda: len(source.items) == 1)  # b was taken although a is not finished
        assert engine.begun == ["a"]
        assert (outbox.messages, source.settled) == ([], [])
        engine.let.release(3)
    assert source.settled == ["a", "b", "c"]
    assert len(outbox.messages) == 3


def test_what_was_found_is_stored_while_the_engine_has_the_next_frame() -> None:
    engine, source, outbox = Held(), three(waits=True), Memory()
    with running(flow(source, outbox, engine=lambda: engine)):
        engine.let.release()
        until(lambda: source.settled == ["a"] and engine.begun == ["a", "b"])
        assert len(outbox.messages) == 1
        engine.let.release(2)


def test_a_camera_is_asked_for_its_next_frame_when_the_engine_is_free() -> None:
    engine, source = Held(), three(waits=False)
    with running(flow(source, Memory(), engine=lambda: engine)):
        until(lambda: engine.begun == ["a"])
        assert len(source.items) == 2
        engine.let.release()
        until(lambda: engine.begun == ["a", "b"])
        assert len(source.items) == 1
        engine.let.release(2)
    assert source.settled == ["a", "b", "c"]


def test_a_frame_that_nothing_follows_is_stored_at_once() -> None:
    class Quiet(Script):
        """Has nothing more, and does not end."""

        def next(self, timeout: float) -> Frame | None:
            if self.items:
                return super().next(timeout)
            stop.wait(timeout)
            return None

    stop, source, outbox = threading.Event(), Quiet(frame(red_square(), "a"), waits=True), Memory()
    with running(flow(source, outbox), stop):
        until(lambda: source.settled == ["a"])
        stop.set()


def test_of_two_frames_the_one_that_the_engine_has_not_begun_comes_again_after_a_stop() -> None:
    engine, source, stop = Held(), three(waits=True), threading.Event()
    with running(flow(source, Memory(), engine=lambda: engine), stop):
        until(lambda: len(source.items) == 1 and engine.begun == ["a"])
        stop.set()
        engine.let.release(2)
    assert source.settled in (["a"], ["a", "b"])  # b may have been begun before the flow saw that it should stop
    assert len(source.items) == 1


def test_an_engine_that_fails_with_the_second_frame_leaves_the_first_stored_and_both_others_undone() -> None:
    class Failing(FakeEngine):
        def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
            if frame.name == "b":
                raise EngineError("no memory")
            return super().segment(frame, prompts)

    source, outbox = three(waits=True), Memory()
    with pytest.raises(EngineError, match="no memory"):
        flow(source, outbox, engine=lambda: Failing()).run(threading.Event())
    assert source.settled == ["a"]
    assert len(outbox.messages) == 1


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    flow(three(waits=True), Memory()).run(threading.Event())
    with pytest.raises(EngineError):
        flow(three(waits=True), Memory(), engine=lambda: FakeEngine(fail=EngineError("x"))).run(threading.Event())
    until(lambda: threading.active_count() == before)


class Picky(FakeEngine):
    """Refuses frames that are called so."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        if frame.name.startswith("refused"):
            raise FrameError("refused", frame_id=frame.id, name=frame.name)
        return super().segment(frame, prompts)


Item = Callable[[int], Frame | FrameError | None]
ITEMS: list[Item] = [
    lambda i: frame(red_square(), f"good {i}"),
    lambda i: frame(red_square(), f"refused {i}"),
    lambda i: FrameError("bad", frame_id=str(i), name=f"bad {i}"),
    lambda i: None,
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 4), st.booleans())
def test_whatever_comes_every_frame_is_stored_once_before_it_is_done_and_in_order(
    kinds: list[int], full: int, waits: bool
) -> None:
    items = [ITEMS[kind](i) for i, kind in enumerate(kinds)]
    source = Script(*items, waits=waits)

    class Checking(Memory):
        def put(self, messages: Sequence[Message]) -> None:
            super().put(messages)
            stored.append(len(self.messages))

    stored: list[int] = []
    outbox = Checking(full)
    flow(source, outbox, engine=lambda: Picky()).run(threading.Event())
    good = [item.name for item in items if isinstance(item, Frame) and item.name.startswith("good")]
    bad = {item.name for item in items if item is not None and item.name not in good}
    assert source.settled == good
    assert {error.name for error in source.rejected} == bad
    assert len(source.rejected) == len(bad)
    assert [m.topic for m in outbox.messages].count("p/detections") == len(good)
    assert [m.topic for m in outbox.messages].count("p/errors") == len(bad)
