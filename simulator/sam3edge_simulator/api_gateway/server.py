"""A small HTTP server in front of a ``Gateway``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from sam3edge_simulator.api_gateway.events import HttpReply, HttpRequest
from sam3edge_simulator.api_gateway.gateway import GATEWAY_BYTES, Gateway, own

IDLE_SECONDS = 30
"""After which a connection that says nothing is closed."""


def make_server(gateway: Gateway, host: str, port: int) -> ThreadingHTTPServer:
    """A bound server; ``serve_forever`` runs it. It has no TLS: it is for this computer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "sam3edge", ""
        timeout = IDLE_SECONDS
        disable_nagle_algorithm = True  # headers and body are two writes, and the second would wait for 40 ms

        def _answer(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not length.isdecimal() or "Transfer-Encoding" in self.headers:
                self.close_connection = True
                return self._send(own("BAD_REQUEST_BODY", {}))
            if int(length) > GATEWAY_BYTES:
                self._drain(int(length))
                return self._send(own("REQUEST_TOO_LARGE", {}))
            body = self.rfile.read(int(length))
            headers = list(self.headers.items())
            request = HttpRequest(self.command, self.path, headers, body, self.client_address[0])
            return self._send(gateway.answer(request))

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _answer  # noqa: N815

        def _drain(self, length: int) -> None:
            """Read a body that is too large, so that the client hears the answer; the connection ends after it."""
            self.close_connection = True
            rest = min(length, 2 * GATEWAY_BYTES)
            while rest > 0 and (chunk := self.rfile.read(min(rest, 65_536))):
                rest -= len(chunk)

        def _send(self, reply: HttpReply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """The functions log."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


@contextmanager
def serving(gateway: Gateway, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread; gives the address."""
    server = make_server(gateway, host, port)
    thread = Thread(target=server.serve_forever, args=(0.05,), name="api")
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
