"""A publisher in memory whose failures are scripted. It keeps the same contract as the real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from enum import Enum

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.core.types import Message


class Fate(Enum):
    """What becomes of one attempt when nothing goes wrong visibly."""

    ACCEPTED = "accepted"
    LOST = "lost"
    """The transport says yes and loses the message, as a nucleus does whose broker dies."""


class FakePublisher:
    """Remembers what was published.

    Args:
        script: what becomes of the next attempts, one each: a fate, or an error to be raised. OnProcessed every
            attempt is accepted. A scripted ``ConnectionLost`` is final.
        delay: seconds that every attempt takes.

    Attributes:
        outage: raised by every attempt while it is not None.
    """

    def __init__(self, script: Iterable[Fate | PublishError] = (), *, delay: float = 0.0) -> None:
        self.outage: PublishError | None = None
        self._script = iter(tuple(script))
        self._delay = delay
        self._lock = threading.Lock()
        self._accepted: list[Message] = []
        self._attempts: list[Message] = []
        self._final: PublishError | None = None
        self._running = self._most_running = 0

    @property
    def accepted(self) -> tuple[Message, ...]:
        """What arrived, repetitions included, in the order of acceptance."""
        with self._lock:
            return tuple(self._accepted)

    @property
    def attempts(self) -> tuple[Message, ...]:
        """Every message of every attempt, in the order of their beginning."""
        with self._lock:
            return tuple(self._attempts)

    @property
    def most_in_flight(self) -> int:
        """How many attempts were under way at the same time, at most."""
        with self._lock:
            return self._most_running

    def publish(self, message: Message) -> None:
        """Do what the script says."""
        with self._lock:
            self._attempts.append(message)
            self._running += 1
            self._most_running = max(self._most_running, self._running)
        try:
            time.sleep(self._delay)
            with self._lock:
                error = self._final or self.outage
                fate = Fate.LOST if error else next(self._script, Fate.ACCEPTED)
                if isinstance(fate, PublishError):
                    error = fate
                if isinstance(error, ConnectionLost):
                    self._final = error
                if error is not None:
                    raise error
                if fate is Fate.ACCEPTED:
                    self._accepted.append(message)
        finally:
            with self._lock:
                self._running -= 1

    def close(self) -> None:
        """Every later attempt fails. Idempotent."""
        with self._lock:
            self._final = self._final or PublishError("The publisher is closed.")
