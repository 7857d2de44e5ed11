"""A stream of events from the nucleus that is opened again whenever it ends."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sam3edge.core.errors import ConnectionLost, PublishError, SettingsError
from sam3edge.greengrass.callback_thread import EventThread

logger = logging.getLogger(__name__)


class Operation(Protocol):
    """An open stream of the SDK."""

    def close(self) -> Any:
        """Begin to close it."""


@dataclass(frozen=True, slots=True)
class StreamCallbacks:
    """What the SDK calls, from its event loop."""

    on_event: Callable[[Any], None]
    on_error: Callable[[Exception], bool]
    on_closed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream is opened again.

    Attributes:
        first_pause: seconds before the first attempt; doubled with each that fails.
        longest_pause: upper bound.
    """

    first_pause: float = 1.0
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.first_pause <= self.longest_pause:
            raise ValueError(f"expected 0 < first_pause <= longest_pause, got {self}")


class KeptStream:
    """Opens a stream, and opens it again, after pauses that grow, whenever it ends.

    Args:
        name: for the log.
        events: where events are handled and the stream is opened again.
        open_: opens the stream and returns its operation; raises SettingsError when it is not allowed, PublishError or
            ConnectionLost when it does not work.
        handle: called with every event, in the thread of ``events``.
        on_open: called in that thread whenever the stream was opened.
        options: how it is opened again.

    Raises:
        SettingsError: at the first opening.
        ConnectionLost: at the first opening.
    """

    def __init__(
        self,
        name: str,
        events: EventThread,
        open_: Callable[[StreamCallbacks], Operation],
        handle: Callable[[Any], None],
        *,
        on_open: Callable[[], None],
        options: StreamOptions,
    ) -> None:
        self._name = name
        self._events = events
        self._open = open_
        self._handle = handle
        self._on_open = on_open
        self._options = options
        self._lock = threading.RLock()
        self._generation = 0  # changes with every stream: what concerns an earlier one is not listened to
        self._operation: Operation | None = None
        self._failures = 0
        self._closed = False
        try:
            self._try()
        except PublishError as error:
            if isinstance(error, ConnectionLost):
                raise
            self._retry(error)

    def renew(self) -> None:
        """Close the stream and open it again, in the thread of ``events``."""
        self._reopen_after(0.0)

    def close(self) -> None:
        """No more events. Idempotent."""
        with self._lock:
            self._closed = True
            self._drop()

    def _try(self) -> None:
        with self._lock:
            self._drop()
            if self._closed:
                return
            generation = self._generation

            def heard(event: Any) -> None:
                self._events.submit(lambda: self._hear(generation, event))

            def failed(error: Exception) -> bool:
                logger.warning("the stream of %s failed: %s", self._name, type(error).__name__)
                return True  # close it; it is opened again

            def ended() -> None:
                self._events.submit(lambda: self._ended(generation))

            try:
                self._operation = self._open(StreamCallbacks(heard, failed, ended))
            except BaseException:
                self._drop()  # the SDK tells the end of a stream that was refused, too
                raise
            self._failures = 0
        self._events.submit(self._on_open)

    def _drop(self) -> None:
        self._generation += 1
        operation, self._operation = self._operation, None
        if operation is not None:
            operation.close()

    def _hear(self, generation: int, event: Any) -> None:
        with self._lock:
            current = generation == self._generation
        if current:
            self._handle(event)

    def _ended(self, generation: int) -> None:
        with self._lock:
            if generation != self._generation or self._closed:
                return
            self._operation = None
            logger.warning("the stream of %s ended and is opened again", self._name)
            self._reopen_after(self._pause())

    def _reopen_after(self, pause: float) -> None:
        with self._lock:
            generation = self._generation
        self._events.submit(lambda: self._reopen(generation), pause)

    def _reopen(self, generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return  # it was opened meanwhile
        try:
            self._try()
        except ConnectionLost:
            return  # whoever holds the connection reports it
        except (PublishError, SettingsError) as error:
            self._retry(error)

    def _retry(self, error: Exception) -> None:
        pause = self._pause()
        logger.warning("%s cannot be received now, next attempt in %.1f s: %s", self._name, pause, error)
        self._reopen_after(pause)

    def _pause(self) -> float:
        self._failures += 1
        bound = min(self._options.longest_pause, self._options.first_pause * 2.0 ** min(self._failures - 1, 40))
        return random.uniform(bound / 2, bound)
