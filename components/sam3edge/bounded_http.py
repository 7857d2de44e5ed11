"""An HTTP server of the standard library that cannot be given more than it holds, nor be held up.

So many connections at a time, and a whole request in so many seconds, however it drips in. When there is a connection
too many, the one whose request has been waited for longest gives way to it: whoever holds connections without asking
for anything keeps nobody else from being answered.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

logger = logging.getLogger(__name__)

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class BoundedHttpServer(ThreadingHTTPServer):
    """A thread for each connection. One more than there may be takes the place of the one whose request has been waited
    for longest; where all of them are being answered, it gets 503.

    Args:
        address: where it listens.
        handler: makes the handler of a connection.
        max_connections: at once.

    Raises:
        OSError: it cannot listen there.
    """

    daemon_threads = True
    # where it does not let two listen at one port: what was closed a moment ago does not keep a new server from it
    allow_reuse_address = os.name == "posix"

    def __init__(self, address: tuple[str, int], handler: Callable[..., BoundedHandler], max_connections: int) -> None:
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._held: dict[socket.socket, bool] = {}
        """Whether a request is waited for; the connection that was answered or accepted longest ago is the first."""
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, unless there are too many."""
        if self._admit(request):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection, however it comes to it."""
        with self._lock:
            self._held.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are not reported."""
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("a request failed")

    def waits(self, connection: socket.socket, waits: bool) -> None:
        """For handlers: whether more of a connection's request is waited for."""
        with self._lock:
            if connection in self._held:  # else it has given way
                self._held[connection] = waits

    def answered(self, connection: socket.socket) -> None:
        """For handlers: that a connection's request was answered, and its next one is waited for."""
        with self._lock:
            if self._held.pop(connection, None) is not None:
                self._held[connection] = True

    def _admit(self, connection: socket.socket) -> bool:
        with self._lock:
            if len(self._held) >= self._max_connections:
                longest = next((one for one, waits in self._held.items() if waits), None)
                if longest is None:
                    return False
                del self._held[longest]
                with suppress(OSError):  # it has just been closed
                    longest.shutdown(socket.SHUT_RDWR)  # which its thread notices
            self._held[connection] = True
            return True


class BoundedHandler(BaseHTTPRequestHandler):
    """One connection. A whole request, head and body, has to come within ``timeout`` seconds of the connection's begin
    or of the response before; a response has to be taken within as many."""

    server: BoundedHttpServer
    timeout: ClassVar[float] = 10.0

    def setup(self) -> None:
        """As the base class says; what is read is read by the deadline."""
        super().setup()
        self.rfile.close()
        self._incoming = _Incoming(self.connection, self.timeout, partial(self.server.waits, self.connection))
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        """As the base class says."""
        self._incoming.begin()
        super().handle_one_request()
        self.server.answered(self.connection)


class _Incoming(io.RawIOBase):
    """What comes on a connection. Raises TimeoutError ``timeout`` seconds after ``begin``, however it drips in."""

    def __init__(self, connection: socket.socket, timeout: float, waits: Callable[[bool], None]) -> None:
        self._connection = connection
        self._timeout = timeout
        self._waits = waits
        self._since = 0.0

    def begin(self) -> None:
        """Of a request."""
        self._since = time.monotonic()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As the base class says."""
        left = self._since + self._timeout - time.monotonic()
        if left <= 0:
            raise TimeoutError("a request did not come in time")
        self._connection.settimeout(left)
        self._waits(True)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._waits(False)
            self._connection.settimeout(self._timeout)  # for what is sent
