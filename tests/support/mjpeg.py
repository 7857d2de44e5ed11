"""A camera on the loopback: an HTTP server of motion JPEG, which can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from support.media import encode


class MjpegServer:
    """Serves pictures whose grey level is ``10 * n`` for the n-th picture of a connection, up to 250, then again.

    Args:
        port: 0 for any that is free.
        colour: RGB of all pictures instead.

    Attributes:
        url: where to connect to.
        connections: how many came.
        period: seconds between pictures.
        pictures: how many each connection gets before it is closed.
        hanging: while set, connections stay open but get nothing.
    """

    def __init__(self, port: int = 0, colour: tuple[int, int, int] | None = None) -> None:
        self.connections = 0
        self.period = 0.02
        self.pictures = 1_000_000
        self.hanging = threading.Event()
        self._stop = threading.Event()
        levels = [(10 * n, 10 * n, 10 * n) for n in range(26)] if colour is None else [colour]
        jpegs = [encode(np.full((48, 64, 3), level, np.uint8), ".jpg") for level in levels]
        self._server = _Server(("127.0.0.1", port), _handler(self, self._stop, jpegs))
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/video"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Close every connection and the port."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True


def _handler(server: MjpegServer, stop: threading.Event, jpegs: list[bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            server.connections += 1
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            try:
                for number in range(server.pictures):
                    while server.hanging.is_set() and not stop.is_set():
                        stop.wait(0.02)
                    if stop.wait(server.period):
                        return
                    jpeg = jpegs[number % len(jpegs)]
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                pass  # the client has gone

    return Handler


@contextmanager
def mjpeg_server(colour: tuple[int, int, int] | None = None) -> Iterator[MjpegServer]:
    server = MjpegServer(colour=colour)
    try:
        yield server
    finally:
        server.close()
