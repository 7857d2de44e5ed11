"""The network between a device and its broker, as something that can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

from sam3edge.subscriber.broker_url import BrokerUrl

_BLOCK = 64 * 1024


class TcpProxy:
    """Forwards TCP connections from a port of its own to a broker, which goes on running whatever happens here.

    TLS passes through as it is; the broker's certificate must then name ``127.0.0.1``.

    Args:
        broker: URL of the broker.
    """

    def __init__(self, broker: str) -> None:
        self._target = BrokerUrl.parse(broker)
        self._port = 0
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._swallows = False

    @property
    def url(self) -> str:
        """What the device connects to; known once it was plugged in."""
        return f"{'mqtts' if self._target.tls else 'mqtt'}://127.0.0.1:{self._port}"

    def __enter__(self) -> TcpProxy:
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def plug(self) -> None:
        """Let connections through, from now on and until ``cut``; always on the same port."""
        with self._lock:
            self._swallows = False
            if self._listener is not None:
                return
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self._port))
            self._port = self._listener.getsockname()[1]
            self._listener.listen()
            self._run(self._accept, self._listener)

    def cut(self) -> None:
        """Break every connection and refuse new ones; returns when nothing moves any more."""
        with self._lock:
            listener, self._listener = self._listener, None
            for one in (*self._sockets, *((listener,) if listener is not None else ())):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()
        if listener is not None:
            listener.close()

    def swallow(self) -> None:
        """Lose everything that is sent, both ways, while the connections seem to live: a dead radio link.

        What was lost leaves a hole in the stream: ``cut`` and ``plug`` before using the cable again.
        """
        self._swallows = True

    def _run(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, name="cable", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((self._target.host, self._target.port), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                if self._listener is None:
                    near.close()
                    far.close()
                    return
                self._sockets |= {near, far}
                self._run(self._carry, near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        """Serve one connection until either end closes."""
        back = threading.Thread(target=self._pump, args=(far, near), name="cable", daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._sockets -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if not self._swallows:
                    sink.sendall(block)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
