"""The few tests that the judgement of a canary needs. Standard library only, so that a Lambda function carries them.

Frames of one camera resemble those before and after them, so a thousand frames are not a thousand independent trials.
They are therefore counted in blocks of time, and variances are taken from what differs *between* blocks (the ratio
estimator of cluster sampling: Cochran, "Sampling Techniques", 3rd ed., 6.4 and 9A.2). They are never taken to be
smaller than independent frames would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of something over frames, and how sure it is.

    Attributes:
        value: the mean.
        count: frames.
        variance: of the mean.
        blocks: of time that it was taken from.
    """

    value: float
    count: int
    variance: float
    blocks: int

    def effective(self, unit: float) -> float:
        """Independent frames that would be as sure.

        Args:
            unit: variance of one frame.
        """
        return self.count if self.variance <= 0 else min(float(self.count), unit / self.variance)


def clustered_mean(blocks: Sequence[tuple[int, float]], unit: float) -> Mean:
    """The mean over blocks of frames.

    Args:
        blocks: of each block how many frames it has, and the sum over them.
        unit: variance of one frame, which bounds the variance of the mean from below.

    Raises:
        ValueError: there are no frames.
    """
    filled = [(count, total) for count, total in blocks if count > 0]
    count = sum(n for n, _ in filled)
    if not count:
        raise ValueError("expected at least one frame, got none")
    value = sum(total for _, total in filled) / count
    independent = max(unit, 0.0) / count
    number = len(filled)
    if number < 2:
        return Mean(value, count, independent, number)
    between = sum((total - value * n) ** 2 for n, total in filled) * number / (number - 1) / count**2
    return Mean(value, count, max(between, independent), number)


def share_of(blocks: Sequence[tuple[int, int]]) -> Mean:
    """A share of frames over blocks of (frames, frames that count)."""
    count = sum(n for n, _ in blocks)
    share = sum(hits for _, hits in blocks) / count if count else 0.0
    return clustered_mean(blocks, share * (1 - share))


def two_sided(difference: float, variance: float, freedom: int) -> float:
    """P-value of a difference whose variance was estimated with ``freedom`` degrees of freedom."""
    if variance <= 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * (1 - _NORMAL.cdf(_as_normal(abs(difference) / math.sqrt(variance), freedom)))


def one_sided(difference: float, variance: float, freedom: int) -> float:
    """P-value against a difference that is greater than zero."""
    both = two_sided(difference, variance, freedom)
    return both / 2 if difference > 0 else 1 - both / 2


def compare_shares(before: Mean, after: Mean, *, greater_only: bool = False) -> float:
    """Two-proportion z-test with a pooled share, each side with its own design effect.

    Args:
        greater_only: whether only ``after`` > ``before`` counts, with a continuity correction, for rare events.
    """
    total = before.count + after.count
    pooled = (before.value * before.count + after.value * after.count) / total
    unit = pooled * (1 - pooled)
    sizes = [
        side.effective(side.value * (1 - side.value)) if side.variance > 0 else side.count for side in (before, after)
    ]
    variance = unit * (1 / sizes[0] + 1 / sizes[1])
    difference, freedom = after.value - before.value, before.blocks + after.blocks - 2
    if not greater_only:
        return two_sided(difference, variance, freedom)
    corrected = difference - 0.5 * (1 / before.count + 1 / after.count)
    return 1.0 if corrected <= 0 else one_sided(corrected, variance, freedom)


def distance(before: Sequence[int], after: Sequence[int]) -> float:
    """Kolmogorov's distance of two histograms over the same bins, 0..1: the largest gap of cumulative shares."""
    totals = sum(before), sum(after)
    if not all(totals):
        return 0.0
    gap, left, right = 0.0, 0, 0
    for a, b in zip(before, after, strict=True):
        left, right = left + a, right + b
        gap = max(gap, abs(left / totals[0] - right / totals[1]))
    return gap


def distance_p(gap: float, before: float, after: float) -> float:
    """P-value of such a distance by Kolmogorov's distribution with Stephens' correction; conservative for bins.

    Args:
        before, after: independent observations on each side.
    """
    if before <= 0 or after <= 0 or gap <= 0:
        return 1.0
    size = math.sqrt(before * after / (before + after))
    point = gap * (size + 0.12 + 0.11 / size)
    terms = (2 * (-1) ** (j - 1) * math.exp(-2 * j * j * point * point) for j in range(1, 101))
    return min(1.0, max(0.0, sum(terms))) if point > 0.2 else 1.0


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses of a family are rejected, the chance of any false one being at most ``alpha`` (Holm 1979)."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def smallest_effect(variance: float, alpha: float, power: float) -> float:
    """The difference that a two-sided test at ``alpha`` finds with probability ``power``."""
    return (_NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)) * math.sqrt(variance)


def _as_normal(t: float, freedom: int) -> float:
    """A value of Student's t as the normal value of about the same probability (Wallace 1959)."""
    if freedom < 1:
        return 0.0
    return math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
