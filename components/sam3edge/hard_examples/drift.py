"""Drift without labels: whether what a model says of a camera's frames is still distributed as it was.

For each source and prompt, presence, best score, number of objects and their median area are counted into fixed bins,
once for a reference window and then for the last frames. Two windows are compared by the Jensen-Shannon divergence in
bits (0: the same, 1: nothing in common; Lin, "Divergence measures based on the Shannon entropy", 1991), each weighted
by its size and the whole divided by the entropy of the weights, so that 1 is the most there can be. Undivided and times
``2 N ln 2`` it is the likelihood ratio statistic G, which follows a chi-squared distribution when
both windows come from the same one (Grosse et al., "Analysis of symbolic sequences using the Jensen-Shannon
divergence", 2002). So there is an alarm when the divergence is large enough to matter (``threshold``) and too large to
be chance in windows of this size (``chance``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, median
from typing import Any, Literal, TypeAlias, get_args

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Detections, Frame, Prompt

Metric: TypeAlias = Literal["presence", "score", "count", "area"]
METRICS: tuple[Metric, ...] = get_args(Metric)

EDGES: dict[Metric, tuple[float, ...]] = {
    "presence": (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95),
    "score": (0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9),
    "count": (0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5),
    "area": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6),
}
"""Where the bins of a metric meet. Probabilities are 0..1, an area is the median share of the frame that the objects
cover, and absent where there are none."""

BINS = 8
NOTHING = BINS
"""Stands for a value that a frame does not have."""


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """How drift is found.

    Attributes:
        reference: frames of the reference window: the first ones that a source and prompt have with a model.
        window: frames of the window that is compared with it.
        seconds: between two frames of the same source that count, since frames that follow each other closely say the
            same thing twice; 0 to count all.
        threshold: the divergence from which on a difference matters, in bits, 0..1.
        chance: how often one comparison of two windows of the same distribution may exceed what is taken for chance.
        least: values that a window needs before it is compared.
    """

    reference: int = 1000
    window: int = 200
    seconds: float = 10.0
    threshold: float = 0.03
    chance: float = 5e-5
    least: int = 50

    def __post_init__(self) -> None:
        if not (self.window > 0 and self.reference > 0 and 0 < self.chance < 1 and 0 < self.threshold <= 1):
            raise SettingsError(
                "expected windows of at least one frame, a chance between 0 and 1 and a threshold up to 1, "
                f"got {self.reference}, {self.window}, {self.chance} and {self.threshold}"
            )


Sample: TypeAlias = tuple[int, int, int, int]
"""The bins of one frame, one a metric; ``NOTHING`` where it has no value."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far the last frames are from the reference in one metric.

    Attributes:
        bits: Jensen-Shannon divergence, 0..1.
        limit: from which on it is an alarm.
    """

    metric: Metric
    bits: float
    limit: float

    @property
    def alarm(self) -> bool:
        """Whether it matters and is not chance."""
        return self.bits >= self.limit


@dataclass(slots=True)
class Series:
    """The windows of one source and prompt.

    Attributes:
        model, threshold: what the reference was seen with; another one begins another reference.
        reference: counts by metric and bin.
        seen: frames in the reference.
        recent: the last frames, the oldest first.
        alarms: since when, by metric; RFC 3339.
        added: frames since the process began.
    """

    model: str
    threshold: float
    reference: list[list[int]] = field(default_factory=lambda: [[0] * BINS for _ in METRICS])
    seen: int = 0
    recent: deque[Sample] = field(default_factory=deque)
    alarms: dict[str, str] = field(default_factory=dict)
    added: int = 0

    def add(self, sample: Sample, options: DriftOptions) -> None:
        """Take a frame in: into the reference until that is full, then into the window."""
        if self.seen < options.reference:
            self.seen += 1
            for counts, bin_ in zip(self.reference, sample, strict=True):
                if bin_ != NOTHING:
                    counts[bin_] += 1
            return
        self.recent.append(sample)
        while len(self.recent) > options.window:
            self.recent.popleft()

    def divergences(self, options: DriftOptions) -> list[Divergence]:
        """Of every metric of which both windows have enough values; none before the window is full."""
        if len(self.recent) < options.window:
            return []
        found = []
        for number, metric in enumerate(METRICS):
            counts = [0] * BINS
            for sample in self.recent:
                if sample[number] != NOTHING:
                    counts[sample[number]] += 1
            reference = self.reference[number]
            if min(sum(reference), sum(counts)) >= options.least:
                bits, limit = divergence(reference, counts), chance_limit(reference, counts, options.chance)
                found.append(Divergence(metric, bits, max(limit, options.threshold)))
        return found


def sample_of(frame: Frame, prompt: Prompt, found: Detections) -> Sample:
    """The bins of one frame for one prompt."""
    confidence = found.confidence.get(prompt)
    objects = [detection for detection in found.detections if detection.prompt == prompt]
    best = confidence.best if confidence is not None else max((d.score for d in objects), default=None)
    share = median(d.area for d in objects) / (frame.width * frame.height) if objects else None
    return (
        _bin("presence", None if confidence is None else confidence.presence),
        _bin("score", best),
        _bin("count", len(objects)),
        _bin("area", share),
    )


def divergence(one: Sequence[int], other: Sequence[int]) -> float:
    """The Jensen-Shannon divergence in bits of two histograms, each weighted by its number of values."""
    total = sum(one) + sum(other)
    pooled = [a + b for a, b in zip(one, other, strict=True)]
    bits = _entropy(pooled) - sum(one) / total * _entropy(one) - sum(other) / total * _entropy(other)
    return max(0.0, bits / _entropy((sum(one), sum(other))))


def chance_limit(one: Sequence[int], other: Sequence[int], chance: float) -> float:
    """The divergence in bits that two windows of one distribution exceed this rarely.

    Args:
        one, other: histograms, for their numbers of values and for how many bins are in use.
        chance: 0..1.
    """
    total = sum(one) + sum(other)
    freedom = max(1, sum(1 for a, b in zip(one, other, strict=True) if a + b) - 1)
    g = chi_squared_quantile(1 - chance, freedom)
    return g / (2 * total * math.log(2)) / _entropy((sum(one), sum(other)))


def chi_squared_quantile(share: float, freedom: int) -> float:
    """By Wilson and Hilferty ("The distribution of chi-square", 1931), within some percent."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(share) * math.sqrt(spread)) ** 3)


def _entropy(counts: Sequence[int]) -> float:
    """In bits."""
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n)


def _bin(metric: Metric, value: float | None) -> int:
    return NOTHING if value is None else sum(1 for edge in EDGES[metric] if value >= edge)


def write_series(series: Series) -> dict[str, Any]:
    """As JSON."""
    return {
        "model": series.model,
        "threshold": series.threshold,
        "reference": series.reference,
        "seen": series.seen,
        "recent": "".join(str(bin_) for sample in series.recent for bin_ in sample),
        "alarms": series.alarms,
    }


def read_series(value: Any) -> Series:
    """What ``write_series`` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        bins = [int(digit) for digit in value["recent"]]
        reference = [[int(count) for count in counts] for counts in value["reference"]]
        read = Series(str(value["model"]), float(value["threshold"]), reference, int(value["seen"]))
        read.alarms.update((metric, str(since)) for metric, since in value["alarms"].items() if metric in METRICS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected a series of drift, got {type(error).__name__}") from error
    whole = len(bins) % len(METRICS) == 0 and max(bins, default=0) <= NOTHING and len(reference) == len(METRICS)
    if not whole or any(len(counts) != BINS or min(counts) < 0 for counts in reference) or read.seen < 0:
        raise ValueError(f"expected {len(METRICS)} histograms of {BINS} bins each")
    read.recent.extend((bins[i], bins[i + 1], bins[i + 2], bins[i + 3]) for i in range(0, len(bins), len(METRICS)))
    return read
