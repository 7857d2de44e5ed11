"""The flow: what it does with frames, with bad frames, with a full outbox, and when it is stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence

import pytest

from sam3edge.core.errors import EngineError, FrameError, MessageTooLarge, OutboxFull
from sam3edge.core.flow import DetectionOptions, Flow
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.topics import Topics
from sam3edge.core.ports import EndOfSource, SourceTraits
from sam3edge.core.types import Frame, Message, Prompt
from sam3edge.engines.fake import FakeEngine
from support.samples import frame, red_square


class Script:
    """A source that hands out what it was given, then ends; it remembers what became of each."""

    def __init__(self, *items: Frame | FrameError | None, waits: bool = False) -> None:
        self.items = list(items)
        self.traits = SourceTraits(waits)
        self.settled: list[str] = []
        self.rejected: list[FrameError] = []

    def next(self, timeout: float) -> Frame | None:
        if not self.items:
            raise EndOfSource
        item = self.items.pop(0)
        if isinstance(item, FrameError):
            raise item
        return item

    def done(self, frame: Frame) -> None:
        self.settled.append(frame.name)

    def reject(self, error: FrameError) -> None:
        self.rejected.append(error)

    def close(self) -> None: ...


class Memory:
    """An outbox that is full for the first ``full`` attempts."""

    def __init__(self, full: int = 0, on_full: Callable[[], None] = lambda: None) -> None:
        self.full = full
        self.on_full = on_full
        self.messages: list[Message] = []

    def put(self, messages: Sequence[Message]) -> None:
        if self.full:
            self.full -= 1
            raise OutboxFull("full")
        self.messages += messages

    def wait_for_room(self, timeout: float) -> bool:
        self.on_full()
        return True


class Watcher:
    def __init__(self) -> None:
        self.events: list[str] = []

    def detected(self, result: FrameResult, messages: int) -> None:
        self.events.append(f"detected {result.frame.name} {len(result.detections)} {messages}")

    def rejected(self, error: FrameError) -> None:
        self.events.append(f"rejected {error.name}")

    def unchanged(self, frame: Frame) -> None:
        self.events.append(f"unchanged {frame.name}")


class Shut:
    def admit(self, frame: Frame) -> bool:
        return False


def flow(source: Script, outbox: Memory, **changes: object) -> Flow:
    parts = {
        "device": "line-7",
        "source": source,
        "gate": OpenGate(),
        "engine": lambda: FakeEngine(),
        "options": lambda: DetectionOptions((Prompt("red"),)),
        "outbox": outbox,
        "topics": Topics("p"),
        "observer": Watcher(),
    }
    return Flow(**{**parts, **changes})  # type: ignore[arg-type]


def test_a_frame_becomes_polygons_and_leaves() -> None:
    source, outbox = Script(frame(red_square(), "a.png"), None, frame(red_square(10), "b.png")), Memory()
    flow(source, outbox).run(threading.Event())
    assert source.settled == ["a.png", "b.png"]
    first = json.loads(outbox.messages[0].payload)
    assert outbox.messages[0].topic == "p/detections"
    [feature] = first["features"]
    assert feature["properties"]["imageBBox"] == pytest.approx([100, 80, 160, 140], abs=1)
    assert feature["properties"]["area"] == pytest.approx(3600, rel=0.02)


def test_a_frame_is_done_only_after_its_message_is_durable() -> None:
    source = Script(frame(red_square()))

    class Checking(Memory):
        def put(self, messages: Sequence[Message]) -> None:
            assert source.settled == []
            super().put(messages)

    outbox = Checking()
    flow(source, outbox).run(threading.Event())
    assert source.settled == ["a.png"]
    assert len(outbox.messages) == 1


def test_a_bad_frame_is_reported_put_away_and_the_next_one_answered() -> None:
    bad = FrameError("expected an image, got text", frame_id="1", name="bad.jpg")
    source, outbox, watcher = Script(bad, frame(red_square(), "good.png")), Memory(), Watcher()
    flow(source, outbox, observer=watcher).run(threading.Event())
    assert source.rejected == [bad]
    assert [m.topic for m in outbox.messages] == ["p/errors", "p/detections"]
    assert watcher.events == ["rejected bad.jpg", "detected good.png 1 1"]


def test_a_frame_that_the_engine_refuses_is_put_away_too() -> None:
    error = FrameError("too small", frame_id="f" * 32, name="a.png")
    source, outbox = Script(frame()), Memory()
    flow(source, outbox, engine=lambda: FakeEngine(fail=error)).run(threading.Event())
    assert source.rejected == [error]


def test_a_full_outbox_holds_the_source_back_and_loses_nothing() -> None:
    source, outbox = Script(frame(red_square(), "a.png"), frame(red_square(), "b.png")), Memory(full=3)
    flow(source, outbox).run(threading.Event())
    assert source.settled == ["a.png", "b.png"]
    assert len(outbox.messages) == 2


def test_stopped_while_the_outbox_is_full_the_frame_is_not_done_and_will_come_again() -> None:
    stop = threading.Event()
    source, outbox = Script(frame(red_square())), Memory(full=1000, on_full=stop.set)
    flow(source, outbox).run(stop)
    assert source.settled == []
    assert outbox.messages == []


def test_stopping_finishes_the_frame_in_hand_and_takes_no_other() -> None:
    stop = threading.Event()

    class Stopping(FakeEngine):
        def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
            stop.set()
            return super().segment(frame, prompts)

    source, outbox = Script(frame(red_square(), "a.png"), frame(red_square(), "b.png")), Memory()
    flow(source, outbox, engine=lambda: Stopping()).run(stop)
    assert source.settled == ["a.png"]
    assert len(source.items) == 1


def test_an_engine_that_cannot_run_ends_the_flow_and_the_frame_is_not_done() -> None:
    source, outbox = Script(frame()), Memory()
    with pytest.raises(EngineError):
        flow(source, outbox, engine=lambda: FakeEngine(fail=EngineError("no memory"))).run(threading.Event())
    assert source.settled == []


def test_a_frame_that_the_gate_holds_back_is_done_without_a_message() -> None:
    source, outbox, watcher = Script(frame()), Memory(), Watcher()
    flow(source, outbox, gate=Shut(), observer=watcher).run(threading.Event())
    assert source.settled == ["a.png"]
    assert outbox.messages == []
    assert watcher.events == ["unchanged a.png"]


def test_engine_and_options_may_change_between_two_frames() -> None:
    engines = [FakeEngine(version="1.0.0"), FakeEngine(version="2.0.0")]
    asked = [DetectionOptions((Prompt("red"),)), DetectionOptions((Prompt("blue"),))]
    source, outbox = Script(frame(red_square(), "a"), frame(red_square(), "b")), Memory()
    flow(source, outbox, engine=lambda: engines.pop(0), options=lambda: asked.pop(0)).run(threading.Event())
    first, second = (json.loads(m.payload) for m in outbox.messages)
    assert (first["model"]["version"], len(first["features"])) == ("1.0.0", 1)
    assert (second["model"]["version"], len(second["features"])) == ("2.0.0", 0)


def test_a_prompt_that_the_model_cannot_answer_is_named_and_the_others_are_answered() -> None:
    source, outbox = Script(frame(red_square())), Memory()
    options = DetectionOptions((Prompt("red"), Prompt("unicorn")))
    flow(source, outbox, options=lambda: options).run(threading.Event())
    body = json.loads(outbox.messages[0].payload)
    assert "unicorn" in body["unsupported_prompts"]
    assert len(body["features"]) == 1


def test_repeats_are_suppressed_only_when_asked() -> None:
    class Twice(FakeEngine):
        def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
            once = super().segment(frame, prompts)
            return type(once)(once.instances * 2, once.timing)

    for nms_iou, found in ((None, 2), (0.5, 1)):
        outbox = Memory()
        options = DetectionOptions((Prompt("red"),), nms_iou=nms_iou)
        flow(Script(frame(red_square())), outbox, engine=lambda: Twice(), options=lambda o=options: o).run(
            threading.Event()
        )
        assert len(json.loads(outbox.messages[0].payload)["features"]) == found


def test_a_frame_whose_answer_no_outbox_of_this_size_can_hold_is_put_away() -> None:
    class Tiny(Memory):
        def put(self, messages: Sequence[Message]) -> None:
            if messages[0].topic == "p/detections":
                raise MessageTooLarge("500 bytes, the outbox holds 100")
            super().put(messages)

    source, outbox = Script(frame()), Tiny()
    flow(source, outbox).run(threading.Event())
    assert [e.name for e in source.rejected] == ["a.png"]
    assert [m.topic for m in outbox.messages] == ["p/errors"]
