"""The device's detections, the cloud's, or the better of the two: what ``core/fallback/policy.py`` decides, done.

Whatever happens to the cloud, a frame that the device can process gets its detections: without delay while the budget
is spent or the circuit breaker is open, else after ``seconds`` at the latest. When both sides fail the device's own
error is raised, as if there were no cloud.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sam3edge.core.errors import EndpointError, EngineError, NotAsked
from sam3edge.core.fallback.breaker import Breaker, Retry, State
from sam3edge.core.fallback.budget import Budget, Spent
from sam3edge.core.fallback.policy import Disagreement, Escalation, Load, Policy, compare
from sam3edge.core.flow import DetectionOptions, Outlining, detect
from sam3edge.core.matching import suppress_detections
from sam3edge.core.ports import Endpoint, Engine
from sam3edge.core.types import Detections, Frame, Origin, Prompt

logger = logging.getLogger(__name__)

FORGET_SECONDS = 3600.0
"""Seconds after which the cloud is asked again about a phrase that it did not know either."""


@dataclass(frozen=True, slots=True, eq=False)
class HardExample:
    """A frame about which device and cloud disagree."""

    frame: Frame
    prompts: tuple[Prompt, ...]
    device: Detections
    cloud: Detections
    escalation: Escalation
    disagreement: Disagreement


class NoExamples:
    """Keeps none."""

    def offer(self, example: HardExample) -> None:
        """See ``Examples``."""


class Examples(Protocol):
    """Keeps hard examples."""

    def offer(self, example: HardExample) -> None:
        """Keep it, or drop it; never waits and raises nothing."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What keeps the device from asking too often and from waiting too long.

    Attributes:
        seconds: that a frame waits for the cloud, retry included.
    """

    budget: Budget
    breaker: Breaker
    retry: Retry
    seconds: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the start.

    Attributes:
        asked: requests that went out.
        answered: of these, with a response that was accepted.
        failures: of these, without.
        refused_by_budget, refused_by_breaker: times that a request was wanted and none went out.
        disagreements: frames about which both have detections, and not the same.
    """

    asked: int = 0
    answered: int = 0
    failures: int = 0
    refused_by_budget: int = 0
    refused_by_breaker: int = 0
    disagreements: int = 0


@dataclass(frozen=True, slots=True)
class FallbackStatus:
    """The state of the fallback, for the heartbeat."""

    counts: Counts
    breaker: State
    spent: Spent
    last_failure: str


class FallbackDetector:
    """A ``Detector`` that falls back to the cloud. Used by the detector's thread; ``status`` by any.

    Args:
        backlog: frames that wait at the source.
        clock: seconds, monotonic.
        sleep: waits for a number of seconds.
        uniform: draws a number between two.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        policy: Policy,
        limits: RequestLimits,
        examples: Examples,
        backlog: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._endpoint = endpoint
        self._policy = policy
        self._limits = limits
        self._examples = examples
        self._backlog = backlog
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._lock = threading.Lock()
        self._counts = Counts()
        self._last_failure = ""
        self._complained_of = ""
        self._looked_at: float | None = None
        self._look_seconds = 0.0
        self._unsupported: dict[str, float] = {}  # phrase -> until when

    def detect(self, frame: Frame, options: DetectionOptions, engine: Callable[[], Engine]) -> Outlining:
        """See ``Detector``. Outlines included: it is they that are compared with the cloud's."""
        found = self._detect(frame, options, engine)
        return lambda: found

    def _detect(self, frame: Frame, options: DetectionOptions, engine: Callable[[], Engine]) -> Detections:
        refusal: EndpointError | None = None
        escalation: Escalation | None = None
        try:
            own_engine = engine()
            escalation = self._policy.instead(own_engine.model, self._load())
            if escalation is not None:
                try:
                    return self._ask(frame, options, escalation)
                except EndpointError as error:
                    refusal = error
            own = self._look(own_engine, frame, options)
        except EngineError as error:
            return self._replace(frame, options, error, refusal)
        if escalation is None:
            return self._compare(frame, options, own)
        return _by_device(own, escalation, refusal)

    def status(self) -> FallbackStatus:
        """A snapshot."""
        with self._lock:
            return FallbackStatus(
                self._counts, self._limits.breaker.state, self._limits.budget.spent, self._last_failure
            )

    def _load(self) -> Load:
        age = 0.0 if self._looked_at is None else self._clock() - self._looked_at
        return Load(self._look_seconds, age, self._backlog())

    def _look(self, engine: Engine, frame: Frame, options: DetectionOptions) -> Detections:
        started = self._clock()
        own = detect(engine, frame, options)
        self._looked_at = self._clock()
        self._look_seconds = self._looked_at - started
        return own

    def _replace(
        self, frame: Frame, options: DetectionOptions, problem: EngineError, refusal: EndpointError | None
    ) -> Detections:
        """The cloud's detections where the device fails; the device's error where the cloud fails, too."""
        if frame.id != self._complained_of:  # a frame that waits for a model is tried again and again
            self._complained_of = frame.id
            logger.warning("this device cannot process the frame: %s", problem, extra={"frame": frame.id})
        escalation = self._policy.unavailable(str(problem))
        if escalation is None or refusal is not None:  # it was asked about this frame already
            raise problem
        try:
            return self._ask(frame, options, escalation)
        except EndpointError as error:
            raise problem from error

    def _compare(self, frame: Frame, options: DetectionOptions, own: Detections) -> Detections:
        """The better detections where the device's leave something open; where the two differ, a hard example."""
        now = self._clock()
        self._unsupported = {text: until for text, until in self._unsupported.items() if until > now}
        escalation = self._policy.beside(own, self._unsupported.keys())
        if escalation is None:
            return own
        try:
            other = self._ask(frame, options, escalation)
        except EndpointError as error:
            return _by_device(own, escalation, error)
        self._unsupported |= {
            text: now + FORGET_SECONDS for text in other.unsupported_prompts if text in own.unsupported_prompts
        }
        disagreement = compare(own, other)
        if disagreement:
            self._count(disagreements=1)
            self._examples.offer(HardExample(frame, options.prompts, own, other, escalation, disagreement))
        better = self._policy.better(own, other)
        timing = {**own.timing, **other.timing}
        if better is own:
            return replace(_by_device(own, escalation, None), timing=timing)
        return replace(other, timing=timing)

    def _ask(self, frame: Frame, options: DetectionOptions, escalation: Escalation) -> Detections:
        """The cloud's detections; raises EndpointError."""
        deadline = self._clock() + self._limits.seconds
        try:
            found = self._request(frame, options.prompts, deadline)
        except NotAsked:
            raise
        except EndpointError as error:
            breaker = self._limits.breaker
            pause = self._limits.retry.pause(error, deadline - self._clock(), self._uniform)
            if pause is None or breaker.state != "closed" or self._limits.budget.refusal():
                raise
            self._sleep(pause)
            found = self._request(frame, options.prompts, deadline)
        if options.nms_iou is not None:
            found = replace(found, detections=suppress_detections(found.detections, options.nms_iou))
        return replace(found, origin=Origin("cloud", escalation.reason, escalation.detail))

    def _request(self, frame: Frame, prompts: Sequence[Prompt], deadline: float) -> Detections:
        """One request, if one may go out."""
        budget, breaker = self._limits.budget, self._limits.breaker
        refusal = breaker.refusal()
        if refusal:
            self._count(refused_by_breaker=1)
            raise NotAsked(refusal)
        refusal = budget.refusal()
        if refusal:
            self._count(refused_by_budget=1)
            raise NotAsked(refusal)
        try:
            budget.take()
        except OSError as error:
            raise EndpointError(f"the request cannot be counted: {error.strerror}") from error
        self._count(asked=1)
        started = self._clock()
        try:
            found = self._endpoint.ask(frame, prompts, deadline - started)
        except EndpointError as error:
            breaker.failed(error.retry_after)
            self._count(failures=1)
            self._last_failure = str(error)
            logger.warning("the endpoint failed: %s", error, extra={"frame": frame.id})
            raise
        breaker.succeeded()
        self._count(answered=1)
        return replace(found, timing={"endpoint": (self._clock() - started) * 1000})

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{n: getattr(self._counts, n) + by for n, by in more.items()})


def _by_device(own: Detections, escalation: Escalation, refusal: EndpointError | None) -> Detections:
    why = "the cloud's detections are not better" if refusal is None else refusal
    return replace(own, origin=Origin("device", escalation.reason, f"{escalation.detail}; {why}"))
