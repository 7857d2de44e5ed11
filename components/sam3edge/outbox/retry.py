"""When to send, to retry and to replay: the rules of ``Delivery``, without clock, threads or database.

* **Pauses.** A message that failed rests for a random time up to ``first_pause * 2**n`` (see ``core/backoff``), while
  others continue. Messages that rest and messages that were never sent take turns, so that neither starve.
* **Congestion.** A failure halves what may be in flight, a success adds a little, as TCP does (additive increase,
  multiplicative decrease; RFC 5681): nucleus lite has one small buffer for all unacknowledged messages and refuses
  what does not fit.
* **Outages.** When as many attempts as ``in_flight`` failed with no success between, the transport itself is in doubt:
  until something gets through, one message at a time is sent, the smallest there is, with pauses that grow in the same
  way. The smallest, because it may be the size of the others that is in their way.
* **Incidents.** A topic is in trouble from a failure until the next success on it. That success ends the incident, and
  what was accepted before the failure may have been lost with it: time for a replay, one for each incident, with pauses
  between them that grow while incidents follow each other. A message that fails again although others on its topic got
  through since has only itself to blame, and begins no incident.
* **Size.** A message that fails again and again while smaller ones pass is too large for now, and so is every other of
  its size: ``split_below`` says so, as long as smaller ones keep passing.
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
        in_flight: messages that are sent at the same time, at most; 5 suits both nuclei.
        in_flight_bytes: of their payloads, at most; a larger message is sent alone.
        first_pause: upper bound of the pause after the first failure.
        longest_pause: upper bound of any pause.
        replay_pause: between the beginnings of the first two replays.
        longest_replay_pause: upper bound of the pause between replays; after twice the last one without an incident,
            they begin with ``replay_pause`` again.
        split_after: failures of a message, with smaller ones passing, after which it is split.
        split_memory: how long after the last success messages that are larger than what passes are split at once.
        stuck_after: how long a message may be refused before that is reported.
        flush_after: an acknowledgement is written at most this long after it arrived.
        flush_count: or when this many wait.
    """

    in_flight: int = 5
    in_flight_bytes: int = 1 << 20
    first_pause: float = 0.5
    longest_pause: float = 60.0
    replay_pause: float = 30.0
    longest_replay_pause: float = 3600.0
    split_after: int = 3
    split_memory: float = 60.0
    stuck_after: float = 300.0
    flush_after: float = 0.1
    flush_count: int = 64

    def __post_init__(self) -> None:
        if min(self.in_flight, self.in_flight_bytes, self.flush_count, self.split_after) < 1:
            raise ValueError(f"expected numbers of messages, bytes and failures of at least 1, got {self}")
        if not 0 < self.first_pause <= self.longest_pause:
            raise ValueError(f"expected 0 < first_pause <= longest_pause, got {self}")
        if not 0 <= self.replay_pause <= self.longest_replay_pause:
            raise ValueError(f"expected 0 <= replay_pause <= longest_replay_pause, got {self}")
        if min(self.stuck_after, self.flush_after) < 0:
            raise ValueError(f"expected no negative times, got {self}")


@dataclass(slots=True)
class _Failures:
    """Of one message: how many, the first and the last time, and the largest payload that passed since the first."""

    count: int
    first: float
    last: float
    passed: int = 0
    reported: bool = False


class Schedule:
    """The rules, told what happens and asked what may be done. Used by one thread; times come from one steady clock.

    Args:
        options: the settings.
        randomness: where the jitter comes from.
    """

    def __init__(self, options: DeliveryOptions, randomness: random.Random) -> None:
        self._options = options
        self._random = randomness
        self._window = float(options.in_flight)
        self._streak = 0
        self._quiet_until = -math.inf
        self._resting: list[tuple[float, int]] = []  # a heap of (due, seq), in part outdated
        self._due: dict[int, float] = {}  # seq -> due, of those that rest
        self._failures: dict[int, _Failures] = {}
        self._passes: int | None = None  # bytes of the largest message that passes, where larger ones do not
        self._passed_at = -math.inf
        self._troubled: dict[str, float] = {}  # topic -> last failure
        self._succeeded: dict[str, float] = {}  # topic -> last success
        self._replay_wanted = True  # the process before may have died in an incident
        self._replayed_at = -math.inf
        self._replays = 0  # that followed each other closely

    def failed(self, seq: int, topic: str, now: float) -> bool:
        """The message was not delivered and rests.

        Returns:
            Whether an incident has begun with it.
        """
        failures = self._failures.setdefault(seq, _Failures(0, now, -math.inf))
        own_fault = failures.count > 0 and self._succeeded.get(topic, -math.inf) > failures.last
        begun = not own_fault and topic not in self._troubled
        if not own_fault:
            self._troubled[topic] = now
        failures.count += 1
        failures.last = now
        self._due[seq] = now + self._pause(failures.count)
        heapq.heappush(self._resting, (self._due[seq], seq))
        self._window = max(1.0, self._window / 2)
        self._streak += 1
        if self.in_doubt:
            self._quiet_until = now + self._pause(self._streak - self._options.in_flight + 1)
        return begun

    def succeeded(self, seq: int, topic: str, size: int, now: float) -> None:
        """The message, of ``size`` bytes, was delivered."""
        self._failures.pop(seq, None)
        for failures in self._failures.values():
            failures.passed = max(failures.passed, size)
        self._passed_at = now
        if self._passes is not None:
            self._passes = max(self._passes, size)
        if self.in_doubt:
            self._wake_all(now)
        self._streak = 0
        self._quiet_until = -math.inf
        self._window = min(float(self._options.in_flight), self._window + 1 / self._window)
        self._succeeded[topic] = now
        if self._troubled.pop(topic, -math.inf) > self._replayed_at:
            self._replay_wanted = True

    def gone(self, seq: int) -> None:
        """The message has left the outbox in another way."""
        self._failures.pop(seq, None)
        self._due.pop(seq, None)

    def taken(self, seq: int) -> None:
        """The message is sent before its time."""
        self._due.pop(seq, None)

    def split_below(self, seq: int, size: int, now: float) -> int | None:
        """Bytes that the parts of a message that failed may have, if it is to be split; None if it is not."""
        failures = self._failures.get(seq)
        if failures is None or now > self._passed_at + self._options.split_memory:
            return None
        if failures.count >= self._options.split_after and 0 < failures.passed < size:
            self._passes = max(self._passes or 0, failures.passed)
        return self._passes if self._passes is not None and self._passes < size else None

    def newly_stuck(self, now: float) -> list[int]:
        """Messages that have been refused for ``stuck_after`` now; each is named once."""
        stuck = [
            seq
            for seq, failures in self._failures.items()
            if not failures.reported and now - failures.first >= self._options.stuck_after
        ]
        for seq in stuck:
            self._failures[seq].reported = True
        return stuck

    def refused_for(self, now: float) -> float:
        """Seconds since the first failure of the message that has been refused longest; 0 when none is."""
        return max((now - failures.first for failures in self._failures.values()), default=0.0)

    def free(self, in_flight: int, now: float) -> int:
        """How many more may be sent now."""
        if now < self._quiet_until:
            return 0
        return max(0, (1 if self.in_doubt else int(self._window)) - in_flight)

    def due(self, now: float) -> int | None:
        """The message that has rested longest beyond its time, which with this call rests no more."""
        if self._next_due() <= now:
            _, seq = heapq.heappop(self._resting)
            del self._due[seq]
            return seq
        return None

    def begin_replay(self, now: float) -> bool:
        """Whether a replay begins now."""
        if not self._replay_wanted or now < self._replay_due:
            return False
        self._replays = 1 if now >= self._replayed_at + 2 * self._replay_pause else self._replays + 1
        self._replay_wanted = False
        self._replayed_at = now
        return True

    def next_change(self, in_flight: int, now: float) -> float:
        """In how many seconds one of these answers changes by itself; infinity when none will."""
        moments = []
        if now < self._quiet_until:
            moments.append(self._quiet_until)
        elif self.free(in_flight, now) > 0:
            moments.append(self._next_due())
        if self._replay_wanted:
            moments.append(self._replay_due)
        return max(0.0, min(moments, default=math.inf) - now)

    @property
    def _replay_pause(self) -> float:
        """Between the last replay and the next one."""
        return ceiling(self._options.replay_pause, self._options.longest_replay_pause, max(1, self._replays))

    @property
    def _replay_due(self) -> float:
        return self._replayed_at + self._replay_pause

    @property
    def in_doubt(self) -> bool:
        """Whether the transport itself is."""
        return self._streak >= self._options.in_flight

    def _wake_all(self, now: float) -> None:
        """The transport is back: nothing need rest any longer; the oldest goes first."""
        self._due = {seq: min(due, now) for seq, due in self._due.items()}
        self._resting = sorted((due, seq) for seq, due in self._due.items())

    def _next_due(self) -> float:
        """When the first of those that rest is due; infinity when none rests."""
        while self._resting and self._due.get(self._resting[0][1]) != self._resting[0][0]:
            heapq.heappop(self._resting)
        return self._resting[0][0] if self._resting else math.inf

    def _pause(self, count: int) -> float:
        return self._random.uniform(0.0, ceiling(self._options.first_pause, self._options.longest_pause, count))
