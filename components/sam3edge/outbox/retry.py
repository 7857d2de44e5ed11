"""When to send, to retry and to replay: the rules of ``Delivery``, without clock, threads or database.

* A message that failed rests for a random time up to ``first_pause * 2**n`` (exponential back-off with full jitter,
  https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), while others continue.
* When as many attempts as may be in flight failed with no success between, the transport itself is in doubt: until
  something gets through, one message at a time is sent, with pauses that grow in the same way.
* Messages that rest and messages that were never sent take turns, so that neither can starve the other.
* A topic is in trouble from a failure until the next success on it. That success means that an error spell has ended,
  and what was accepted before the failure may have been lost with it: time for a replay. A message that fails again
  although others on its topic got through since has only itself to blame, and begins no spell.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

from sam3edge.core.backoff import ceiling


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How messages are sent. All times are in seconds.

    Attributes:
        in_flight: messages that are sent at the same time; 5 suits the classic nucleus, 10 is the most that nucleus
            lite takes.
        first_pause: upper bound of the pause after the first failure.
        longest_pause: upper bound of any pause.
        replay_pause: between the beginnings of two replays, so that a transport that flaps is not buried in
            repetitions.
        flush_after: an acknowledgement is written at most this long after it arrived.
        flush_count: or when this many wait.
    """

    in_flight: int = 5
    first_pause: float = 0.5
    longest_pause: float = 60.0
    replay_pause: float = 30.0
    flush_after: float = 0.1
    flush_count: int = 64

    def __post_init__(self) -> None:
        if self.in_flight < 1 or self.flush_count < 1:
            raise ValueError(f"in_flight and flush_count: expected at least 1, got {self}")
        if not 0 < self.first_pause <= self.longest_pause:
            raise ValueError(f"expected 0 < first_pause <= longest_pause, got {self}")
        if self.replay_pause < 0 or self.flush_after < 0:
            raise ValueError(f"replay_pause and flush_after: expected no negative numbers, got {self}")


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Schedule:
    """The rules, told what happens and asked what may be done. Used by one thread; times come from one steady clock.

    Args:
        options: the settings.
        randomness: where the jitter comes from.
    """

    def __init__(self, options: DeliveryOptions, randomness: random.Random) -> None:
        self._options = options
        self._random = randomness
        self._streak = 0
        self._quiet_until = -math.inf
        self._resting: list[tuple[float, int]] = []  # a heap of (due, seq)
        self._failures: dict[int, _Failures] = {}
        self._troubled: dict[str, float] = {}  # topic -> last failure
        self._succeeded: dict[str, float] = {}  # topic -> last success
        self._replay_wanted = True  # the process before may have died in an error spell
        self._replayed_at = -math.inf

    def failed(self, seq: int, topic: str, now: float) -> bool:
        """The message was not delivered and rests.

        Returns:
            Whether an error spell has begun with it.
        """
        before = self._failures.get(seq)
        own_fault = before is not None and self._succeeded.get(topic, -math.inf) > before.last
        begun = not own_fault and topic not in self._troubled
        if not own_fault:
            self._troubled[topic] = now
        failures = _Failures(1 if before is None else before.count + 1, now)
        self._failures[seq] = failures
        heapq.heappush(self._resting, (now + self._pause(failures.count), seq))
        self._streak += 1
        if self._in_doubt:
            self._quiet_until = now + self._pause(self._streak - self._options.in_flight + 1)
        return begun

    def succeeded(self, seq: int, topic: str, now: float) -> None:
        """The message was delivered."""
        self._failures.pop(seq, None)
        if self._in_doubt:
            self._wake_all(now)
        self._streak = 0
        self._quiet_until = -math.inf
        self._succeeded[topic] = now
        if self._troubled.pop(topic, -math.inf) > self._replayed_at:
            self._replay_wanted = True

    def gone(self, seq: int) -> None:
        """The message has left the outbox in another way."""
        self._failures.pop(seq, None)

    def free(self, in_flight: int, now: float) -> int:
        """How many more may be sent now."""
        if now < self._quiet_until:
            return 0
        return max(0, (1 if self._in_doubt else self._options.in_flight) - in_flight)

    def due(self, now: float) -> int | None:
        """The message that has rested longest beyond its time, which with this call rests no more."""
        if self._resting and self._resting[0][0] <= now:
            return heapq.heappop(self._resting)[1]
        return None

    def begin_replay(self, now: float) -> bool:
        """Whether a replay begins now."""
        if not self._replay_wanted or now < self._replayed_at + self._options.replay_pause:
            return False
        self._replay_wanted = False
        self._replayed_at = now
        return True

    def next_change(self, in_flight: int, now: float) -> float:
        """In how many seconds one of these answers changes by itself; infinity when none will."""
        moments = []
        if now < self._quiet_until:
            moments.append(self._quiet_until)
        elif self._resting and self.free(in_flight, now) > 0:
            moments.append(self._resting[0][0])
        if self._replay_wanted:
            moments.append(self._replayed_at + self._options.replay_pause)
        return max(0.0, min(moments, default=math.inf) - now)

    @property
    def _in_doubt(self) -> bool:
        return self._streak >= self._options.in_flight

    def _wake_all(self, now: float) -> None:
        """The transport is back: nothing need rest any longer; the oldest goes first."""
        self._resting = sorted((min(due, now), seq) for due, seq in self._resting)

    def _pause(self, count: int) -> float:
        return self._random.uniform(0.0, ceiling(self._options.first_pause, self._options.longest_pause, count))
