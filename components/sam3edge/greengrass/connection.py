"""The one connection of the process to its nucleus, and how it is noticed that it is gone.

A process makes one connection and keeps it: making clients repeatedly leaks, and no client ever reconnects. How the SDK
shows a dead connection, and what is made of it:

* ``LifecycleHandler.on_disconnect``: lost; told to ``on_lost``, so that an idle component hears of it too.
* ``ConnectionClosedError``, ``StreamClosedError`` or ``AwsCrtError`` from a request: lost if the disconnect was told or
  is shortly, otherwise only this request has failed.
* Nothing at all until the time is over: the nucleus is asked for the configuration, which needs no network. If that is
  answered, only this request has failed; if not: lost.

The SDK holds on to an operation until its stream has ended. The classic nucleus ends it with the answer; lite leaves
that to the client, and the SDK's V2 client never does it: every message published would leave some 7 KB behind. So
requests with one answer are made with the operations themselves here, and ended.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import awsiot.greengrasscoreipc
from awscrt.exceptions import AwsCrtError
from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.client import GreengrassCoreIPCClient
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from sam3edge.core.errors import ConnectionLost, PublishError

logger = logging.getLogger(__name__)

_DISCONNECT_GRACE = 1.0  # between the end of a request and the news that the connection has ended with it

_LINGERING = 16
"""An operation is ended when so many others were answered after it. The classic nucleus has ended its stream by then,
which this side knows, and is not written to about a stream that it has forgotten."""

Begin = Callable[[GreengrassCoreIPCClientV2], "concurrent.futures.Future[Any]"]
New = Callable[[GreengrassCoreIPCClient], Any]
"""Makes an operation of the SDK, such as ``GreengrassCoreIPCClient.new_publish_to_iot_core``."""


class Connection:
    """Connects when it is made.

    Args:
        timeout: seconds, for the connection and for each answer.
        on_lost: called once, in a thread of its own, when the connection is gone and was not closed by ``close``.
        socket: path of the nucleus's socket; None takes it from the environment that the nucleus gives its components.
        token: this component's token; None likewise.

    Raises:
        ConnectionLost: no connection could be made.
    """

    def __init__(
        self, timeout: float, on_lost: Callable[[ConnectionLost], None], *, socket: str | None, token: str | None
    ) -> None:
        self._timeout = timeout
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._reason = ""
        self._closed = False
        self._answered: deque[Any] = deque()
        try:
            client = awsiot.greengrasscoreipc.connect(
                ipc_socket=socket,
                authtoken=token,
                lifecycle_handler=_Lifecycle(self._disconnected),
                timeout=timeout,
            )
        except (KeyError, OSError, RuntimeError, AwsCrtError, concurrent.futures.TimeoutError) as error:
            raise ConnectionLost(
                f"No connection to the Greengrass nucleus ({type(error).__name__}: {error}). Expected to be started by "
                "the nucleus, with its socket in AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT and a valid token "
                "in SVCUID; a token becomes invalid when the nucleus restarts."
            ) from error
        # Without executor: its threads may change the order of events. Stream callbacks come in the SDK's event loop.
        self._client = GreengrassCoreIPCClientV2(client=client, executor=None)

    def ask(self, operation: str, new: New, request: Any) -> Any:
        """Make a request that has one answer, and wait for it.

        Args:
            operation: its name, for messages.
            new: makes it.
            request: what it is activated with.

        Raises:
            GreengrassCoreIPCError: the SDK's own: the nucleus has answered with this error.
            PublishError: there was no answer, but the connection lives.
            ConnectionLost: the connection is gone.
        """
        return self._explained(operation, lambda: self._ask(new, request))

    def open(self, operation: str, begin: Begin) -> Any:
        """Begin a stream of events, and wait for the first answer; whoever began it ends it.

        Args:
            operation: its name, for messages.
            begin: starts it.

        Raises:
            As ``ask``.
        """
        return self._explained(operation, lambda: begin(self._client).result(self._timeout))

    def _ask(self, new: New, request: Any) -> Any:
        operation = new(self._client.client)
        try:
            operation.activate(request).result(self._timeout)
            return operation.get_response().result(self._timeout)
        finally:
            self._end_later(operation)

    def _end_later(self, operation: Any) -> None:
        with self._lock:
            self._answered.append(operation)
            ended = self._answered.popleft() if len(self._answered) > _LINGERING else None
        if ended is not None:
            ended.close()

    def _explained(self, operation: str, work: Callable[[], Any]) -> Any:
        self._check()
        try:
            return work()
        except model.GreengrassCoreIPCError:
            raise
        except concurrent.futures.TimeoutError as error:
            if not self._answers():
                self._declare_lost(f"no answer to {operation} within {self._timeout} s")
            self._check()
            raise PublishError(
                f"No answer to {operation} within {self._timeout} s; the nucleus itself lives."
            ) from error
        except (RuntimeError, AwsCrtError) as error:
            if self._lost.wait(_DISCONNECT_GRACE):
                raise self._error from error
            raise PublishError(f"{operation} failed: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """End the connection. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        concurrent.futures.wait([self._client.close()], self._timeout)

    @property
    def _error(self) -> ConnectionLost:
        if self._closed:
            return ConnectionLost("The connection to the Greengrass nucleus was closed by this program.")
        return ConnectionLost(
            f"The connection to the Greengrass nucleus is lost: {self._reason}. The program has to be started again."
        )

    def _check(self) -> None:
        if self._closed or self._lost.is_set():
            raise self._error

    def _answers(self) -> bool:
        try:
            self._ask(GreengrassCoreIPCClient.new_get_configuration, model.GetConfigurationRequest(key_path=[]))
        except model.GreengrassCoreIPCError:
            return True
        except (concurrent.futures.TimeoutError, RuntimeError, AwsCrtError):
            return False
        return True

    def _disconnected(self, reason: Exception | None) -> None:
        self._declare_lost(f"disconnected ({reason})" if reason else "disconnected")

    def _declare_lost(self, reason: str) -> None:
        with self._lock:
            if self._closed or self._lost.is_set():
                return
            self._reason = reason
            self._lost.set()
        logger.error("the connection to the nucleus is lost: %s", reason)
        threading.Thread(target=self._on_lost, args=(self._error,), name="greengrass-lost", daemon=True).start()


class _Lifecycle:
    """What the SDK tells of the connection, in its event loop (``awsiot.eventstreamrpc.LifecycleHandler``)."""

    def __init__(self, on_disconnect: Callable[[Exception | None], None]) -> None:
        self.on_disconnect = on_disconnect

    def on_connect(self) -> None:
        """Nothing to do: ``connect`` waits for it."""

    def on_error(self, error: Exception) -> bool:
        """A protocol error ends the connection."""
        return True

    def on_ping(self, headers: Any, payload: bytes) -> None:
        """The protocol asks for no answer."""
