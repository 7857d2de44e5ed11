"""Log lines about what others send: some a minute, and how many more there were, whatever is sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LINES = 10
SECONDS = 60.0


class Complaints:
    """Of one kind. Not for several threads at a time.

    Args:
        logger: where they are said: ``LINES`` in ``SECONDS``.
        level: of ``logging``.
        clock: seconds, monotonic.
    """

    def __init__(
        self, logger: logging.Logger, level: int = logging.WARNING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._level = level
        self._clock = clock
        self._since = clock()
        self._said = 0
        self._unsaid = 0

    def say(self, text: str, *arguments: object) -> None:
        """As ``Logger.log`` does, if there is room."""
        self.report()
        if self._said == LINES:
            self._unsaid += 1
            return
        self._said += 1
        self._logger.log(self._level, text, *arguments)

    def report(self) -> None:
        """Say how many were not said, when the time is over; to be called now and then."""
        if self._clock() - self._since < SECONDS:
            return
        if self._unsaid:
            self._logger.log(self._level, "and %d more like these within %.0f seconds", self._unsaid, SECONDS)
        self._since, self._said, self._unsaid = self._clock(), 0, 0
