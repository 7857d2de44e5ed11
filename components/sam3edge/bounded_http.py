"""An HTTP server of the standard library that cannot be given more than it holds."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

logger = logging.getLogger(__name__)


class BoundedHttpServer(ThreadingHTTPServer):
    """A thread for each connection, and so many connections; one more is closed at once.

    Args:
        address: where it listens.
        handler: makes the handler of a connection. Its ``timeout`` bounds how long a silent one is held.
        max_connections: at once.

    Raises:
        OSError: it cannot listen there.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(
        self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler], max_connections: int
    ) -> None:
        self._free = threading.BoundedSemaphore(max_connections)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, unless there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are not reported."""
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("a request failed")
