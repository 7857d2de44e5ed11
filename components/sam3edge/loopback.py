"""HTTP for one person on this computer.

It is bound to 127.0.0.1, the Host must be this server's (so that no other name can be made to lead here: DNS
rebinding), and so must the Origin be, where there is one. What a server says is up to the function that it is given.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any

from sam3edge.bounded_http import BoundedHandler, BoundedHttpServer

HTTP_PORT = 80
MAX_CONNECTIONS = 16
REQUEST_SECONDS = 10.0
"""A connection on which no whole request has come for this long is closed."""

SAFE_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page that only this computer is to see."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks.

    Attributes:
        method: ``GET`` or ``POST``.
        target: path and query, as they were sent.
        headers: by name.
        read: gives that many bytes of the body.
    """

    method: str
    target: str
    headers: Message
    read: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets; ``kind`` is the media type."""

    status: HTTPStatus
    body: bytes
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that gets an error; the text is for the person."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class LoopbackServer:
    """Serves until it is closed, from threads of its own.

    Args:
        respond: gives the response to a request, or raises ``Refused``; called by several threads.
        headers: of every response.
        port: 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, respond: Callable[[Request], Response], headers: Mapping[str, str], port: int = 0) -> None:
        self._respond = respond
        self.headers = dict(headers)
        self._http = BoundedHttpServer(("127.0.0.1", port), partial(_Handler, self), MAX_CONNECTIONS)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="loopback-server")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    @property
    def host(self) -> str:
        """The address that it is bound to."""
        return str(self._http.server_address[0])

    @property
    def origins(self) -> tuple[str, ...]:
        """What a browser on this computer may call this server: without the port, where it is that of HTTP."""
        port = "" if self.port == HTTP_PORT else f":{self.port}"
        return f"http://127.0.0.1{port}", f"http://localhost{port}"

    def __enter__(self) -> LoopbackServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is being answered is answered."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def answer(self, request: Request) -> Response:
        """What a request gets."""
        try:
            self._require_this_host(request.headers)
            return self._respond(request)
        except Refused as refused:
            return Response(refused.status, json.dumps({"error": str(refused)}).encode())

    def _require_this_host(self, headers: Message) -> None:
        hosts = headers.get_all("Host") or []
        if len(hosts) != 1 or f"http://{hosts[0].lower().removesuffix(f':{HTTP_PORT}')}" not in self.origins:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "expected the address that this server has printed")
        if any(origin.lower() not in self.origins for origin in headers.get_all("Origin") or []):
            raise Refused(HTTPStatus.FORBIDDEN, "expected a request of this server's own page")


class _Handler(BoundedHandler):
    timeout = REQUEST_SECONDS
    server_version, sys_version = "sam3edge", ""

    def __init__(self, server: LoopbackServer, *args: Any) -> None:
        self._server = server
        super().__init__(*args)

    def do_GET(self) -> None:  # noqa: N802, the base class's names
        self._send("GET")

    def do_POST(self) -> None:  # noqa: N802
        self._send("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: request lines may hold tokens."""

    def _send(self, method: str) -> None:
        response = self._server.answer(Request(method, self.path, self.headers, self.rfile.read))
        self.send_response(response.status)
        for name, value in {**self._server.headers, **response.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()  # HTTP/1.0: the connection is closed after each response
        self.wfile.write(response.body)
