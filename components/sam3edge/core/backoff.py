"""How long to wait before the next attempt: everything that tries again asks here.

Exponential back-off, bounded; with jitter where many devices would else return to one server at the same moment
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

from __future__ import annotations

import random
from collections.abc import Callable


def ceiling(shortest: float, longest: float, attempts: int) -> float:
    """Seconds to wait, at most, after this many attempts in vain: doubles from ``shortest`` to ``longest``.

    Args:
        attempts: at least 1.
    """
    return min(longest, shortest * 2.0 ** min(attempts - 1, 60))


class Backoff:
    """Waits that double from ``shortest`` to ``longest`` seconds; each lies between half of that and all of it."""

    def __init__(
        self, shortest: float, longest: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._shortest = shortest
        self._longest = longest
        self._uniform = uniform
        self._attempts = 0

    def next(self) -> float:
        """Seconds to wait now; the next will be up to twice as long."""
        self._attempts += 1
        most = ceiling(self._shortest, self._longest, self._attempts)
        return self._uniform(most / 2, most)

    def reset(self) -> None:
        """It worked: begin with the shortest wait again."""
        self._attempts = 0
