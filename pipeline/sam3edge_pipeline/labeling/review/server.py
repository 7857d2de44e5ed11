"""The review page over HTTP, for one person on this computer.

It is bound to 127.0.0.1. Every path begins with a random token, the Host must be this server's (so that no other name
can be made to lead here), and what changes something must be JSON from this page's origin. The page loads nothing from
elsewhere, and the Content-Security-Policy says so.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socket import socket
from typing import Any, TypeVar

from pydantic import ValidationError

from sam3edge.core.errors import EngineError, FrameError, PromptError, Sam3EdgeError
from sam3edge.validation import first_complaint
from sam3edge_pipeline.labeling.review.decisions import ReviewError
from sam3edge_pipeline.labeling.review.desk import ActionRequest, ReviewDesk

MAX_BODY_BYTES = 16 << 10
MAX_CONNECTIONS = 16
IDLE_SECONDS = 10.0
"""A connection that says nothing for this long is closed."""

PAGES: Mapping[str, tuple[str, str]] = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Files beside this module and their types, by path."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    body: bytes
    kind: str = "application/json"


class _Refused(Exception):
    """A request that gets an error; the text is for the person."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class ReviewServer:
    """Serves one desk until it is closed.

    Args:
        desk: used by one thread of this server.
        port: 0 for any that is free.
        token: of the address; random by default.
    """

    def __init__(self, desk: ReviewDesk, port: int = 0, token: str = "") -> None:
        self._desk = desk
        self._token = token or secrets.token_urlsafe(24)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="review-desk")
        self._http = _Http(("127.0.0.1", port), partial(_Handler, self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="review-server")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """What to open in a browser on this computer. Whoever has it may review."""
        return f"http://127.0.0.1:{self.port}/{self._token}/"

    def start(self) -> None:
        """Begin to serve, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop; an action in progress is completed."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._worker.shutdown()

    def respond(self, method: str, target: str, headers: Any, body: Callable[[int], bytes]) -> _Response:
        """What a request gets.

        Args:
            headers: by name, as ``http.client.HTTPMessage`` has them.
            body: reads that many bytes of it.
        """
        try:
            self._require_this_host(headers)
            path = self._path_of(target)
            if method == "GET":
                return self._get(path)
            return self._post(path, headers, body)
        except _Refused as refused:
            return _Response(refused.status, json.dumps({"error": str(refused)}).encode())

    def _require_this_host(self, headers: Any) -> None:
        hosts = headers.get_all("Host") or []
        allowed = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        if len(hosts) != 1 or hosts[0].lower() not in allowed:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "expected the address that the review has printed")
        origins = headers.get_all("Origin") or []
        if any(origin.lower() not in {f"http://{host}" for host in allowed} for origin in origins):
            raise _Refused(HTTPStatus.FORBIDDEN, "expected a request of the review page itself")

    def _path_of(self, target: str) -> str:
        token, slash, path = target.removeprefix("/").partition("/")
        if not (target.startswith("/") and slash and hmac.compare_digest(token.encode(), self._token.encode())):
            raise _Refused(HTTPStatus.NOT_FOUND, "expected the whole address that the review has printed")
        return path

    def _get(self, path: str) -> _Response:
        if path in PAGES:
            name, kind = PAGES[path]
            return _Response(HTTPStatus.OK, files(__package__).joinpath(name).read_bytes(), kind)
        if path == "next":
            return self._json(self._desk.next)
        folder, _, image = path.partition("/")
        if folder == "images" and self._desk.knows(image):
            return _Response(HTTPStatus.OK, self._work(partial(self._desk.jpeg, image)), "image/jpeg")
        raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")

    def _post(self, path: str, headers: Any, body: Callable[[int], bytes]) -> _Response:
        match path.split("/"):
            case ["items", image, "actions"] if self._desk.knows(image):
                return self._json(partial(self._desk.act, image, _request(headers, body)))
        raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")

    def _json(self, work: Callable[[], dict[str, Any]]) -> _Response:
        return _Response(HTTPStatus.OK, json.dumps(self._work(work)).encode())

    def _work(self, work: Callable[[], _T]) -> _T:
        """Do it in the desk's own thread."""
        try:
            return self._worker.submit(work).result()
        except (ReviewError, PromptError) as error:
            raise _Refused(HTTPStatus.CONFLICT, str(error)) from error
        except (FrameError, EngineError) as error:
            logger.warning("the review failed: %s", error)
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        except Sam3EdgeError as error:
            logger.error("the review failed: %s", error)
            raise _Refused(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error


def _request(headers: Any, body: Callable[[int], bytes]) -> ActionRequest:
    if headers.get_content_type() != "application/json" or not headers.get("Content-Type"):
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
    lengths = headers.get_all("Content-Length") or []
    if headers.get("Transfer-Encoding") or len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise _Refused(HTTPStatus.LENGTH_REQUIRED, "expected the Content-Length")
    if len(lengths[0]) > 9 or int(lengths[0]) > MAX_BODY_BYTES:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY_BYTES} bytes")
    try:
        return ActionRequest.model_validate_json(body(int(lengths[0])))
    except ValidationError as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, str(first_complaint(error))) from error


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        logger.debug("a connection has failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_SECONDS
    server_version, sys_version = "sam3edge", ""

    def __init__(self, review: ReviewServer, *args: Any) -> None:
        self._review = review
        super().__init__(*args)

    def do_GET(self) -> None:  # the base class's names
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: request lines hold the token."""

    def _respond(self, method: str) -> None:
        response = self._review.respond(method, self.path, self.headers, self.rfile.read)
        self.send_response(response.status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()  # HTTP/1.0: the connection is closed after each response
        self.wfile.write(response.body)
