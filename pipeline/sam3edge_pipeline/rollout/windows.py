"""Observations added up in blocks of time: what each camera of each device saw under each model.

Repetitions are dropped by message id. A frame whose result came in several messages counts when all of them are there.
An error names no model: it is counted for the one that the device ran at the time, as its messages tell.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sam3edge_pipeline.rollout.observations import Observation

COUNT_BINS = 16
"""Objects of one prompt in a frame: 0, 1, ... 14, more."""

SCORE_BINS = 20
"""Of equal width, over 0..1."""

MAX_OBSERVATIONS = 200_000
"""Added up at once; more are left out, and it is said."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of one prompt in a block of time.

    Attributes:
        asked: frames that were asked for it.
        present: frames with at least one such object.
        counts: frames by number of such objects, ``COUNT_BINS``.
        scores: objects by score, ``SCORE_BINS``.
        score_sum: of all scores.
    """

    asked: int
    present: int
    counts: tuple[int, ...]
    scores: tuple[int, ...]
    score_sum: float

    @property
    def objects(self) -> int:
        """Objects that were found, however many in a frame."""
        return sum(self.scores)


@dataclass(frozen=True, slots=True)
class Window:
    """One block of time of one camera under one model.

    Attributes:
        thing: the device.
        camera: the source; empty for errors, which name none.
        digest: of the model.
        start: of the block, seconds since 1970.
        frames: looked at, without errors.
        errors: frames and components that failed.
        latency: frames with a latency, the sum of the logarithms of their milliseconds, and of those squared.
        tallies: by prompt.
    """

    thing: str
    camera: str
    digest: str
    start: int
    frames: int = 0
    errors: int = 0
    latency: tuple[int, float, float] = (0, 0.0, 0.0)
    tallies: Mapping[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Everything that observations come to.

    Attributes:
        windows: by thing, camera, model and time.
        refused: devices that refused a bundle, with the time of the last refusal in seconds since 1970.
        incomplete: frames of which a part is missing.
        truncated: whether there were more observations than are added up.
    """

    windows: tuple[Window, ...]
    refused: Mapping[str, float]
    incomplete: int
    truncated: bool


@dataclass(slots=True)
class _Frame:
    """A frame that is being put together."""

    at: float
    parts: int
    share: float = 0.0
    latency_ms: float | None = None
    prompts: set[str] = field(default_factory=set)
    scores: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


@dataclass(slots=True)
class _Sum:
    """A window that is being added up."""

    frames: int = 0
    errors: int = 0
    latency: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    frames_of: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))


def aggregate(observations: Iterable[Observation], seconds: int = 600, most: int = MAX_OBSERVATIONS) -> Aggregate:
    """Add observations up.

    Args:
        observations: in any order, repetitions included.
        seconds: length of a block of time.
        most: observations that are looked at.
    """
    source = iter(observations)
    seen: dict[str, Observation] = {}
    for one in islice(source, most):
        seen.setdefault(one.id, one)
    truncated = next(source, None) is not None
    sums: dict[tuple[str, str, str, int], _Sum] = defaultdict(_Sum)
    refused: dict[str, float] = {}
    ordered = sorted(seen.values(), key=lambda one: (one.at, one.id))
    incomplete = 0
    for (thing, camera, digest), frame in _frames(ordered):
        if frame.share + 1e-6 < frame.parts:
            incomplete += 1
            continue
        _count(sums[thing, camera, digest, _block(frame.at, seconds)], frame)
    running: dict[str, str] = {}
    for one in ordered:
        if one.digest:
            running[one.thing] = one.digest
        elif one.kind == "refused":
            refused[one.thing] = one.at
        elif one.kind == "error" and one.thing in running:
            sums[one.thing, "", running[one.thing], _block(one.at, seconds)].errors += 1
    windows = tuple(_window(key, total) for key, total in sorted(sums.items()))
    return Aggregate(windows, refused, incomplete, truncated)


def _block(at: float, seconds: int) -> int:
    return int(at // seconds) * seconds


def _frames(ordered: Sequence[Observation]) -> Iterator[tuple[tuple[str, str, str], _Frame]]:
    """Frames put together from their messages, under device, camera and model."""
    frames: dict[tuple[str, str, str, str], _Frame] = {}
    for one in ordered:
        if one.kind != "detections":
            continue
        key = (one.thing, one.camera, one.digest, one.frame)
        frame = frames.setdefault(key, _Frame(one.at, one.parts, latency_ms=one.latency_ms))
        frame.share += one.share
        frame.prompts.update(one.prompts)
        for prompt, scores in one.scores.items():
            frame.scores[prompt] += scores
    for (thing, camera, digest, _), frame in frames.items():
        yield (thing, camera, digest), frame


def _count(total: _Sum, frame: _Frame) -> None:
    total.frames += 1
    if frame.latency_ms is not None:
        logarithm = math.log(frame.latency_ms)
        for index, value in enumerate((1.0, logarithm, logarithm**2)):
            total.latency[index] += value
    for prompt in frame.prompts:
        total.frames_of[prompt].append(frame.scores.get(prompt, []))


def _window(key: tuple[str, str, str, int], total: _Sum) -> Window:
    thing, camera, digest, start = key
    number, logarithms, squares = total.latency
    tallies = {prompt: _tally(frames) for prompt, frames in sorted(total.frames_of.items())}
    return Window(thing, camera, digest, start, total.frames, total.errors, (int(number), logarithms, squares), tallies)


def _tally(frames: Sequence[Sequence[float]]) -> Tally:
    counts, scores = [0] * COUNT_BINS, [0] * SCORE_BINS
    for found in frames:
        counts[min(len(found), COUNT_BINS - 1)] += 1
        for score in found:
            scores[min(int(score * SCORE_BINS), SCORE_BINS - 1)] += 1
    total = math.fsum(score for found in frames for score in found)
    return Tally(len(frames), len(frames) - counts[0], tuple(counts), tuple(scores), total)


def same_hours(before: Sequence[Window], after: Sequence[Window], seconds: int = 3600) -> tuple[Window, ...]:
    """Of the windows before, those at the hours of the day of the windows after: a night is not compared with a day."""
    hours = {_block(window.start % 86_400, seconds) for window in after}
    return tuple(window for window in before if _block(window.start % 86_400, seconds) in hours)
