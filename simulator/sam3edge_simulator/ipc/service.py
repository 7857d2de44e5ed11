"""The seam between the wire and what answers: requests, streams, and the protocol of a service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Answer: TypeAlias = Mapping[str, object]
"""Members of a response or event, in the names of the wire; what JSON can carry."""

STREAMING: Mapping[str, str] = {
    "SubscribeToComponentUpdates": "ComponentUpdatePolicyEvents",
    "SubscribeToConfigurationUpdate": "ConfigurationUpdateEvents",
    "SubscribeToIoTCore": "IoTCoreMessage",
    "SubscribeToTopic": "SubscriptionResponseMessage",
    "SubscribeToValidateConfigurationUpdates": "ValidateConfigurationUpdateEvents",
}
"""Operations whose stream stays open after the response, and the shape of the events on it."""


class Stream:
    """The open end of a subscription: events sent here reach one client. Used by several threads.

    Events sent before the response of the subscription went out wait for it, so that a service may register the stream
    first and answer afterwards without losing or overtaking anything.
    """

    def __init__(self, write: Callable[[Answer], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._early: list[Answer] | None = []
        self._closed = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def closed(self) -> bool:
        """Whether the client has unsubscribed or gone."""
        return self._closed

    def send(self, event: Answer) -> None:
        """Send one event; dropped without a word when the stream is closed."""
        with self._lock:
            if self._closed:
                return
            if self._early is not None:
                self._early.append(event)
            else:
                self._write(event)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once when the client unsubscribes or goes; at once when it already has."""
        with self._lock:
            if not self._closed:
                self._callbacks.append(callback)
                return
        callback()

    def opened(self) -> None:
        """The response went out: what waited for it follows. Called by the connection."""
        with self._lock:
            for event in self._early or ():
                self._write(event)
            self._early = None

    def close(self) -> None:
        """End the stream. Called by the connection."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request of one component.

    Attributes:
        component: the caller, as ``Service.authenticate`` named it.
        operation: name without namespace, ``PublishToIoTCore``.
        payload: the decoded JSON object, in the names of the wire; MQTT payloads are base64 in it.
        stream: where events go; only the operations in ``STREAMING`` may use it.
    """

    component: str
    operation: str
    payload: Mapping[str, object]
    stream: Stream


class Service(Protocol):
    """What answers requests. Called from one thread per connection, in the order in which the requests came."""

    def authenticate(self, token: str) -> str:
        """Name of the component with this token.

        Raises:
            InvalidTokenError: there is none; the connection is refused.
        """

    def handle(self, request: Request) -> Answer | Future[Answer]:
        """Answer one request.

        Must not block: what takes time is returned as a future, and the connection continues with the next request.

        Raises:
            IpcError: answered to the client as it is; a future may fail with it too.
            ConnectionDropped: the whole connection is closed without an answer.
        """
