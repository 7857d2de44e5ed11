"""The one flow: where a frame comes in, where it becomes polygons, and where it leaves.

    Source -> Frame -> gate -> Engine.segment(frame, prompts) -> detections -> stages -> message -> outbox

The device's own engine finds what there is, unless another ``Detector`` is given, which also asks the cloud
(``core/fallback/detector.py``). A stage (``core/stages.py``) adds properties to detections, or drops some.

A frame is taken off its source only after what was found in it is durable in the outbox, so a process killed at any
point either has not begun with the frame or finds its messages already there (their ids are the same) when it begins
again.

The engine has a thread of its own and need not wait for the rest: while it has a frame, this thread outlines and stores
the one before, and decodes the one after. Source, gate, stages and outbox are used by this thread only, in the order of
the frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

from sam3edge.core.errors import FrameError, MessageTooLarge, ModelMissing, OutboxFull
from sam3edge.core.gate import Gate
from sam3edge.core.messages.detections import FrameResult, encode, frame_result
from sam3edge.core.messages.errors import frame_error
from sam3edge.core.messages.topics import Topics
from sam3edge.core.polygons import TOLERANCE, to_detections
from sam3edge.core.ports import EndOfSource, Engine, Source
from sam3edge.core.stages import DetectionStage, apply_stages
from sam3edge.core.types import Detections, Frame, Message, Prompt

POLL_SECONDS = 0.5
"""How long the flow waits for a frame before it looks whether it should stop."""


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """What to look for and how to say it; replaced as a whole, between two frames, when the configuration changes.

    Attributes:
        tolerance: pixels by which an outline may be simplified.
        max_tolerance: pixels by which it may be simplified before a result is split.
        nms_iou: class-wise mask suppression above this intersection over union; None leaves repeats in.
        max_payload: bytes of one message.
    """

    prompts: tuple[Prompt, ...]
    tolerance: float = TOLERANCE
    max_tolerance: float = 4.0
    nms_iou: float | None = None
    max_payload: int = 131_072


Outlining: TypeAlias = Callable[[], Detections]
"""What is left to do when the engine has finished; to be called once, by any thread."""


class Detector(Protocol):
    """What finds objects in a frame. Used by one thread."""

    def detect(self, frame: Frame, options: DetectionOptions, engine: Callable[[], Engine]) -> Outlining:
        """Find what the options ask for.

        Args:
            engine: gives this device's engine; raises ModelMissing where there is none yet.

        Raises:
            FrameError: this image cannot be processed.
            EngineError: no model could run.
        """


class LocalDetector:
    """Asks this device's engine and nothing else."""

    def detect(self, frame: Frame, options: DetectionOptions, engine: Callable[[], Engine]) -> Outlining:
        """See ``Detector``."""
        return segment(engine(), frame, options)


def segment(engine: Engine, frame: Frame, options: DetectionOptions) -> Outlining:
    """What an engine finds in a frame, still to be outlined; raises what ``Engine.segment`` raises."""
    output, model = engine.segment(frame, options.prompts), engine.model
    return partial(to_detections, output, frame, model, tolerance=options.tolerance, nms_iou=options.nms_iou)


def detect(engine: Engine, frame: Frame, options: DetectionOptions) -> Detections:
    """What an engine finds in a frame, as polygons; raises what ``Engine.segment`` raises."""
    return segment(engine, frame, options)()


class Outbox(Protocol):
    """What the flow needs of the durable queue."""

    def put(self, messages: Sequence[Message]) -> None:
        """Store all or nothing; durable when it returns. Raises OutboxFull."""

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until something has left, at most ``timeout`` seconds."""


class Observer(Protocol):
    """What follows the flow: statistics, snapshots, a progress display."""

    def detected(self, result: FrameResult, messages: int) -> None:
        """What was found in a frame is durable, as this number of messages."""

    def rejected(self, error: FrameError) -> None:
        """A frame could not be used."""

    def unchanged(self, frame: Frame) -> None:
        """The gate held a frame back."""


@dataclass(frozen=True, slots=True, eq=False)
class _Started:
    """A frame that the detector has, or is about to get; it gives None when asked to stop before there was a model."""

    frame: Frame
    options: DetectionOptions
    found: Future[Outlining | None]


@dataclass(frozen=True, slots=True)
class Flow:
    """The parts, put together once by the program's composition root.

    Attributes:
        device: the thing's name.
        engine: gives the engine for the next frame; it may be another one than before.
        options: gives what to look for in the next frame.
        detector: finds it.
        stages: what happens to the detections before they become a message, in this order.
    """

    device: str
    source: Source
    gate: Gate
    engine: Callable[[], Engine]
    options: Callable[[], DetectionOptions]
    outbox: Outbox
    topics: Topics
    observer: Observer
    detector: Detector = field(default_factory=LocalDetector)
    stages: Sequence[DetectionStage] = ()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set or the source ends; what the detector has begun is finished first.

        Raises:
            EngineError: the model cannot run.
        """
        worker = ThreadPoolExecutor(1, "detector")
        before: _Started | None = None
        try:
            for started in self._started(worker, stop):
                if before is not None:
                    self._finish(before, stop)
                before = started
            if before is not None and not (stop.is_set() and before.found.cancel()):
                self._finish(before, stop)
        finally:
            worker.shutdown(cancel_futures=True)

    def _started(self, worker: ThreadPoolExecutor, stop: threading.Event) -> Iterator[_Started | None]:
        """Give the detector one frame after the other; None when none is there, or none for it."""
        last: _Started | None = None
        while not stop.is_set():
            if last is not None and not self.source.traits.waits:
                wait([last.found])  # a camera's next frame should be as new as can be
            try:
                frame = self.source.next(POLL_SECONDS if last is None else 0.0)
                last = self._start(worker, frame, stop) if frame is not None else None
            except FrameError as error:
                self._reject(error, (), stop)
                last = None
            except EndOfSource:
                return
            yield last

    def _start(self, worker: ThreadPoolExecutor, frame: Frame, stop: threading.Event) -> _Started | None:
        if self.gate.admit(frame):
            options = self.options()
            return _Started(frame, options, worker.submit(self._detect, frame, options, stop))
        self.source.done(frame)
        self.observer.unchanged(frame)
        return None

    def _detect(self, frame: Frame, options: DetectionOptions, stop: threading.Event) -> Outlining | None:
        while True:
            try:
                return self.detector.detect(frame, options, self.engine)
            except ModelMissing:
                if stop.is_set():
                    return None
                stop.wait(POLL_SECONDS)

    def _finish(self, started: _Started, stop: threading.Event) -> None:
        """Make what the detector finds durable, and take the frame off the source."""
        frame, options = started.frame, started.options
        try:
            outlining = started.found.result()
            if outlining is None:
                return
            detections = apply_stages(self.stages, frame, outlining())
        except FrameError as error:
            self._reject(error, (), stop)
        else:
            result = frame_result(self.device, frame, options.prompts, detections)
            self._publish(result, detections.messages, options, stop)

    def _publish(
        self, result: FrameResult, beside: Sequence[Message], options: DetectionOptions, stop: threading.Event
    ) -> None:
        """Store a frame's messages and those that stages have made of it (``beside``), all or none."""
        frame = result.frame
        try:
            messages = [*encode(result, self.topics.detections, options.max_payload, options.max_tolerance), *beside]
            stored = self._store(messages, stop)
        except (MessageTooLarge, ValueError) as error:
            reason = f"its detections cannot be sent: {error}"
            self._reject(FrameError(reason, frame_id=frame.id, name=frame.name), beside, stop)
            return
        if stored:
            self.source.done(frame)
            self.observer.detected(result, len(messages))

    def _reject(self, error: FrameError, beside: Sequence[Message], stop: threading.Event) -> None:
        report = frame_error(self.device, error, self.topics.errors)
        if all(self._store([message], stop) for message in (*beside, report)):  # one by one fits if anything does
            self.source.reject(error)
            self.observer.rejected(error)

    def _store(self, messages: Sequence[Message], stop: threading.Event) -> bool:
        """Put messages into the outbox, waiting for room; False when asked to stop before there was any."""
        while True:
            try:
                self.outbox.put(messages)
            except OutboxFull:
                if stop.is_set():
                    return False
                self.outbox.wait_for_room(POLL_SECONDS)
            else:
                return True
