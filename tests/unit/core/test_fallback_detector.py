"""Device and cloud together: who is asked, who is published, what is counted and what is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from sam3edge.core.errors import EndpointError, EngineError, FrameError, ModelMissing
from sam3edge.core.fallback.breaker import Breaker, BreakerOptions, Retry
from sam3edge.core.fallback.budget import Budget, Limits, Spent
from sam3edge.core.fallback.detector import FallbackDetector, HardExample, RequestLimits
from sam3edge.core.fallback.policy import FallbackOptions, Policy
from sam3edge.core.flow import DetectionOptions, Flow
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.topics import Topics
from sam3edge.core.ports import Engine
from sam3edge.core.types import Detections, Prompt, Reason
from sam3edge.engines.fake import FakeEngine
from sam3edge.invocations.fake import FakeEndpoint
from sam3edge.sources.fake import ListSource
from support.samples import frame, red_square

RED = DetectionOptions((Prompt("red"),))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Kept(list[HardExample]):
    def offer(self, example: HardExample) -> None:
        self.append(example)


class Colourblind(FakeEngine):
    """Takes everything that is not grey for red, and is not sure of it."""

    def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
        found = super().segment(frame, prompts)
        doubtful = tuple(type(i)(i.prompt, 0.5, i.box, i.mask) for i in found.instances)
        return type(found)(doubtful, found.timing, found.unsupported_prompts)


class Slow(FakeEngine):
    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
        self.clock.sleep(self.seconds)
        return super().segment(frame, prompts)


class Pair:
    """A device and a cloud."""

    def __init__(
        self,
        cloud: Engine | None = None,
        before: Callable[[int], None] = lambda number: None,
        reasons: frozenset[Reason] = frozenset(get_args(Reason)),
        limits: Limits = Limits(100, 100),  # noqa: B008
        accelerator: bool = False,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint(cloud or FakeEngine(version="9.9.9"), before)
        self.examples = Kept()
        self.backlog = 0
        self.spent = [Spent()]
        limits = RequestLimits(
            Budget(limits, Spent(), self.spent.append, self.clock),
            Breaker(BreakerOptions(failures=3, pause=30.0), self.clock),
            Retry(),
            10.0,
        )
        self.opinion = FallbackDetector(
            self.endpoint,
            Policy(FallbackOptions(reasons, **options), accelerator),
            limits,
            self.examples,
            lambda: self.backlog,
            clock=self.clock,
            sleep=self.clock.sleep,
            uniform=lambda low, high: high,
        )

    def ask(self, engine: Engine | Exception, options: DetectionOptions = RED) -> Detections:
        def give() -> Engine:
            if isinstance(engine, Exception):
                raise engine
            return engine

        return self.opinion.detect(frame(red_square()), options, give)()

    def counts(self) -> dict[str, int]:
        counts = self.opinion.status().counts
        return {name: value for name in counts.__slots__ if (value := getattr(counts, name))}


def fail(error: EndpointError, *numbers: int) -> Callable[[int], None]:
    """Requests with these numbers fail; all, when none is given."""

    def before(number: int) -> None:
        if not numbers or number in numbers:
            raise error

    return before


DOWN = EndpointError("down", retryable=True)
WRONG = EndpointError("this is not an answer")


def test_a_certain_answer_of_the_device_costs_nothing() -> None:
    pair = Pair()
    found = pair.ask(FakeEngine())
    assert (found.origin.by, found.origin.reason) == ("device", None)
    assert pair.counts() == {}


REASONS: dict[Reason, Callable[[Pair], Detections]] = {
    "unavailable": lambda pair: pair.ask(EngineError("no memory")),
    "degraded": lambda pair: pair.ask(Cpu()),
    "slow": lambda pair: [setattr(pair, "backlog", 11), pair.ask(FakeEngine())][1],  # type: ignore[func-returns-value]
    "unsupported": lambda pair: pair.ask(OnlyBlue()),
    "uncertain": lambda pair: pair.ask(Colourblind()),
}


class Cpu(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self._model = type(self._model)("colors", "1.0.0", "sha256:0", "fp32", "CPUExecutionProvider")


class OnlyBlue(FakeEngine):
    def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
        known = super().segment(frame, [p for p in prompts if p.text == "blue"])
        return type(known)(known.instances, known.timing, {p.text: "not blue" for p in prompts if p.text != "blue"})


@pytest.mark.parametrize("reason", REASONS)
def test_for_every_reason_the_cloud_answers_and_the_message_can_say_so(reason: Reason) -> None:
    pair = Pair(accelerator=True, max_backlog=10)
    found = REASONS[reason](pair)
    assert (found.origin.by, found.origin.reason) == ("cloud", reason)
    assert found.origin.detail
    assert found.model.version == "9.9.9"
    assert len(found.detections) == 1
    assert pair.counts()["answered"] == 1


@pytest.mark.parametrize("reason", REASONS)
def test_for_every_reason_an_endpoint_that_is_down_leaves_it_to_the_device(reason: Reason) -> None:
    pair = Pair(accelerator=True, max_backlog=10, before=fail(DOWN))
    if reason == "unavailable":
        with pytest.raises(EngineError, match="no memory"):
            REASONS[reason](pair)
    else:
        found = REASONS[reason](pair)
        assert (found.origin.by, found.origin.reason) == ("device", reason)
        assert "down" in found.origin.detail
        assert found.model.version == "1.0.0"
    assert pair.counts() == {"asked": 2, "failures": 2}  # once, and once again


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_that_is_not_wanted_changes_nothing(reason: Reason) -> None:
    pair = Pair(accelerator=True, max_backlog=10, reasons=frozenset(get_args(Reason)) - {reason})
    if reason == "unavailable":
        with pytest.raises(EngineError, match="no memory"):
            REASONS[reason](pair)
    else:
        assert REASONS[reason](pair).origin.by == "device"
    assert pair.counts() == {}


def test_one_retry_and_only_of_what_may_pass() -> None:
    passing = Pair(before=fail(DOWN, 1))
    assert passing.ask(Colourblind()).origin.by == "cloud"
    assert passing.counts() == {"asked": 2, "answered": 1, "failures": 1}
    final = Pair(before=fail(WRONG, 1))
    assert final.ask(Colourblind()).origin.by == "device"
    assert final.counts() == {"asked": 1, "failures": 1}


def test_an_endpoint_that_asks_to_be_left_alone_is_and_the_frames_do_not_wait() -> None:
    pair = Pair(before=fail(EndpointError("busy", retryable=True, retry_after=20), 1))
    started = pair.clock.now
    for _ in range(5):
        assert pair.ask(Colourblind()).origin.by == "device"
    assert pair.clock.now == started
    assert pair.counts() == {"asked": 1, "failures": 1, "refused_by_breaker": 4}
    pair.clock.now += 20
    assert pair.ask(Colourblind()).origin.by == "cloud"


def test_the_budget_is_never_exceeded_retries_included() -> None:
    pair = Pair(before=fail(DOWN, 1, 3), limits=Limits(4, 100))
    by = [pair.ask(Colourblind()).origin for _ in range(6)]
    assert [origin.by for origin in by] == ["cloud", "cloud", "device", "device", "device", "device"]
    assert "4 requests an hour" in by[-1].detail
    assert pair.endpoint.requests == 4
    assert pair.spent[-1].in_hour == 4
    assert pair.counts()["refused_by_budget"] == 4


def test_an_open_breaker_costs_no_time_and_closes_after_probes() -> None:
    def hangs(number: int) -> None:
        if number <= 3:
            pair.clock.sleep(10.0)
            raise EndpointError("no response within 10 s")

    pair = Pair(before=hangs)
    for _ in range(3):
        pair.ask(Colourblind())
    assert pair.opinion.status().breaker == "open"
    started = pair.clock.now
    assert all(pair.ask(Colourblind()).origin.by == "device" for _ in range(50))
    assert pair.clock.now == started
    pair.clock.now += 30
    assert pair.opinion.status().breaker == "half-open"
    assert [pair.ask(Colourblind()).origin.by for _ in range(2)] == ["cloud", "cloud"]
    assert pair.opinion.status().breaker == "closed"
    assert pair.opinion.status().last_failure == "no response within 10 s"


def test_a_slow_device_is_relieved_and_tried_again() -> None:
    pair = Pair(max_seconds=2.0, recheck_seconds=60.0)
    engine = Slow(pair.clock, 3.0)
    assert [pair.ask(engine).origin.by for _ in range(3)] == ["device", "cloud", "cloud"]
    pair.clock.now += 60
    engine.seconds = 0.1
    assert [pair.ask(engine).origin.by for _ in range(3)] == ["device"] * 3


def test_a_phrase_that_nobody_knows_is_asked_once_an_hour() -> None:
    pair = Pair(cloud=OnlyBlue())
    found = [pair.ask(OnlyBlue()) for _ in range(3)]
    assert pair.endpoint.requests == 1
    assert all("red" in answer.unsupported_prompts for answer in found)
    pair.clock.now += 3601
    pair.ask(OnlyBlue())
    assert pair.endpoint.requests == 2


def test_what_only_one_of_them_saw_is_a_hard_example() -> None:
    class Blind(FakeEngine):
        def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
            return type(super().segment(frame, prompts))((), {})

    agree, differ = Pair(), Pair(cloud=Blind())
    agree.ask(Colourblind())
    differ.ask(Colourblind())
    assert agree.examples == []
    [example] = differ.examples
    assert (example.disagreement.device, example.disagreement.cloud) == (1, 0)
    assert example.escalation.reason == "uncertain"
    assert (example.device.model.version, len(example.device.detections)) == ("1.0.0", 1)
    assert len(example.cloud.detections) == 0
    assert differ.counts()["disagreements"] == 1


def test_a_bad_frame_is_nobodys_business_but_its_own() -> None:
    pair = Pair()
    with pytest.raises(FrameError):
        pair.ask(FakeEngine(fail=FrameError("too small", frame_id="1", name="a")))
    assert pair.counts() == {}


def test_repeats_are_suppressed_in_the_clouds_answers_too() -> None:
    class Twice(FakeEngine):
        def segment(self, frame, prompts):  # type: ignore[no-untyped-def]
            once = super().segment(frame, prompts)
            return type(once)(once.instances * 2, once.timing)

    for overlap, found in ((None, 2), (0.5, 1)):
        options = DetectionOptions((Prompt("red"),), nms_iou=overlap)
        assert len(Pair(cloud=Twice()).ask(EngineError("gone"), options).detections) == found


class Memory(list[Any]):
    def put(self, messages: Any) -> None:
        self += messages

    def wait_for_room(self, timeout: float) -> bool:
        return True


class Nobody:
    def detected(self, result: Any, messages: int) -> None: ...
    def rejected(self, error: Any) -> None: ...
    def unchanged(self, frame: Any) -> None: ...


def run(pair: Pair, engine: Callable[[], Engine]) -> list[dict[str, Any]]:
    outbox = Memory()
    source = ListSource([frame(red_square(), "a.png"), frame(np.zeros((240, 320, 3), np.uint8), "b.png")])
    topics = Topics("p")
    flow = Flow("d", source, OpenGate(), engine, lambda: RED, outbox, topics, Nobody(), pair.opinion)
    flow.run(threading.Event())
    return [json.loads(message.payload) for message in outbox]


def test_the_flow_publishes_whose_answer_it_is_and_why() -> None:
    first, second = run(Pair(), Colourblind)
    assert first["origin"]["by"] == "cloud"
    assert first["origin"]["reason"] == "uncertain"
    assert first["model"]["version"] == "9.9.9"
    assert "endpoint" in first["timing"]
    assert second["origin"] == {"by": "device"}  # nothing is red, and nothing is uncertain


def test_without_a_model_and_without_the_cloud_the_frame_waits_for_either() -> None:
    calls = 0

    def engine() -> Engine:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ModelMissing("no bundle is active")
        return FakeEngine()

    messages = run(Pair(before=fail(WRONG)), engine)
    assert [m["frame"]["name"] for m in messages] == ["a.png", "b.png"]
    assert calls == 3


def test_without_a_model_the_cloud_answers() -> None:
    def engine() -> Engine:
        raise ModelMissing("no bundle is active")

    messages = run(Pair(), engine)
    assert [m["origin"]["reason"] for m in messages] == ["unavailable", "unavailable"]


def test_with_a_model_that_fails_and_without_the_cloud_the_flow_ends_as_it_always_did() -> None:
    with pytest.raises(EngineError, match="no memory"):
        run(Pair(before=fail(DOWN)), lambda: FakeEngine(fail=EngineError("no memory")))
