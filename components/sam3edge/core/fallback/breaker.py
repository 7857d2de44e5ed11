"""When to leave a failing service alone, and when to try again.

The circuit breaker is that of M. Nygard, *Release It!*; retries follow the AWS Builders' Library, *Timeouts, retries,
and backoff with jitter*: once, spread out, and only what may succeed the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sam3edge.core.backoff import ceiling
from sam3edge.core.errors import EndpointError

State: TypeAlias = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class BreakerOptions:
    """When it opens and closes.

    Attributes:
        failures: number in a row that opens it.
        pause: seconds that it stays open; twice as long after each failed probe.
        longest_pause: seconds, at most; also of what an endpoint asks for.
        probes: successes in a row that close it again.
    """

    failures: int = 3
    pause: float = 30.0
    longest_pause: float = 600.0
    probes: int = 2


class Breaker:
    """Lets requests through, none, or one at a time to probe. Used by one thread, which asks one thing at a time.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, options: BreakerOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._state: State = "closed"
        self._in_a_row = 0
        self._openings = 1  # in a row, the next included
        self._until = 0.0

    @property
    def state(self) -> State:
        """``half-open`` as soon as the next request may probe."""
        return "half-open" if self._state == "open" and self._clock() >= self._until else self._state

    def refusal(self) -> str:
        """Why no request may go out now; empty when one may."""
        left = self._until - self._clock()
        if left <= 0:
            return ""
        why = "failed too often" if self._state == "open" else "asked to be left alone"
        return f"the endpoint {why} and is asked again in {left:.0f} s"

    def succeeded(self) -> None:
        """A request succeeded."""
        self._until = 0.0
        if self._state == "closed":
            self._in_a_row = 0
            return
        if self._state == "open":
            self._state, self._in_a_row = "half-open", 0
        self._in_a_row += 1
        if self._in_a_row >= self._options.probes:
            self._state, self._in_a_row, self._openings = "closed", 0, 1

    def failed(self, retry_after: float | None = None) -> None:
        """A request failed.

        Args:
            retry_after: seconds that the endpoint asks to be left alone for.
        """
        now, options = self._clock(), self._options
        if self._state == "closed":
            self._in_a_row += 1
            opens = self._in_a_row >= options.failures
        else:
            self._openings += 1
            opens = True
        if opens:
            pause = ceiling(options.pause, options.longest_pause, self._openings)
            self._state, self._in_a_row, self._until = "open", 0, now + pause
        self._until = max(self._until, now + min(retry_after or 0.0, options.longest_pause))


@dataclass(frozen=True, slots=True)
class Retry:
    """Whether a failed request is worth another one.

    Attributes:
        shortest, longest: seconds between the two, drawn evenly; an endpoint that asks for more is not retried, for the
            frame does not wait so long.
        least: seconds that have to be left for the second.
    """

    shortest: float = 0.2
    longest: float = 1.0
    least: float = 1.0

    def pause(self, error: EndpointError, left: float, uniform: Callable[[float, float], float]) -> float | None:
        """Seconds to wait before the second request; None when there is none.

        Args:
            left: seconds of the frame's time.
            uniform: draws a number between two.
        """
        wanted = error.retry_after or 0.0
        if not error.retryable or wanted > self.longest:
            return None
        pause = uniform(max(self.shortest, wanted), self.longest)
        return pause if left - pause >= self.least else None
