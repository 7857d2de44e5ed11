"""What a camera usually shows: running mean and spread of counts and presence, by source and prompt."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

MAX_SERIES = 512
"""Of those, the ones that were not seen for longest are forgotten."""

MEMORY = 500
"""Frames after which a frame's weight has fallen to about a third."""


@dataclass(frozen=True, slots=True)
class Usual:
    """Exponentially weighted mean and variance (Finch, "Incremental calculation of weighted mean and variance", 2009,
    section 9). The first ``MEMORY`` frames weigh the same, so that it is soon near the truth.

    Attributes:
        frames: seen so far.
    """

    frames: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def after(self, value: float) -> Usual:
        """With one more frame."""
        weight = 1 / min(self.frames + 1, MEMORY)
        difference = value - self.mean
        step = weight * difference
        return Usual(self.frames + 1, self.mean + step, (1 - weight) * (self.variance + difference * step))

    def deviations(self, value: float, least: float) -> float:
        """How many standard deviations a value is away from the mean.

        Args:
            least: the smallest standard deviation that is believed: what never changed may change once.
        """
        return abs(value - self.mean) / max(math.sqrt(self.variance), least)


class UsualCounts:
    """The usual values of every series, bounded."""

    def __init__(self, size: int = MAX_SERIES) -> None:
        self._size = size
        self._series: OrderedDict[tuple[str, str, str], Usual] = OrderedDict()

    def see(self, series: tuple[str, str, str], value: float) -> Usual:
        """Take a value in.

        Args:
            series: source, prompt, and what is measured.

        Returns:
            What was usual before it.
        """
        before = self._series.pop(series, Usual())
        self._series[series] = before.after(value)
        if len(self._series) > self._size:
            self._series.popitem(last=False)
        return before
