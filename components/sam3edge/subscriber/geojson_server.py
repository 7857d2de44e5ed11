"""The last state of every camera at an address, for QGIS and web maps: ``GET /detections.geojson``.

Read-only and without names or passwords, so it listens on this computer only unless told otherwise. Pages of other
origins may not read it (CORS), and neither may those that give their own name this computer's address (DNS rebinding:
the ``Host`` must be an address, ``localhost`` or a name that was allowed).
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from sam3edge.bounded_http import BoundedHandler, BoundedHttpServer
from sam3edge.core.errors import SettingsError
from sam3edge.subscriber.sinks.last_frames import Document

PATH = "/detections.geojson"
MAX_CONNECTIONS = 32
REQUEST_SECONDS = 15.0
"""After which a connection on which no whole request has come is closed."""

_POLL_SECONDS = 0.1  # until it is noticed that the server is to stop
_METHODS = "GET, HEAD, OPTIONS"
_TEXT = {"Content-Type": "text/plain"}
_ALWAYS = {"Cache-Control": "no-cache", "Vary": "Origin", "X-Content-Type-Options": "nosniff"}
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?")


def parse_address(address: str) -> tuple[str, int]:
    """``host:port`` or ``[IPv6]:port``; raises SettingsError for anything else."""
    try:
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.port is not None and parts.netloc == address and "@" not in address:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise SettingsError(f"expected an address such as 127.0.0.1:8080, got {address!r}")


def is_loopback(host: str) -> bool:
    """Whether a name or address is this computer, seen from itself."""
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host == "localhost"


class GeoJsonServer:
    """Serves a document from threads of its own.

    Args:
        address: ``host:port``; port 0 for a free one.
        document: gives the document as it is now.
        origins: of pages elsewhere that may read it, such as ``https://maps.example.org``; pages of this computer may.
        hosts: names by which it may be addressed, beside ``localhost`` and addresses.

    Raises:
        SettingsError: it cannot listen there, or an origin is not one.
    """

    def __init__(
        self,
        address: str,
        document: Callable[[], Document],
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
    ) -> None:
        host, port = parse_address(address)
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise SettingsError(f"expected an origin such as https://maps.example.org, got {origin!r}")
        try:
            self._server = _Server(host, port, document, frozenset(origins), frozenset(hosts))
        except OSError as error:
            raise SettingsError(f"cannot listen on {address}: {error.strerror}") from error
        except UnicodeError as error:
            raise SettingsError(f"cannot listen on {address}: expected the name of a host") from error
        serve = partial(self._server.serve_forever, _POLL_SECONDS)
        self._thread = threading.Thread(target=serve, name="geojson-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the document."""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}{PATH}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(BoundedHttpServer):
    def __init__(
        self,
        host: str,
        port: int,
        document: Callable[[], Document],
        origins: frozenset[str],
        hosts: frozenset[str],
    ) -> None:
        self.document, self.origins, self.hosts = document, origins, hosts
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler, MAX_CONNECTIONS)


class _Handler(BoundedHandler):
    """One connection. GDAL reads large documents in ranges: those that follow a request for all of it, or its size, are
    of the same state of it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sam3edge", ""
    timeout = REQUEST_SECONDS
    _document: Document | None = None

    def parse_request(self) -> bool:
        """As the base class says. Bodies are not read: what follows one's head is no request."""
        whole = super().parse_request()
        if whole and ("Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"):
            self.close_connection = True
        return whole

    def do_GET(self) -> None:  # noqa: N802, as http.server names it
        """The document, a range of it, or that it has not changed."""
        if not self._is_for_us():
            return
        asked = self.headers.get("Range", "")
        if self._document is None or not asked:
            self._document = self.server.document()
        document = self._document
        tag = f'"{document.tag}"'
        if tag in self.headers.get("If-None-Match", ""):
            return self._respond(HTTPStatus.NOT_MODIFIED, b"", {"ETag": tag})
        headers = {"ETag": tag, "Content-Type": "application/geo+json", "Accept-Ranges": "bytes"}
        size = len(document.body)
        wanted = _RANGE.fullmatch(asked) if self.headers.get("If-Range", tag) == tag else None
        if wanted is None:
            return self._respond(HTTPStatus.OK, document.body, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        if first > last:
            return self._respond(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._respond(HTTPStatus.PARTIAL_CONTENT, document.body[first : last + 1], headers)

    do_HEAD = do_GET  # noqa: N815

    def do_OPTIONS(self) -> None:  # noqa: N802
        """What pages of other origins ask before they send a header of their own."""
        if self._is_for_us():
            allowed = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Allow-Headers": "If-None-Match, Range"}
            self._respond(HTTPStatus.NO_CONTENT, b"", {"Allow": _METHODS, **(allowed if self._origin() else {})})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""

    def _is_for_us(self) -> bool:
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        except ValueError:
            host = ""
        if not (_is_address(host) or host == "localhost" or host in self.server.hosts):
            self._respond(HTTPStatus.MISDIRECTED_REQUEST, b"this name is not allowed; see --allow-host\n", _TEXT)
        elif urlsplit(self.path).path != PATH:
            self._respond(HTTPStatus.NOT_FOUND, f"expected {PATH}\n".encode(), _TEXT)
        else:
            return True
        return False

    def _origin(self) -> str:
        """Of the page that asks, if it may read the response."""
        origin = self.headers.get("Origin", "")
        try:
            parts = urlsplit(origin)
            is_of_this_computer = parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
            return origin if origin in self.server.origins or is_of_this_computer else ""
        except ValueError:
            return ""

    def _respond(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        if status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        if origin := self._origin():
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Expose-Headers", "ETag")
        for name, value in {**_ALWAYS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
