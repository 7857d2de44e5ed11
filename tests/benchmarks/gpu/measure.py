"""Timing engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol, TypeVar

import numpy as np
import torch

from benchmarks.gpu.subjects import WORDS, decode, ellipse
from sam3edge.core import ports
from sam3edge.core.polygons import to_detection
from sam3edge.core.types import EngineOutput, Frame, Prompt

T = TypeVar("T")


class Engine(Protocol):
    """What of an engine is measured."""

    def segment_many(
        self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]
    ) -> Sequence[EngineOutput]:
        """See ``TorchEngine``."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked at once.

    Attributes:
        images: in one batch.
        prompts: of each image.
        present: of these have instances.
        instances: of each prompt that is present.
    """

    images: int
    prompts: int
    present: int
    instances: int


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        who: whose code, how it runs.
        load: what was asked.
        milliseconds: median of a whole batch.
        slowest: 95th percentile of the same.
        runs: how many were measured.
        stages: median milliseconds by stage.
        memory: peak of what torch had allocated on the GPU, MB; 0 without a GPU.
        first: seconds that the first run took: compilation, recording.
    """

    who: str
    load: Load
    milliseconds: float
    slowest: float
    runs: int
    stages: Mapping[str, float] = field(default_factory=dict)
    memory: float = 0.0
    first: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Throughput of batches one after the other."""
        return 1000 * self.load.images / self.milliseconds


class OneByOne:
    """An engine that takes one frame at a time."""

    def __init__(self, engine: ports.Engine) -> None:
        self._engine = engine

    def segment_many(
        self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]
    ) -> Sequence[EngineOutput]:
        """See ``Engine``."""
        return [self._engine.segment(frame, asked) for frame, asked in zip(frames, prompts_of_each, strict=True)]


class NotForced(Exception):
    """Random weights did not let themselves be told how much to admit."""


def force(engine: Engine, frames: Sequence[Frame], load: Load, words: Sequence[str] = WORDS) -> list[list[Prompt]]:
    """Prompts with thresholds between the scores that ``engine`` gives to ``load``, so that exactly the wanted number
    of queries is admitted. They hold for these frames in a batch of this size."""
    open_to_all = [[Prompt(words[i], -1.0, label=str(i)) for i in range(load.prompts)] for _ in frames]
    found = engine.segment_many(frames, open_to_all)
    forced = []
    for prompts, output in zip(open_to_all, found, strict=True):
        mine = []
        for i, prompt in enumerate(prompts):
            scores = [instance.score for instance in output.instances if instance.prompt == prompt]
            threshold = 1.0
            if i < load.present:
                if len(scores) <= load.instances:
                    raise NotForced(f"expected more than {load.instances} scores of {prompt.text!r}, got {len(scores)}")
                least, next_one = scores[load.instances - 1], scores[load.instances]
                threshold = (least + next_one) / 2
                if not next_one <= threshold < least:
                    raise NotForced(
                        f"scores {load.instances} and {load.instances + 1} of {prompt.text!r} are both {least}"
                    )
            mine.append(replace(prompt, threshold=threshold))
        forced.append(mine)
    return forced


def measure_batch(who: str, engine: Engine, frames: Sequence[Frame], load: Load, seconds: float) -> Row:
    """Frames in, masks on the host."""
    prompts, first = timed_once(lambda: force(engine, frames, load))
    stages: dict[str, list[float]] = {}

    def work() -> None:
        found = engine.segment_many(frames, prompts)
        _check(found, load)
        for stage, ms in found[0].timing.items():
            stages.setdefault(stage, []).append(ms)

    return replace(repeat(who, load, work, seconds), stages=_medians(stages), first=first)


def measure_bytes(
    who: str, engine: Engine, content: bytes, load: Load, seconds: float, words: Sequence[str] = WORDS
) -> Row:
    """A JPEG file in, polygons out; the masks are exchanged for ellipses before they are outlined."""
    prompts, first = timed_once(lambda: force(engine, [decode(content)], load, words))
    (probe,) = engine.segment_many([decode(content)], prompts)
    masks = [ellipse(instance.mask.shape[0], i) for i, instance in enumerate(probe.instances)]
    stages: dict[str, list[float]] = {}

    def work() -> None:
        started = time.perf_counter()
        frame = decode(content)
        decoded = time.perf_counter()
        found = engine.segment_many([frame], prompts)
        _check(found, load)
        segmented = time.perf_counter()
        for instance, mask in zip(found[0].instances, masks, strict=True):
            assert to_detection(replace(instance, mask=mask), frame.width, frame.height, 0.5) is not None
        outlined = time.perf_counter()
        host = {"JPEG": decoded - started, "engine": segmented - decoded, "polygons": outlined - segmented}
        for stage, ms in (*found[0].timing.items(), *((name, s * 1000) for name, s in host.items())):
            stages.setdefault(stage, []).append(ms)

    return replace(repeat(who, load, work, seconds), stages=_medians(stages), first=first)


def repeat(who: str, load: Load, work: Callable[[], object], seconds: float) -> Row:
    """Do ``work``, which ends on the host, for some seconds after a warm-up; at least five times."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        work()
    taken = list(_laps(work, seconds))
    memory = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0
    return Row(who, load, median(taken), float(np.percentile(taken, 95)), len(taken), memory=memory)


def timed_once(work: Callable[[], T]) -> tuple[T, float]:
    """What ``work`` gives, and the seconds that it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _laps(work: Callable[[], object], seconds: float) -> Iterator[float]:
    end = time.perf_counter() + seconds
    count = 0
    while count < 5 or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        yield (time.perf_counter() - started) * 1000
        count += 1


def _check(found: Sequence[EngineOutput], load: Load) -> None:
    for output in found:
        if len(output.instances) != load.present * load.instances:
            raise NotForced(f"expected {load.present} x {load.instances} instances, got {len(output.instances)}")


def _medians(stages: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {stage: median(laps[2:]) for stage, laps in stages.items()}  # the first two are the warm-up
