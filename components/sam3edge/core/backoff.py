"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Doubles from ``shortest`` to ``longest`` seconds; each wait lies between half of that and all of it.

    The spread keeps many devices from returning to one server at the same moment.
    """

    def __init__(
        self, shortest: float, longest: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._shortest = shortest
        self._longest = longest
        self._uniform = uniform
        self._ceiling = shortest

    def next(self) -> float:
        """Seconds to wait now; the next will be up to twice as long."""
        ceiling = self._ceiling
        self._ceiling = min(2 * ceiling, self._longest)
        return self._uniform(ceiling / 2, ceiling)

    def reset(self) -> None:
        """It worked: begin with the shortest wait again."""
        self._ceiling = self._shortest
