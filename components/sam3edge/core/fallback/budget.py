"""How many requests a device may pay for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HOUR, DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests in a clock hour and in a day of UTC; 0 allows none."""

    an_hour: int
    a_day: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent, as it is kept over restarts.

    Attributes:
        hour: which hour, counted from 1970.
        in_hour: requests in it.
        day: which day, counted from 1970.
        in_day: requests in it.
    """

    hour: int = 0
    in_hour: int = 0
    day: int = 0
    in_day: int = 0


class Budget:
    """Counts requests by clock hour and by day.

    A clock that is set back does not give anything back: what was spent then counts as spent now.

    Args:
        spent: what was kept.
        keep: writes it down; called before a request goes out, so that no restart forgets one.
        clock: seconds since 1970.
    """

    def __init__(self, limits: Limits, spent: Spent, keep: Callable[[Spent], None], clock: Callable[[], float]) -> None:
        self._limits = limits
        self._spent = spent
        self._keep = keep
        self._clock = clock

    @property
    def spent(self) -> Spent:
        """In the present hour and day."""
        moment = int(self._clock())
        hour, day, before = moment // HOUR, moment // DAY, self._spent
        return Spent(hour, 0 if hour > before.hour else before.in_hour, day, 0 if day > before.day else before.in_day)

    def refusal(self) -> str:
        """Why no request may go out now; empty when one may."""
        now = self.spent
        if now.in_hour >= self._limits.an_hour:
            return f"the budget of {self._limits.an_hour} requests an hour is spent"
        if now.in_day >= self._limits.a_day:
            return f"the budget of {self._limits.a_day} requests a day is spent"
        return ""

    def take(self) -> None:
        """Count a request that is about to go out; raises what ``keep`` raises, and then it must not."""
        now = self.spent
        fresh = Spent(now.hour, now.in_hour + 1, now.day, now.in_day + 1)
        self._keep(fresh)
        self._spent = fresh
