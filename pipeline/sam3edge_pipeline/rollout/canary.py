"""What the canaries say, from the start of a roll-out on, compared with what they said before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sam3edge_pipeline.rollout.observations import Observation
from sam3edge_pipeline.rollout.quality import SampleRule, Verdict, judge
from sam3edge_pipeline.rollout.records import ObservationTable
from sam3edge_pipeline.rollout.windows import Aggregate, Window, aggregate, same_hours

MAX_RECENT = 1000
"""Messages of a device that are searched for the model that it ran last."""

_AT_A_TIME = 20
"""Of these: nearly always the first names its model."""

_DAY = 86_400.0


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
        baseline_seconds: before the roll-out, of which the same hours of each day are compared with; whole days.
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
        since = self._aggregate(things, lambda thing: self.table.read(thing, started, now, self.most))
        before = self._aggregate(things, lambda thing: self._earlier(thing, started, now))
        after = _of(since, dict.fromkeys(things, digest))
        former = self.former_models(things, digest, started)
        verdict = judge(same_hours(_of(before, former), after), after, self.rule, self.looks)
        return CanaryReport(verdict, tuple(sorted(since.refused)))

    def former_models(self, things: Sequence[str], digest: str, started: float) -> dict[str, str]:
        """The model that each canary ran last before the roll-out, by its digest; without those that said nothing."""
        running: dict[str, str] = {}
        for thing in things:
            newest = self.table.read(thing, started - self.baseline_seconds, started, MAX_RECENT, _AT_A_TIME)
            last = next((one.digest for one in newest if one.digest not in ("", digest)), None)
            if last is not None:
                running[thing] = last
        return running

    def former_digest(self, things: Sequence[str], digest: str, started: float) -> str:
        """The model that all canaries ran before; empty where they ran several, or none is known."""
        models = set(self.former_models(things, digest, started).values())
        return models.pop() if len(models) == 1 else ""

    def _earlier(self, thing: str, started: float, now: float) -> Iterator[Observation]:
        """What a device said on the days before at the hours since the roll-out began, the day before first."""
        left, length = self.most, min(now - started, _DAY)
        for day in range(1, int(self.baseline_seconds // _DAY) + 1):
            for one in self.table.read(thing, started - day * _DAY, started - day * _DAY + length, left):
                left -= 1
                yield one

    def _aggregate(self, things: Sequence[str], read: Callable[[str], Iterator[Observation]]) -> Aggregate:
        observations = (one for thing in things for one in read(thing))
        return aggregate(observations, self.block_seconds, self.most * max(1, len(things)))


def _of(aggregated: Aggregate, models: Mapping[str, str]) -> tuple[Window, ...]:
    """Windows of each device under one model."""
    return tuple(window for window in aggregated.windows if models.get(window.thing) == window.digest)
