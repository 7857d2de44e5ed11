"""One event of two."""

from __future__ import annotations

import threading
import time

LOOK_SECONDS = 0.1
"""How long it may take until one of two events is noticed by somebody who waits for both."""


class EitherEvent(threading.Event):
    """Set when one of two events is, whoever sets it."""

    def __init__(self, first: threading.Event, second: threading.Event) -> None:
        super().__init__()
        self._events = (first, second)

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        first, _ = self._events
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (remaining := deadline - time.monotonic()) > 0:
            first.wait(min(remaining, LOOK_SECONDS))
        return self.is_set()
