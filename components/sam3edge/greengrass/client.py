"""The nucleus over the official SDK (awsiotsdk, Greengrass IPC client V2).

The SDK calls stream handlers in its event loop, where waiting for IPC would wait for ever, so they do nothing but hand
over to an ``EventThread``; that is where all callbacks of this module run.

The SDK's own logger, ``awsiot``, writes whole payloads at level DEBUG: programs keep it at INFO.
"""

from __future__ import annotations

import concurrent.futures
import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.client import GreengrassCoreIPCClient

from sam3edge.core.errors import ConnectionLost, PublishError, PublishRejected, SettingsError
from sam3edge.greengrass.callback_thread import EventThread
from sam3edge.greengrass.configuration import ConfigurationWatch
from sam3edge.greengrass.connection import Connection
from sam3edge.greengrass.nucleus import (
    Configuration,
    ConfigurationCallback,
    MessageHandler,
    State,
    Subscription,
)
from sam3edge.greengrass.streams import KeptStream, StreamCallbacks, StreamOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """All times are in seconds.

    Attributes:
        timeout: for the connection and for the answer to any request.
        settle: a deployment changes values one by one; the configuration is read so long after the first change.
        streams: how streams that end are opened again.
    """

    timeout: float = 10.0
    settle: float = 0.5
    streams: StreamOptions = field(default_factory=StreamOptions)


class GreengrassClient:
    """The nucleus of this process; make one, and keep it.

    Args:
        options: times.
        on_lost: called once, in a thread of its own, when the connection is gone and was not closed by ``close``. The
            program has to leave with a non-zero status then, so that the nucleus starts it again with a new token.
        socket: path of the nucleus's socket; None takes it from the environment that the nucleus gives its components.
        token: this component's token; None likewise.

    Raises:
        ConnectionLost: no connection could be made.
    """

    def __init__(
        self,
        options: ClientOptions | None = None,
        *,
        on_lost: Callable[[ConnectionLost], None],
        socket: str | None = None,
        token: str | None = None,
    ) -> None:
        self._options = options or ClientOptions()
        self._last_configuration: Configuration | None = None
        self._streams: list[KeptStream] = []
        self._connection = Connection(self._options.timeout, on_lost, socket=socket, token=token)
        self._events = EventThread("greengrass-events")

    def configuration(self) -> Configuration:
        """See ``Nucleus``."""
        try:
            answer = self._connection.ask(
                "GetConfiguration",
                GreengrassCoreIPCClient.new_get_configuration,
                model.GetConfigurationRequest(key_path=[]),
            )
        except model.ResourceNotFoundError:
            self._last_configuration = {}
        except model.GreengrassCoreIPCError as error:
            raise _refused("GetConfiguration", error) from error
        else:
            self._last_configuration = dict(answer.value or {})
        return copy.deepcopy(self._last_configuration)

    def on_configuration(self, callback: ConfigurationCallback) -> Subscription:
        """See ``Nucleus``. It is read after each event, and whenever the stream was opened."""
        watch = ConfigurationWatch(
            self.configuration,
            self._last_configuration,
            callback,
            self._events,
            settle=self._options.settle,
            retry=self._options.streams.first_pause,
        )
        return self._keep(
            "SubscribeToConfigurationUpdate",
            "the component's own configuration",
            lambda ipc, handlers: ipc.subscribe_to_configuration_update_async(key_path=[], **handlers),
            lambda event: watch.changed(),
            on_open=watch.changed,
        )

    def update_configuration(self, merge: Configuration) -> None:
        """See ``Nucleus``."""
        now = datetime.now(timezone.utc)
        try:
            self._connection.ask(
                "UpdateConfiguration",
                GreengrassCoreIPCClient.new_update_configuration,
                model.UpdateConfigurationRequest(key_path=[], timestamp=now, value_to_merge=merge),
            )
        except model.GreengrassCoreIPCError as error:
            raise _refused("UpdateConfiguration", error) from error

    def publish(self, topic: str, payload: bytes) -> None:
        """See ``Nucleus``.

        Raises:
            PublishRejected: denied by access control, or not a message to the nucleus; it helps nobody to try on.
        """
        qos = model.QOS.AT_LEAST_ONCE
        try:
            self._connection.ask(
                "PublishToIoTCore",
                GreengrassCoreIPCClient.new_publish_to_iot_core,
                model.PublishToIoTCoreRequest(topic_name=topic, qos=qos, payload=payload),
            )
        except model.UnauthorizedError as error:
            raise PublishRejected(_denied("PublishToIoTCore", topic)) from error
        except model.InvalidArgumentsError as error:
            raise PublishRejected(f"the nucleus refused PublishToIoTCore on {topic}: {_text(error)}") from error
        except model.GreengrassCoreIPCError as error:
            raise _refused(f"PublishToIoTCore on {topic}", error) from error

    def subscribe(self, pattern: str, handler: MessageHandler) -> Subscription:
        """See ``Nucleus``. A nucleus that cannot subscribe now, because it is offline, is asked again later."""
        qos = model.QOS.AT_LEAST_ONCE

        def handle(event: Any) -> None:
            if event.message is not None:
                handler(event.message.topic_name, event.message.payload or b"")

        return self._keep(
            "SubscribeToIoTCore",
            pattern,
            lambda ipc, handlers: ipc.subscribe_to_iot_core_async(topic_name=pattern, qos=qos, **handlers),
            handle,
        )

    def update_state(self, state: State) -> None:
        """See ``Nucleus``."""
        try:
            self._connection.ask(
                "UpdateState", GreengrassCoreIPCClient.new_update_state, model.UpdateStateRequest(state=state)
            )
        except model.GreengrassCoreIPCError as error:
            raise _refused("UpdateState", error) from error

    def close(self) -> None:
        """End the connection and all callbacks. Idempotent."""
        for stream in self._streams:
            stream.close()
        self._connection.close()
        self._events.close(self._options.timeout)

    def _keep(
        self,
        operation: str,
        resource: str,
        begin: Callable[[Any, dict[str, Any]], tuple[Any, Any]],
        handle: Callable[[Any], None],
        on_open: Callable[[], None] = lambda: None,
    ) -> Subscription:
        stream = KeptStream(
            resource,
            self._events,
            lambda callbacks: self._open(operation, resource, begin, callbacks),
            handle,
            on_open=on_open,
            options=self._options.streams,
        )
        self._streams.append(stream)
        return stream

    def _open(
        self,
        operation: str,
        resource: str,
        begin: Callable[[Any, dict[str, Any]], tuple[Any, Any]],
        callbacks: StreamCallbacks,
    ) -> Any:
        handlers = {
            "on_stream_event": callbacks.on_event,
            "on_stream_error": callbacks.on_error,
            "on_stream_closed": callbacks.on_closed,
        }
        opened: list[Any] = []

        def start(ipc: Any) -> concurrent.futures.Future[Any]:
            answer, stream = begin(ipc, handlers)
            opened.append(stream)
            future: concurrent.futures.Future[Any] = answer
            return future

        try:
            self._connection.open(operation, start)
        except model.UnauthorizedError as error:
            raise SettingsError(_denied(operation, resource)) from error
        except model.GreengrassCoreIPCError as error:
            raise _refused(f"{operation} on {resource}", error) from error
        except PublishError:
            for stream in opened:  # an answer that comes after all must not leave a second stream behind
                stream.close()
            raise
        return opened[0]


def _text(error: Any) -> str:
    return f"{type(error).__name__}: {error.message or 'no reason given'}"


def _refused(what: str, error: Any) -> PublishError:
    return PublishError(f"the nucleus refused {what}: {_text(error)}")


def _denied(operation: str, resource: str) -> str:
    return (
        f"the nucleus denies {operation} on {resource}; expected in the accessControl of the recipe or the deployment: "
        f"operation aws.greengrass#{operation} with {resource} among its resources"
    )
