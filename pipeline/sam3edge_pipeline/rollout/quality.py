"""Is the canary as good as it was? The new model against the one before it, on the same devices and cameras.

The sample rule. A judgement needs, of every camera and under both models, ``min_frames`` frames in ``min_blocks``
blocks of time, and it must be able to see a change by ``effect`` of how many objects are found in a frame: the smallest
change that the frames at hand show with probability ``power`` is worked out and must not be larger. What cannot be
judged is not passed.

The tests. One test covers all cameras and prompts: the objects found per frame, stratified by camera. It has half of
``alpha``. The others (of each device its errors; of each camera its latency; of each camera and prompt the share of
frames with an object, the distance of the distributions of counts, and the fall of the mean score) share the other half
(Holm). A judgement that is made several times while the canary bakes divides ``alpha`` by the number of times. So a
model that is as good as the one before is taken for a worse one with a probability of at most ``alpha``.

Of scores only a fall is looked at, and only of their mean: a model that was trained again has a scale of its own, and
what it costs to be nearer to the thresholds shows in the counts.

A change counts when it is both significant and large enough to matter (the members of ``SampleRule`` from ``change``
on): with enough frames everything is significant. Finding more is a change, too: it is more often wrong than right.

What this cannot see: scenes that changed between the two times for reasons of their own. Frames before are taken from
the same hours of the day (``windows.same_hours``). Nor can it see who lies: a device says what it likes of its own
cameras, and can so hold a roll-out up. So a verdict names the devices that it is about, and no device has more than
``MAX_CAMERAS`` cameras and ``MAX_PROMPTS`` prompts in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import nlargest
from itertools import groupby
from typing import Any, Literal, TypeAlias

from sam3edge_pipeline.rollout.observations import MAX_PROMPTS
from sam3edge_pipeline.rollout.statistics import (
    Mean,
    clustered_mean,
    compare_shares,
    distance,
    distance_p,
    holm,
    one_sided,
    share_of,
    smallest_effect,
    two_sided,
)
from sam3edge_pipeline.rollout.windows import SCORE_BINS, Tally, Window

Outcome: TypeAlias = Literal["passed", "worse", "insufficient"]

MAX_REASONS = 20
"""Reasons that a verdict spells out; the rest is counted."""

MAX_CAMERAS = 16
"""Of a device, which are compared: those with the most frames before."""


@dataclass(frozen=True, slots=True)
class SampleRule:
    """How many frames a judgement needs, and which changes matter.

    Attributes:
        min_frames: of each camera, under each model.
        min_blocks: of time that they are from.
        effect: relative change of the objects found per frame that must be seen, when it is there, ...
        power: ... with this probability.
        alpha: probability, at most, of finding fault with a model that is as good as the one before.
        change: relative change of objects per frame, or of presence, from which on it matters.
        gap: Kolmogorov's distance of counts from which on it matters, 0..1.
        score_fall: fall of the mean score from which on it matters, 0..1.
        slower: factor of latency from which on it matters.
        more_errors: increase of the share of errors from which on it matters.
    """

    min_frames: int = 300
    min_blocks: int = 12
    effect: float = 0.3
    power: float = 0.9
    alpha: float = 0.05
    change: float = 0.1
    gap: float = 0.1
    score_fall: float = 0.1
    slower: float = 1.25
    more_errors: float = 0.02

    def __post_init__(self) -> None:
        if self.min_frames < 1 or self.min_blocks < 2:
            raise ValueError("expected min_frames from 1 and min_blocks from 2 on; correct the sample rule")
        if not (0 < self.alpha < 1 and 0 < self.power < 1 and 0 < self.effect <= 1):
            raise ValueError("expected alpha, power and effect between 0 and 1; correct the sample rule")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test.

    Attributes:
        thing: the device that it is about; of all cameras the one that contributes most to the difference.
        subject: what was compared: the device, the camera, the prompt.
        measure: ``objects per frame``, ``errors``, ``latency``, ``presence``, ``counts`` or ``scores``.
        before, after: of the two models; milliseconds of latency, shares, means.
        p_value: of no change.
        matters: whether the change is large enough to matter.
        significant: whether it is no chance, among all tests.
    """

    thing: str
    subject: str
    measure: str
    before: float
    after: float
    p_value: float
    matters: bool
    significant: bool = False

    def __str__(self) -> str:
        return (
            f"{self.measure} of {self.subject}: {self.before:.4g} before, {self.after:.4g} now (p={self.p_value:.2g})"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement.

    Attributes:
        outcome: ``passed``, ``worse``, or ``insufficient``: too little was seen to say.
        reasons: for people: what is worse, or what is missing.
        devices: that the reasons are about.
        smallest_effect: relative change of the objects found per frame that this sample shows; None where there is
            nothing to compare.
        frames_before, frames_after: that were compared.
        comparisons: every test.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    devices: tuple[str, ...]
    smallest_effect: float | None
    frames_before: int
    frames_after: int
    comparisons: tuple[Comparison, ...]

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge(before: Sequence[Window], after: Sequence[Window], rule: SampleRule, looks: int = 1) -> Verdict:
    """Compare two models on the same cameras.

    Args:
        before: windows under the model before.
        after: windows under the new one, of the same devices.
        looks: how many times the judgement is made in all.
    """
    alpha = rule.alpha / looks / 2
    cameras = _cameras(before, after)
    missing = [(camera.thing, reason) for camera in cameras for reason in camera.missing(rule)]
    judged = [camera for camera in cameras if not list(camera.missing(rule))]
    overall, smallest = _overall(judged, rule, alpha)
    if not cameras:
        missing.append(("", "no camera sent detections under the model before; let the canary run first"))
    elif not missing and (smallest is None or smallest > rule.effect):
        missing.append(("", _too_coarse(smallest, rule)))
    tests = [*_errors(before, after, rule), *(one for camera in judged for one in camera.compare(rule))]
    decided = [
        *(_decide(one, one.p_value <= alpha) for one in overall),
        *map(_decide, tests, holm([one.p_value for one in tests], alpha)),
    ]
    worse = [(one.thing, str(one)) for one in decided if one.significant and one.matters]
    outcome: Outcome = "worse" if worse else "insufficient" if missing else "passed"
    found = worse or missing
    reasons = _bounded([reason for _, reason in found])
    devices = tuple(sorted({thing for thing, _ in found if thing}))
    frames = [sum(window.frames for window in side) for side in (before, after)]
    return Verdict(outcome, reasons, devices, smallest, frames[0], frames[1], tuple(decided))


def _bounded(reasons: Sequence[str]) -> tuple[str, ...]:
    left = len(reasons) - MAX_REASONS
    return (*reasons[:MAX_REASONS], f"and {left} more") if left > 0 else tuple(reasons)


def _too_coarse(smallest: float | None, rule: SampleRule) -> str:
    if smallest is None:
        return "the model before found nothing on any camera, so that finding less cannot be seen"
    return (
        f"expected to see a change of {rule.effect:.0%} of the objects found per frame, "
        f"this sample shows changes from {smallest:.0%} on"
    )


def _decide(one: Comparison, significant: bool) -> Comparison:
    return replace(one, significant=significant)


def _place(window: Window) -> tuple[str, str]:
    return window.thing, window.camera


def _cameras(before: Sequence[Window], after: Sequence[Window]) -> list[_Camera]:
    """Windows of both sides by camera; a camera that is new has nothing to be compared with."""

    def grouped(side: Sequence[Window]) -> dict[tuple[str, str], tuple[Window, ...]]:
        frames = sorted((window for window in side if window.frames), key=_place)
        return {place: tuple(windows) for place, windows in groupby(frames, _place)}

    old, new = grouped(before), grouped(after)
    found = (_Camera(*place, windows, new.get(place, ())) for place, windows in old.items())
    by_device = groupby(found, lambda camera: camera.thing)
    return [one for _, of_device in by_device for one in nlargest(MAX_CAMERAS, of_device, key=_Camera.frames_before)]


@dataclass(frozen=True, slots=True)
class _Camera:
    """One camera of a device under both models."""

    thing: str
    camera: str
    before: tuple[Window, ...]
    after: tuple[Window, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.thing}/{self.camera}"

    def frames_before(self) -> int:
        """Frames under the model before."""
        return sum(window.frames for window in self.before)

    def missing(self, rule: SampleRule) -> Iterator[str]:
        """What the sample rule lacks."""
        for when, side in (("under the model before", self.before), ("under the new model", self.after)):
            frames, blocks = sum(window.frames for window in side), len(side)
            if frames < rule.min_frames or blocks < rule.min_blocks:
                yield (
                    f"expected {rule.min_frames} frames in {rule.min_blocks} blocks of time of {self.name} {when}, "
                    f"got {frames} in {blocks}"
                )
        if self.before and self.after and not self.prompts():
            yield f"{self.name} was asked for other prompts than before, so that nothing can be compared"

    def prompts(self) -> tuple[str, ...]:
        """Prompts that both models were asked for; of too many those that were asked most."""
        both = _asked(self.before) & _asked(self.after)
        return tuple(sorted(nlargest(MAX_PROMPTS, both, key=both.__getitem__)))

    def found(self, side: Sequence[Window]) -> Mean:
        """Objects per frame; between blocks they vary at least as for independent frames and prompts."""
        prompts = self.prompts()
        blocks = [(w.frames, float(sum(w.tallies[p].objects for p in prompts if p in w.tallies))) for w in side]
        return clustered_mean(blocks, sum(_spread(_total([t.counts for t in _tallies(side, p)])) for p in prompts))

    def compare(self, rule: SampleRule) -> Iterator[Comparison]:
        """Every test of this camera alone."""
        latency = _latency(self, rule)
        if latency is not None:
            yield latency
        for prompt in self.prompts():
            subject = f"{prompt!r} on {self.name}"
            old, new = _share(self.before, prompt), _share(self.after, prompt)
            p_value = compare_shares(old, new)
            matters = _changed(old.value, new.value, rule)
            yield Comparison(self.thing, subject, "presence", old.value, new.value, p_value, matters)
            yield from _distributions(self, subject, prompt, rule)


def _overall(cameras: Sequence[_Camera], rule: SampleRule, alpha: float) -> tuple[tuple[Comparison, ...], float | None]:
    """Objects per frame over all cameras, each weighted by its frames (Cochran), and the smallest relative change
    that can be seen."""
    weights, variance, base, blocks = 0.0, 0.0, 0.0, 0
    parts: list[tuple[float, _Camera]] = []
    for camera in cameras:
        old, new = camera.found(camera.before), camera.found(camera.after)
        weight = old.count * new.count / (old.count + new.count)
        weights += weight
        parts.append((weight * (new.value - old.value), camera))
        variance += weight**2 * (old.variance + new.variance)
        base += weight * old.value
        blocks += old.blocks + new.blocks - 2
    if not weights or not base:
        return (), None
    difference, variance, base = sum(part for part, _ in parts) / weights, variance / weights**2, base / weights
    _, most = max(parts, key=lambda part: part[0] * difference)
    p_value = two_sided(difference, variance, blocks)
    now = base + difference
    subject = f"all cameras, most of it by {most.name}" if len(parts) > 1 else most.name
    test = Comparison(most.thing, subject, "objects per frame", base, now, p_value, _changed(base, now, rule))
    return (test,), smallest_effect(variance, alpha, rule.power) / base


def _changed(before: float, after: float, rule: SampleRule) -> bool:
    """Whether a relative change is large enough to matter; against nothing, anything is."""
    return abs(after - before) >= rule.change * before if before else after > 0


def _tallies(side: Sequence[Window], prompt: str) -> list[Tally]:
    return [window.tallies[prompt] for window in side if prompt in window.tallies]


def _asked(side: Sequence[Window]) -> Counter[str]:
    """Frames that were asked for each prompt."""
    counted: Counter[str] = Counter()
    for window in side:
        counted.update({prompt: tally.asked for prompt, tally in window.tallies.items()})
    return counted


def _share(side: Sequence[Window], prompt: str) -> Mean:
    """Share of the frames that were asked for a prompt in which it is present."""
    return share_of([(tally.asked, tally.present) for tally in _tallies(side, prompt)])


def _distributions(camera: _Camera, subject: str, prompt: str, rule: SampleRule) -> Iterator[Comparison]:
    sides = _tallies(camera.before, prompt), _tallies(camera.after, prompt)
    counts = [_total([tally.counts for tally in side]) for side in sides]
    means = [_mean_count(side, total) for side, total in zip(sides, counts, strict=True)]
    sizes = [mean.effective(_spread(total)) for mean, total in zip(means, counts, strict=True)]
    gap = distance(*counts)
    old, new = (mean.value for mean in means)
    yield Comparison(camera.thing, subject, "counts", old, new, distance_p(gap, *sizes), gap >= rule.gap)
    if all(any(tally.objects for tally in side) for side in sides):
        was, now = (_mean_score(side) for side in sides)
        fall = was.value - now.value
        p_value = one_sided(fall, was.variance + now.variance, was.blocks + now.blocks - 2)
        yield Comparison(camera.thing, subject, "scores", was.value, now.value, p_value, fall >= rule.score_fall)


def _total(histograms: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*histograms, strict=True)]


def _spread(histogram: Sequence[int]) -> float:
    """Variance of the number of the bin."""
    count = sum(histogram)
    mean = sum(i * n for i, n in enumerate(histogram)) / count
    return sum(n * (i - mean) ** 2 for i, n in enumerate(histogram)) / count


def _mean_count(side: Sequence[Tally], total: Sequence[int]) -> Mean:
    blocks = [(tally.asked, float(sum(i * n for i, n in enumerate(tally.counts)))) for tally in side]
    return clustered_mean(blocks, _spread(total))


def _mean_score(side: Sequence[Tally]) -> Mean:
    unit = _spread(_total([tally.scores for tally in side])) / SCORE_BINS**2
    return clustered_mean([(tally.objects, tally.score_sum) for tally in side], unit)


def _latency(camera: _Camera, rule: SampleRule) -> Comparison | None:
    """Whether frames take longer: the means of the logarithms, so that the difference is a factor."""
    old, new = (_logarithm(side) for side in (camera.before, camera.after))
    if old is None or new is None:
        return None
    difference = new.value - old.value
    p_value = one_sided(difference, old.variance + new.variance, old.blocks + new.blocks - 2)
    slower = math.exp(difference) >= rule.slower
    before, after = math.exp(old.value), math.exp(new.value)
    return Comparison(camera.thing, camera.name, "latency", before, after, p_value, slower)


def _logarithm(side: Sequence[Window]) -> Mean | None:
    count = sum(window.latency[0] for window in side)
    if not count:
        return None
    mean = sum(window.latency[1] for window in side) / count
    unit = sum(window.latency[2] for window in side) / count - mean**2
    return clustered_mean([(window.latency[0], window.latency[1]) for window in side], unit)


def _errors(before: Sequence[Window], after: Sequence[Window], rule: SampleRule) -> Iterator[Comparison]:
    """Whether a device fails more often: errors name no camera, so all of a device's are taken together."""
    old, new = _failures(before), _failures(after)
    for thing in sorted(old.keys() & new.keys()):
        was, now = share_of(old[thing]), share_of(new[thing])
        p_value = compare_shares(was, now, greater_only=True)
        matters = now.value - was.value >= rule.more_errors
        yield Comparison(thing, thing, "errors", was.value, now.value, p_value, matters)


def _failures(side: Sequence[Window]) -> Mapping[str, list[tuple[int, int]]]:
    """Of each device, by block of time: frames and errors together, and errors."""
    blocks: dict[str, dict[int, tuple[int, int]]] = {}
    for window in side:
        tried, failed = blocks.setdefault(window.thing, {}).get(window.start, (0, 0))
        total = (tried + window.frames + window.errors, failed + window.errors)
        blocks[window.thing][window.start] = total
    return {thing: list(of.values()) for thing, of in blocks.items()}
