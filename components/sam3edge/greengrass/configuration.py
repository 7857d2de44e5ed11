"""Tells when the component's configuration has changed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.greengrass.callback_thread import EventThread
from sam3edge.greengrass.nucleus import Configuration, ConfigurationCallback

logger = logging.getLogger(__name__)


class ConfigurationWatch:
    """Reads the configuration a while after something was heard, and calls back if it is another one than before.

    Events name one changed key each and do not carry values, and a deployment changes keys one by one, so the whole is
    read once they have settled. Used in the event thread only.

    Args:
        read: reads the whole configuration.
        last: what was read before.
        callback: called with each configuration that differs from the one before.
        events: where reading is done.
        settle: seconds from the first event to reading.
        retry: seconds until the next attempt when reading failed.
    """

    def __init__(
        self,
        read: Callable[[], Configuration],
        last: Configuration | None,
        callback: ConfigurationCallback,
        events: EventThread,
        *,
        settle: float,
        retry: float,
    ) -> None:
        self._read = read
        self._last = last
        self._callback = callback
        self._events = events
        self._settle = settle
        self._retry = retry
        self._pending = False

    def changed(self) -> None:
        """Something may have changed."""
        self._read_after(self._settle)

    def _read_after(self, delay: float) -> None:
        if not self._pending:
            self._pending = True
            self._events.submit(self._check, delay)

    def _check(self) -> None:
        self._pending = False
        try:
            now = self._read()
        except ConnectionLost:
            return  # the connection reports it
        except PublishError as error:
            logger.warning("the configuration may have changed but cannot be read now: %s", error)
            self._read_after(self._retry)
            return
        if now != self._last:
            self._last = now
            self._callback(copy.deepcopy(now))
