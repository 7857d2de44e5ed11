"""What the canaries say, from the start of a roll-out on, compared with what they said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sam3edge_pipeline.rollout.quality import SampleRule, Verdict, judge
from sam3edge_pipeline.rollout.records import ObservationTable
from sam3edge_pipeline.rollout.windows import Aggregate, Window, aggregate, same_hours


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What is known of the canaries.

    Attributes:
        verdict: of the new model's quality.
        refused: devices that refused a bundle since the roll-out began.
    """

    verdict: Verdict
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CanaryWatch:
    """Reads and judges.

    Attributes:
        baseline_seconds: of detections before the roll-out that are compared with.
        block_seconds: length of a block of time.
        most: observations of one device, before and since, that are looked at.
        looks: how many times the canaries are judged in all.
    """

    table: ObservationTable
    rule: SampleRule
    baseline_seconds: float
    block_seconds: int
    most: int
    looks: int

    def report(self, things: Sequence[str], digest: str, started: float, now: float) -> CanaryReport:
        """Judge what was seen so far.

        Args:
            things: the canaries.
            digest: of the new model.
            started: when the roll-out began, seconds since 1970, as is ``now``.
        """
        before = self._aggregate(things, started - self.baseline_seconds, started)
        since = self._aggregate(things, started, now)
        after = _of(since, dict.fromkeys(things, digest))
        former = last_models(before.windows, digest)
        verdict = judge(same_hours(_of(before, former), after), after, self.rule, self.looks)
        return CanaryReport(verdict, tuple(sorted(since.refused)))

    def former_digest(self, things: Sequence[str], digest: str, started: float) -> str:
        """The model that every canary ran before; empty where they ran several, or none is known."""
        windows = self._aggregate(things, started - self.baseline_seconds, started).windows
        models = set(last_models(windows, digest).values())
        return models.pop() if len(models) == 1 else ""

    def _aggregate(self, things: Sequence[str], since: float, until: float) -> Aggregate:
        observations = (one for thing in things for one in self.table.read(thing, since, until, self.most))
        return aggregate(observations, self.block_seconds, self.most * max(1, len(things)))


def last_models(windows: Sequence[Window], but: str) -> dict[str, str]:
    """The model that each device ran last, other than one."""
    running: dict[str, str] = {}
    for window in sorted(windows, key=lambda one: one.start):
        if window.digest != but:
            running[window.thing] = window.digest
    return running


def _of(aggregated: Aggregate, models: Mapping[str, str]) -> tuple[Window, ...]:
    """Windows of each device under one model."""
    return tuple(window for window in aggregated.windows if models.get(window.thing) == window.digest)
