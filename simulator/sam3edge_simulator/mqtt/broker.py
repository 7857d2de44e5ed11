"""An MQTT broker inside this process, for tests and demonstrations."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import websockets
from amqtt.broker import Broker as AmqttBroker
from amqtt.contexts import ListenerType
from amqtt.errors import AMQTTError, MQTTError
from amqtt.mqtt.constants import QOS_1

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 30.0


class _TidyBroker(AmqttBroker):  # type: ignore[misc]  # the base class has no type information
    """amqtt, which by itself forgets the connection of a client that leaves before it says who it is, takes pages from
    anywhere, and keeps only what is published to be kept.

    Args:
        origins: of pages that may connect.
        keeps: whether the last message on a topic is kept for later subscribers, though nobody asks for that.
    """

    def __init__(self, config: dict[str, object], origins: Sequence[str], keeps: Callable[[str], bool]) -> None:
        super().__init__(config)
        self._open: set[asyncio.StreamWriter] = set()
        self._pages: set[websockets.ServerConnection] = set()
        self._origins = [websockets.Origin(origin) for origin in origins]
        self._keeps = keeps

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve one client until it or the broker ends the connection."""
        self._open.add(writer)
        try:
            await super().stream_connected(reader, writer, listener_name)
        except (AMQTTError, MQTTError, OSError) as error:
            logger.debug("a client left: %s", error)
        finally:
            self._open.discard(writer)
            writer.close()

    async def ws_connected(self, websocket: websockets.ServerConnection, listener_name: str) -> None:
        """Serve one client over WebSockets."""
        self._pages.add(websocket)
        try:
            await super().ws_connected(websocket, listener_name)
        except (AMQTTError, MQTTError, OSError, websockets.ConnectionClosed) as error:
            logger.debug("a page left: %s", error)
        finally:
            self._pages.discard(websocket)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()
        for websocket in self._pages:
            websocket.transport.abort()

    async def _create_server_instance(
        self, name: str, kind: ListenerType, address: str | None, port: int, ssl_context: Any
    ) -> Any:
        """amqtt's own lets every page that the person at this computer has open in a browser connect."""
        if kind is not ListenerType.WS:
            return await super()._create_server_instance(name, kind, address, port, ssl_context)
        serve = partial(self.ws_connected, listener_name=name)
        # no Origin: not a browser
        return await websockets.serve(
            serve,
            address,
            port,
            origins=[*self._origins, None],
            subprotocols=[websockets.Subprotocol("mqtt")],
            compression=None,
        )

    async def _broadcast_message(self, session: Any, topic: str, data: bytes, force_qos: int | None = None) -> None:
        await super()._broadcast_message(session, topic, data, force_qos)
        if self._keeps(topic):
            await self.retain_message(session, topic, data, QOS_1)


class Broker:
    """A broker on the loopback interface that anybody may use; it runs in a thread with an event loop of its own.

    ``stop`` and ``start`` cut and restore the connection of its clients, on the same port. Sessions and retained
    messages do not outlive a stop.

    Args:
        port: TCP port; 0 for a free one.
        origins: of pages that may connect over WebSockets, such as ``http://127.0.0.1:80``; None for no such listener.
        keeps: whether the last message on a topic is kept for later subscribers, as if published to be retained.
    """

    def __init__(
        self,
        port: int = 0,
        origins: Sequence[str] | None = None,
        keeps: Callable[[str], bool] = lambda topic: False,
    ) -> None:
        self.port = port or _free_port()
        self.websocket_port = 0 if origins is None else _free_port()
        self._origins = origins or ()
        self._keeps = keeps
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._broker: _TidyBroker | None = None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        """What a page connects to; there must be such a listener."""
        return f"ws://127.0.0.1:{self.websocket_port}"

    @property
    def running(self) -> bool:
        """Whether clients can connect."""
        return self._broker is not None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen; starting a running broker does nothing.

        Raises:
            OSError: the port is taken.
        """
        if self._broker is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker", daemon=True)
        self._thread.start()
        try:
            self._broker = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_PATIENCE_SECONDS)
        except BaseException:
            self._end_loop()
            raise

    def stop(self) -> None:
        """Cut every client and stop listening; stopping a stopped broker does nothing."""
        if self._broker is None or self._loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._shut(self._broker), self._loop).result(_PATIENCE_SECONDS)
        self._broker = None
        self._end_loop()

    def wait_subscribed(self, pattern: str, timeout: float) -> bool:
        """Wait until somebody has subscribed to exactly this filter.

        Returns:
            Whether it came to that within ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._broker is not None and self._broker.subscriptions.get(pattern):
                return True
            time.sleep(0.05)
        return False

    async def _open(self) -> _TidyBroker:
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}}
        if self.websocket_port:
            listeners["pages"] = {"type": "ws", "bind": f"127.0.0.1:{self.websocket_port}"}
        broker = _TidyBroker(
            {
                "listeners": listeners,
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            },
            self._origins,
            self._keeps,
        )
        await broker.start()
        return broker

    async def _shut(self, broker: _TidyBroker) -> None:
        broker.cut()
        await broker.shutdown()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _end_loop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
