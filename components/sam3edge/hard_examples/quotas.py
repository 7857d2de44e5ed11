"""How much of what is worth a label is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sam3edge.budget_file import BudgetFile
from sam3edge.core.fallback.budget import UNLIMITED, Budget, Limits
from sam3edge.hard_examples.selection import Kind


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What may be kept.

    A device that is offline loses nothing for ``max_bytes / bytes_per_day`` days: that is how long a full day's quota
    can be kept before the oldest examples have to go.

    Attributes:
        per_hour: examples in a clock hour. A quarter of them, one at least, is only for random ones: else the others
            would take the hour's quota in its first minutes, and what is left would be no sample.
        bytes_per_day: of examples that are kept in a day of UTC, since they are to be uploaded.
        max_bytes: of all examples together on the disk.
    """

    per_hour: int = 20
    bytes_per_day: int = 64 << 20
    max_bytes: int = 512 << 20

    @property
    def random_per_hour(self) -> int:
        """Of ``per_hour``, for random ones."""
        return min(self.per_hour, max(1, self.per_hour // 4))


class Quotas:
    """Counts over restarts what is kept.

    Args:
        folder: where it is written down.
        clock: seconds since 1970.
    """

    def __init__(self, limits: QuotaLimits, folder: Path, clock: Callable[[], float]) -> None:
        def budget(name: str, an_hour: int, a_day: int, unit: str) -> Budget:
            file = BudgetFile(folder / f"{name}.json")
            return Budget(Limits(an_hour, a_day), file.read(), file.write, clock, unit)

        reserved = limits.random_per_hour
        self._random = budget("random", reserved, UNLIMITED, "random examples")
        self._others = budget("others", limits.per_hour - reserved, UNLIMITED, "examples")
        self._bytes = budget("bytes", UNLIMITED, limits.bytes_per_day, "bytes")

    def refusal(self, kind: Kind, size: int = 0) -> str:
        """Why no example of this kind, and of this many bytes, may be kept now; empty when it may."""
        return self._examples(kind).refusal() or self._bytes.refusal(size)

    def take(self, kind: Kind, size: int) -> None:
        """Count an example that is about to be written.

        Raises:
            OSError: it cannot be counted, so it must not be written.
        """
        self._examples(kind).take()
        self._bytes.take(size)

    def _examples(self, kind: Kind) -> Budget:
        return self._random if kind == "random" else self._others
