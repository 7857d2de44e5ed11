"""The page over HTTP, on this computer only (``sam3edge.loopback``).

It serves the files in ``static``, ``config.json``, and the operator's map; nothing else can be read, and nothing
written. The Content-Security-Policy lets the page talk to its broker and to nobody else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from sam3edge.core.errors import SettingsError
from sam3edge.loopback import SAFE_HEADERS, LoopbackServer, Refused, Request, Response
from sam3edge_serving.live_map.configuration import STYLE_PATH, TILES_PATH, PageConfiguration

STATIC = Path(__file__).parent / "static"

KINDS: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files that are served, by suffix."""

MAX_RANGE = 16 << 20
"""Bytes of a map's archive in one response."""

_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


class PageServer:
    """Serves the page. Its address is known before its configuration: a broker may want to know whose pages connect.

    Args:
        port: 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._files = {p.relative_to(STATIC).as_posix(): p for p in STATIC.rglob("*") if p.suffix in KINDS}
        self._configuration = b""
        self._style = b""
        self._tiles: Path | None = None
        self._http = LoopbackServer(self._respond, SAFE_HEADERS, port)

    @property
    def address(self) -> str:
        """What to open in a browser on this computer."""
        return f"http://127.0.0.1:{self._http.port}/"

    @property
    def origins(self) -> tuple[str, ...]:
        """What the page's browser calls this server, to a broker that asks where its clients come from."""
        return self._http.origins

    @contextmanager
    def serving(self, configuration: PageConfiguration) -> Iterator[PageServer]:
        """Serve until the end of the block; once.

        Raises:
            SettingsError: the map's style is not JSON, or the map's archive is not there.
        """
        try:
            self._style = b"" if configuration.map_style is None else _style(configuration.map_style)
            self._tiles = configuration.map_tiles
            if self._tiles is not None and not self._tiles.is_file():
                raise SettingsError(f"expected a PMTiles archive, {self._tiles} is not a file")
            self._configuration = json.dumps(configuration.document()).encode()
            self._http.headers["Content-Security-Policy"] = configuration.policy()
            self._http.start()
            yield self
        finally:
            self._http.close()

    def _respond(self, request: Request) -> Response:
        path = request.target.partition("?")[0].removeprefix("/") or "index.html"
        if request.method != "GET":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "expected GET")
        if path == "config.json":
            return Response(HTTPStatus.OK, self._configuration)
        if path == STYLE_PATH and self._style:
            return Response(HTTPStatus.OK, self._style)
        if path == TILES_PATH and self._tiles is not None:
            return _part(self._tiles, request.headers.get("Range", ""))
        if path in self._files:
            return Response(HTTPStatus.OK, self._files[path].read_bytes(), KINDS[Path(path).suffix])
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")


def _style(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        json.loads(content)
    except (OSError, ValueError) as error:
        raise SettingsError(f"expected a MapLibre style in JSON, {path} cannot be read: {error}") from error
    return content


def _part(path: Path, wanted: str) -> Response:
    """A part of a file, as archives of tiles are read (RFC 9110, section 14)."""
    size = path.stat().st_size
    asked = _RANGE.fullmatch(wanted)
    if asked is None:
        raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "expected one range of bytes")
    first = int(asked[1])
    last = min(int(asked[2] or size), size - 1, first + MAX_RANGE - 1)
    if first > last:
        raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"expected bytes of {size}")
    with path.open("rb") as stream:
        stream.seek(first)
        body = stream.read(last - first + 1)
    headers = {"Content-Range": f"bytes {first}-{last}/{size}", "Accept-Ranges": "bytes"}
    return Response(HTTPStatus.PARTIAL_CONTENT, body, "application/octet-stream", headers)
