"""Many requests, one model: a thread that owns the engine and runs what has gathered, together.

Requests about the same image become one run with all of their prompts. Different images are given to the engine at once
where it takes several (``segment_many``), else one after the other. When a batch fails, each of its requests is run
again alone, so that only the one that is at fault fails.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, runtime_checkable

from sam3edge.core.errors import EngineError, FrameError, PromptError
from sam3edge.core.ports import Engine, InteractiveSegmenter
from sam3edge.core.types import EngineOutput, Frame, MaskPrediction, ModelInfo, Prompt, VisualPrompt

logger = logging.getLogger(__name__)

UNHEALTHY_AFTER = 3
"""Failures of the engine in a row after which it is not ready."""


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that segments several frames in one run."""

    def segment_many(self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]) -> list[EngineOutput]:
        """One output for each frame; see ``Engine.segment``."""


@runtime_checkable
class HasVocabulary(Protocol):
    """An engine that was made for certain phrases."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """These phrases."""

    @property
    def reads_any(self) -> bool:
        """Whether it can answer others, too."""


@runtime_checkable
class OffersInteractive(Protocol):
    """An engine that can segment by points, boxes and masks, where the model has the graphs for it."""

    def interactive_segmenter(self) -> InteractiveSegmenter:
        """Raises EngineError when the model has not got them."""


@dataclass(frozen=True, slots=True, eq=False)
class _SegmentRequest:
    frame: Frame
    prompts: tuple[Prompt, ...]
    future: Future[EngineOutput]


@dataclass(frozen=True, slots=True, eq=False)
class _PredictRequest:
    frame: Frame
    prompts: tuple[VisualPrompt, ...]
    future: Future[Sequence[MaskPrediction]]


_Request: TypeAlias = _SegmentRequest | _PredictRequest


@dataclass(slots=True, eq=False)
class _Group:
    """Requests about one image, run together."""

    frame: Frame
    prompts: dict[Prompt, None] = field(default_factory=dict)
    requests: list[_SegmentRequest] = field(default_factory=list)


class BatchObserver(Protocol):
    """Who wants to know what the model's thread does."""

    def batch(self, requests: int, images: int, seconds: float) -> None:
        """A batch of ``requests`` about ``images`` different images took ``seconds``."""


class Batcher:
    """The model's thread.

    Args:
        load: makes the engine and warms it; called once, in the thread that uses it.
        most: different images in one batch; further requests about the same one do not count.
        wait: seconds that the first request waits for others, where the engine gains from it.
        failed: told why there will be no engine.

    Attributes:
        not_ready_reason: why the model cannot be used now; empty while it can.
        vocabulary: the phrases that the model was made for; empty where it was made for none in particular, and before
            it is ready.
        reads_any: whether it can answer others, too.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        most: int,
        wait: float,
        observer: BatchObserver,
        failed: Callable[[Exception], None],
    ) -> None:
        self._load = load
        self._most = most
        self._wait = wait
        self._observer = observer
        self._failed = failed
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        # it must not keep a program alive that was told to stop while it loads gigabytes
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._lock = threading.Lock()
        self._closed = False
        self._model: ModelInfo | None = None
        self._segmenter: InteractiveSegmenter | None = None
        self._failures = 0
        self.not_ready_reason = "the model is being loaded"
        self.vocabulary: tuple[str, ...] = ()
        self.reads_any = True

    def start(self) -> None:
        """Begin to load the engine."""
        self._thread.start()

    @property
    def model(self) -> ModelInfo | None:
        """Which model it is; None before it is ready."""
        return self._model

    @property
    def waiting(self) -> int:
        """Requests that the model has not begun."""
        return self._queue.qsize()

    def segment(self, frame: Frame, prompts: tuple[Prompt, ...]) -> Future[EngineOutput]:
        """Every instance of every prompt; see ``Engine.segment``. Cancelled futures are skipped."""
        future: Future[EngineOutput] = Future()
        self._submit(_SegmentRequest(frame, prompts, future))
        return future

    def predict(self, frame: Frame, prompts: tuple[VisualPrompt, ...]) -> Future[Sequence[MaskPrediction]]:
        """See ``InteractiveSegmenter``. The future raises PromptError where the model has none."""
        future: Future[Sequence[MaskPrediction]] = Future()
        self._submit(_PredictRequest(frame, prompts, future))
        return future

    def close(self, patience: float) -> None:
        """Finish what was submitted, then close the engine; wait for that up to ``patience`` seconds. Idempotent."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(patience)

    def _submit(self, request: _Request) -> None:
        with self._lock:
            if not self._closed:
                self._queue.put(request)
                return
        request.future.set_exception(EngineError(self.not_ready_reason))

    def _run(self) -> None:
        try:
            engine = self._load()
        except Exception as error:  # this thread's supervisor: whatever it is, it is reported
            self._end(f"the model cannot be loaded: {error}")
            self._failed(error)
            return
        if isinstance(engine, HasVocabulary):
            self.vocabulary, self.reads_any = engine.vocabulary, engine.reads_any
        self._model, self.not_ready_reason = engine.model, ""
        try:
            while self._round(engine):
                pass
        finally:
            self._end("the endpoint is going away")
            engine.close()

    def _end(self, reason: str) -> None:
        """Refuse everything from now on."""
        with self._lock:
            self._model, self.not_ready_reason, self._closed = None, reason, True
        while not self._queue.empty():
            request = self._queue.get()
            if request is not None and request.future.set_running_or_notify_cancel():
                request.future.set_exception(EngineError(reason))

    def _round(self, engine: Engine) -> bool:
        """Run one batch; False when there will be no more. Nothing of it is held while waiting for the next."""
        batch = self._take(isinstance(engine, BatchEngine))
        if batch:
            self._answer(engine, batch)
        return bool(batch)

    def _take(self, gains: bool) -> list[_Request]:
        """The next batch; empty when there will be no more."""
        first = self._queue.get()
        if first is None:
            return []
        batch, until = [first], time.monotonic() + (self._wait if gains else 0.0)
        frames = {_identity(first.frame)}
        while len(frames) < self._most:
            try:
                request = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if request is None:
                self._queue.put(None)  # for the next round
                break
            batch.append(request)
            frames.add(_identity(request.frame))
        return batch

    def _answer(self, engine: Engine, batch: Sequence[_Request]) -> None:
        started = time.perf_counter()
        wanted = [q for q in batch if q.future.set_running_or_notify_cancel()]
        groups = _grouped([q for q in wanted if isinstance(q, _SegmentRequest)])
        if isinstance(engine, BatchEngine) and len(groups) > 1:
            self._segment_groups(engine, engine, groups)
        else:
            for group in groups:
                self._segment_group(engine, group)
        for request in wanted:
            if isinstance(request, _PredictRequest):
                self._predict(engine, request)
        if wanted:
            self._observer.batch(len(wanted), len({_identity(q.frame) for q in wanted}), time.perf_counter() - started)

    def _segment_groups(self, engine: Engine, many: BatchEngine, groups: Sequence[_Group]) -> None:
        try:
            found = many.segment_many([group.frame for group in groups], [tuple(group.prompts) for group in groups])
            pairs = list(zip(groups, found, strict=True))
        except Exception as error:  # whose fault it is shows when each is run alone
            logger.warning("a batch of %d failed, running its requests one by one: %s", len(groups), error)
            for group in groups:
                self._segment_group(engine, group)
            return
        self._succeeded()
        for group, output in pairs:
            _share(group, output)

    def _segment_group(self, engine: Engine, group: _Group) -> None:
        try:
            output = engine.segment(group.frame, tuple(group.prompts))
        except Exception as error:
            if len(group.requests) == 1:
                self._fail(group.requests[0].future, error)
                return
            logger.warning("%d requests about an image failed, running them one by one: %s", len(group.requests), error)
            for request in group.requests:
                self._segment_group(engine, _Group(request.frame, dict.fromkeys(request.prompts), [request]))
            return
        self._succeeded()
        _share(group, output)

    def _predict(self, engine: Engine, request: _PredictRequest) -> None:
        try:
            if self._segmenter is None:
                if not isinstance(engine, OffersInteractive):
                    raise PromptError("this engine cannot segment by points and boxes; send a text prompt")
                self._segmenter = _segmenter_of(engine)
            request.future.set_result(self._segmenter.predict(request.frame, request.prompts))
        except Exception as error:
            self._fail(request.future, error)

    def _succeeded(self) -> None:
        self._failures, self.not_ready_reason = 0, ""

    def _fail(self, future: Future[EngineOutput] | Future[Sequence[MaskPrediction]], error: Exception) -> None:
        if not isinstance(error, FrameError | PromptError):  # those are the request's fault
            self._failures += 1
            logger.error("the model failed: %s", error, exc_info=error if not isinstance(error, EngineError) else None)
            if self._failures >= UNHEALTHY_AFTER:
                self.not_ready_reason = f"the model failed {self._failures} times in a row, last: {error}"
        future.set_exception(error)


def _segmenter_of(engine: OffersInteractive) -> InteractiveSegmenter:
    try:
        return engine.interactive_segmenter()
    except EngineError as error:
        raise PromptError(str(error)) from error  # nothing is broken: this model was exported without those graphs


def _grouped(requests: Sequence[_SegmentRequest]) -> list[_Group]:
    """Requests about the same image together. Those with exemplars stay alone: the engine names what is unsupported by
    its text, and the same text may have good exemplars in one request and bad ones in another."""
    groups: dict[Hashable, _Group] = {}
    for request in requests:
        alone = any(p.exemplars for p in request.prompts)
        key: Hashable = id(request) if alone else _identity(request.frame)
        group = groups.setdefault(key, _Group(request.frame))
        group.prompts.update(dict.fromkeys(request.prompts))
        group.requests.append(request)
    return list(groups.values())


def _identity(frame: Frame) -> Hashable:
    return frame.digest, frame.image.shape


def _share(group: _Group, output: EngineOutput) -> None:
    """Give each request the instances of its own prompts, in the order of its prompts."""
    for request in group.requests:
        mine = tuple(i for prompt in request.prompts for i in output.instances if i.prompt == prompt)
        texts = {prompt.text for prompt in request.prompts}
        unsupported_prompts = {text: reason for text, reason in output.unsupported_prompts.items() if text in texts}
        request.future.set_result(replace(output, instances=mine, unsupported_prompts=unsupported_prompts))
