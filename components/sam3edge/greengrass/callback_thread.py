"""One thread for callbacks, beside the SDK's event loop, which must never be made to wait for IPC."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

Job = Callable[[], None]


class EventThread:
    """Runs jobs one after the other, in the order in which they are due. A job that raises is logged, and the next one
    runs.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._order = itertools.count()
        self._jobs: list[tuple[float, int, Job]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, delay: float = 0.0) -> None:
        """Run ``job`` after ``delay`` seconds. Nothing happens after ``close``."""
        with self._changed:
            heapq.heappush(self._jobs, (time.monotonic() + delay, next(self._order), job))
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Run no more jobs, and wait at most ``timeout`` seconds for the one that runs. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # the supervisor loop of callbacks: one that fails must not silence the others
                logger.exception("a callback failed")

    def _next(self) -> Job | None:
        with self._changed:
            while not self._closed:
                wait = self._jobs[0][0] - time.monotonic() if self._jobs else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(wait)
        return None
