"""How much a device may spend in an hour and in a day: requests to the cloud, examples that are kept, bytes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HOUR, DAY = 3600, 86400

UNLIMITED = 1 << 60
"""A limit that nobody reaches."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Units in a clock hour and in a day of UTC; 0 allows none."""

    an_hour: int
    a_day: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent, as it is kept over restarts.

    Attributes:
        hour: which hour, counted from 1970.
        in_hour: units in it.
        day: which day, counted from 1970.
        in_day: units in it.
    """

    hour: int = 0
    in_hour: int = 0
    day: int = 0
    in_day: int = 0


class Budget:
    """Counts what is spent by clock hour and by day.

    A clock that is set back does not give anything back: what was spent then counts as spent now, in the hour and day
    that it shows when it is looked at next. ``spent`` by any thread, the rest by one.

    Args:
        spent: what was kept.
        keep: writes it down; called before anything is spent, so that no restart forgets it.
        clock: seconds since 1970.
        unit: what is counted, in the plural.
    """

    def __init__(
        self,
        limits: Limits,
        spent: Spent,
        keep: Callable[[Spent], None],
        clock: Callable[[], float],
        unit: str = "requests",
    ) -> None:
        self._limits = limits
        self._spent = spent
        self._keep = keep
        self._clock = clock
        self._unit = unit

    @property
    def spent(self) -> Spent:
        """In the present hour and day."""
        moment = int(self._clock())
        hour, day, before = moment // HOUR, moment // DAY, self._spent
        return Spent(hour, 0 if hour > before.hour else before.in_hour, day, 0 if day > before.day else before.in_day)

    def refusal(self, amount: int = 1) -> str:
        """Why this much may not be spent now; empty when it may."""
        self._spent = now = self.spent  # from now on, where the clock was set back: the next hour is free again
        if now.in_hour + amount > self._limits.an_hour:
            return f"the budget of {self._limits.an_hour} {self._unit} an hour is spent"
        if now.in_day + amount > self._limits.a_day:
            return f"the budget of {self._limits.a_day} {self._unit} a day is spent"
        return ""

    def take(self, amount: int = 1) -> None:
        """Count what is about to be spent; raises what ``keep`` raises, and then it must not."""
        now = self.spent
        fresh = Spent(now.hour, now.in_hour + amount, now.day, now.in_day + amount)
        self._keep(fresh)
        self._spent = fresh
