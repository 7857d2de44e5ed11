"""An MQTT broker inside this process, for tests and demonstrations."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType

from amqtt.broker import Broker as AmqttBroker
from amqtt.errors import AMQTTError, MQTTError

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 30.0


class _TidyBroker(AmqttBroker):  # type: ignore[misc]  # the base class has no type information
    """amqtt, which by itself forgets the connection of a client that leaves before it says who it is."""

    def __init__(self, config: dict[str, object]) -> None:
        super().__init__(config)
        self._open: set[asyncio.StreamWriter] = set()

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

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()


class Broker:
    """A broker on the loopback interface that anybody may use; it runs in a thread with an event loop of its own.

    ``stop`` and ``start`` cut and restore the connection of its clients, on the same port. Sessions and retained
    messages do not outlive a stop.

    Args:
        port: TCP port; 0 for a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or _free_port()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._broker: _TidyBroker | None = None

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"mqtt://127.0.0.1:{self.port}"

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

    async def _open(self) -> _TidyBroker:
        broker = _TidyBroker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
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
