"""Many requests, one model: a thread that owns the engine and answers what has gathered, together.

What is asked about the same picture becomes one look at it with all the prompts. Different pictures are given to the
engine at once where it takes several (``segment_many``), else one after the other. When a batch fails, each of its
questions is asked again alone, so that only the one that is at fault fails.
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
"""So many failures of the engine in a row, and it is said to be broken."""


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that answers several frames in one run."""

    def segment_many(self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]) -> list[EngineOutput]:
        """One answer a frame; see ``Engine.segment``."""


@runtime_checkable
class OffersInteractive(Protocol):
    """An engine that answers clicks, where the model has what is needed for it."""

    def interactive_segmenter(self) -> InteractiveSegmenter:
        """Raises EngineError when the model has not."""


@dataclass(frozen=True, slots=True, eq=False)
class _Find:
    frame: Frame
    prompts: tuple[Prompt, ...]
    answer: Future[EngineOutput]


@dataclass(frozen=True, slots=True, eq=False)
class _PointAt:
    frame: Frame
    clicks: tuple[VisualPrompt, ...]
    answer: Future[Sequence[MaskPrediction]]


_Question: TypeAlias = _Find | _PointAt


@dataclass(slots=True, eq=False)
class _Look:
    """Questions about one picture, asked together."""

    frame: Frame
    prompts: dict[Prompt, None] = field(default_factory=dict)
    questions: list[_Find] = field(default_factory=list)


class BatchObserver(Protocol):
    """Who wants to know what the model's thread does."""

    def batch(self, questions: int, looks: int, seconds: float) -> None:
        """So many questions were answered from so many pictures."""


class Batcher:
    """The model's thread.

    Args:
        load: makes the engine and warms it; called once, in the thread that uses it.
        most: different pictures in one batch; what is asked about the same one does not count.
        wait: seconds that the first question waits for others, where the engine gains from it.
        failed: told why there will be no engine.

    Attributes:
        not_ready_reason: why it should not be asked now; empty while all is well.
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
        self._queue: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        # it must not keep a program alive that was told to stop while it loads gigabytes
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._lock = threading.Lock()
        self._closed = False
        self._model: ModelInfo | None = None
        self._segmenter: InteractiveSegmenter | None = None
        self._failures = 0
        self.not_ready_reason = "the model is being loaded"

    def start(self) -> None:
        """Begin to load the engine."""
        self._thread.start()

    @property
    def model(self) -> ModelInfo | None:
        """Which model answers; None before it is ready."""
        return self._model

    @property
    def waiting(self) -> int:
        """Questions that the model has not begun with."""
        return self._queue.qsize()

    def find(self, frame: Frame, prompts: tuple[Prompt, ...]) -> Future[EngineOutput]:
        """Ask for every instance of every prompt; see ``Engine.segment``. Cancelled futures are not worked on."""
        answer: Future[EngineOutput] = Future()
        self._ask(_Find(frame, prompts, answer))
        return answer

    def point_at(self, frame: Frame, clicks: tuple[VisualPrompt, ...]) -> Future[Sequence[MaskPrediction]]:
        """See ``InteractiveSegmenter``. The answer is a PromptError where the model has none."""
        answer: Future[Sequence[MaskPrediction]] = Future()
        self._ask(_PointAt(frame, clicks, answer))
        return answer

    def close(self, patience: float) -> None:
        """Answer what was asked, then let the engine go; wait for that up to ``patience`` seconds. Idempotent."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(patience)

    def _ask(self, question: _Question) -> None:
        with self._lock:
            if not self._closed:
                self._queue.put(question)
                return
        question.answer.set_exception(EngineError(self.not_ready_reason))

    def _run(self) -> None:
        try:
            engine = self._load()
        except Exception as error:  # this thread's supervisor: whatever it is, it is told
            self._end(f"the model cannot be loaded: {error}")
            self._failed(error)
            return
        self._model, self.not_ready_reason = engine.model, ""
        try:
            while self._round(engine):
                pass
        finally:
            self._end("the endpoint is going away")
            engine.close()

    def _end(self, reason: str) -> None:
        """Nothing is answered from now on."""
        with self._lock:
            self._model, self.not_ready_reason, self._closed = None, reason, True
        while not self._queue.empty():
            question = self._queue.get()
            if question is not None and question.answer.set_running_or_notify_cancel():
                question.answer.set_exception(EngineError(reason))

    def _round(self, engine: Engine) -> bool:
        """Answer what there is; False when there will be no more. Nothing of it is held while waiting for the next."""
        batch = self._take(isinstance(engine, BatchEngine))
        if batch:
            self._answer(engine, batch)
        return bool(batch)

    def _take(self, gains: bool) -> list[_Question]:
        """The next questions; none when there will be no more."""
        first = self._queue.get()
        if first is None:
            return []
        batch, until = [first], time.monotonic() + (self._wait if gains else 0.0)
        pictures = {_identity(first.frame)}
        while len(pictures) < self._most:
            try:
                question = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if question is None:
                self._queue.put(None)  # for the next round
                break
            batch.append(question)
            pictures.add(_identity(question.frame))
        return batch

    def _answer(self, engine: Engine, batch: Sequence[_Question]) -> None:
        started = time.perf_counter()
        wanted = [q for q in batch if q.answer.set_running_or_notify_cancel()]
        looks = _looks([q for q in wanted if isinstance(q, _Find)])
        if isinstance(engine, BatchEngine) and len(looks) > 1:
            self._see_together(engine, engine, looks)
        else:
            for look in looks:
                self._see(engine, look)
        for question in wanted:
            if isinstance(question, _PointAt):
                self._outline(engine, question)
        if wanted:
            self._observer.batch(len(wanted), len({_identity(q.frame) for q in wanted}), time.perf_counter() - started)

    def _see_together(self, engine: Engine, many: BatchEngine, looks: Sequence[_Look]) -> None:
        try:
            found = many.segment_many([look.frame for look in looks], [tuple(look.prompts) for look in looks])
            pairs = list(zip(looks, found, strict=True))
        except Exception as error:  # whose fault it is shows when each is asked alone
            logger.warning("a batch of %d failed, its questions are asked one by one: %s", len(looks), error)
            for look in looks:
                self._see(engine, look)
            return
        self._well()
        for look, output in pairs:
            _share(look, output)

    def _see(self, engine: Engine, look: _Look) -> None:
        try:
            output = engine.segment(look.frame, tuple(look.prompts))
        except Exception as error:
            if len(look.questions) == 1:
                self._fail(look.questions[0].answer, error)
                return
            logger.warning("%d questions about an image failed, asking one by one: %s", len(look.questions), error)
            for question in look.questions:
                self._see(engine, _Look(question.frame, dict.fromkeys(question.prompts), [question]))
            return
        self._well()
        _share(look, output)

    def _outline(self, engine: Engine, question: _PointAt) -> None:
        try:
            if self._segmenter is None:
                if not isinstance(engine, OffersInteractive):
                    raise PromptError("this engine answers no points and boxes; ask by text")
                self._segmenter = _outliner_of(engine)
            question.answer.set_result(self._segmenter.predict(question.frame, question.clicks))
        except Exception as error:
            self._fail(question.answer, error)

    def _well(self) -> None:
        self._failures, self.not_ready_reason = 0, ""

    def _fail(self, answer: Future[EngineOutput] | Future[Sequence[MaskPrediction]], error: Exception) -> None:
        if not isinstance(error, FrameError | PromptError):  # those are the question's fault
            self._failures += 1
            logger.error("the model failed: %s", error, exc_info=error if not isinstance(error, EngineError) else None)
            if self._failures >= UNHEALTHY_AFTER:
                self.not_ready_reason = f"the model failed {self._failures} times in a row, last: {error}"
        answer.set_exception(error)


def _outliner_of(engine: OffersInteractive) -> InteractiveSegmenter:
    try:
        return engine.interactive_segmenter()
    except EngineError as error:
        raise PromptError(str(error)) from error  # nothing is broken: this model was exported without


def _looks(questions: Sequence[_Find]) -> list[_Look]:
    """Questions about the same picture together. Those with exemplars stay alone: the engine names what it cannot
    answer by its text, and the same text may come with good exemplars and with bad ones."""
    looks: dict[Hashable, _Look] = {}
    for question in questions:
        alone = any(p.exemplars for p in question.prompts)
        key: Hashable = id(question) if alone else _identity(question.frame)
        look = looks.setdefault(key, _Look(question.frame))
        look.prompts.update(dict.fromkeys(question.prompts))
        look.questions.append(question)
    return list(looks.values())


def _identity(frame: Frame) -> Hashable:
    return frame.digest, frame.image.shape


def _share(look: _Look, output: EngineOutput) -> None:
    """Give each question what was found of its own prompts, in the order it asked."""
    for question in look.questions:
        mine = tuple(i for prompt in question.prompts for i in output.instances if i.prompt == prompt)
        texts = {prompt.text for prompt in question.prompts}
        unsupported_prompts = {text: reason for text, reason in output.unsupported_prompts.items() if text in texts}
        question.answer.set_result(replace(output, instances=mine, unsupported_prompts=unsupported_prompts))
