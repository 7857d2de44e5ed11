"""The review page over HTTP, for one person on this computer (``sam3edge.loopback``).

Every path begins with a random token, and what changes something must be JSON from this page's origin. The page loads
nothing from elsewhere, and the Content-Security-Policy says so.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import ValidationError

from sam3edge.core.errors import EngineError, FrameError, PromptError, Sam3EdgeError
from sam3edge.loopback import SAFE_HEADERS, LoopbackServer, Refused, Request, Response
from sam3edge.validation import first_complaint
from sam3edge_pipeline.labeling.review.decisions import ReviewError
from sam3edge_pipeline.labeling.review.desk import ActionRequest, ReviewDesk

MAX_BODY_BYTES = 16 << 10

PAGES: Mapping[str, tuple[str, str]] = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Files beside this module and their types, by path."""

HEADERS: Mapping[str, str] = {
    **SAFE_HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


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
        self._http = LoopbackServer(self._respond, HEADERS, port)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.port

    @property
    def address(self) -> str:
        """What to open in a browser on this computer. Whoever has it may review."""
        return f"http://127.0.0.1:{self.port}/{self._token}/"

    def start(self) -> None:
        """Begin to serve, in a thread."""
        self._http.start()

    def close(self) -> None:
        """Stop; an action in progress is completed."""
        self._http.close()
        self._worker.shutdown()

    def _respond(self, request: Request) -> Response:
        path = self._path_of(request.target)
        if request.method == "GET":
            return self._get(path)
        return self._post(path, request.headers, request.read)

    def _path_of(self, target: str) -> str:
        token, slash, path = target.removeprefix("/").partition("/")
        if not (target.startswith("/") and slash and hmac.compare_digest(token.encode(), self._token.encode())):
            raise Refused(HTTPStatus.NOT_FOUND, "expected the whole address that the review has printed")
        return path

    def _get(self, path: str) -> Response:
        if path in PAGES:
            name, kind = PAGES[path]
            return Response(HTTPStatus.OK, files(__package__).joinpath(name).read_bytes(), kind)
        if path == "next":
            return self._json(self._desk.next)
        folder, _, image = path.partition("/")
        if folder == "images" and self._desk.knows(image):
            return Response(HTTPStatus.OK, self._work(partial(self._desk.jpeg, image)), "image/jpeg")
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")

    def _post(self, path: str, headers: Message, body: Callable[[int], bytes]) -> Response:
        match path.split("/"):
            case ["items", image, "actions"] if self._desk.knows(image):
                return self._json(partial(self._desk.act, image, _request(headers, body)))
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")

    def _json(self, work: Callable[[], dict[str, Any]]) -> Response:
        return Response(HTTPStatus.OK, json.dumps(self._work(work)).encode())

    def _work(self, work: Callable[[], _T]) -> _T:
        """Do it in the desk's own thread."""
        try:
            return self._worker.submit(work).result()
        except (ReviewError, PromptError) as error:
            raise Refused(HTTPStatus.CONFLICT, str(error)) from error
        except (FrameError, EngineError) as error:
            logger.warning("the review failed: %s", error)
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        except Sam3EdgeError as error:
            logger.error("the review failed: %s", error)
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error


def _request(headers: Message, body: Callable[[int], bytes]) -> ActionRequest:
    if headers.get_content_type() != "application/json" or not headers.get("Content-Type"):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
    lengths = headers.get_all("Content-Length") or []
    if headers.get("Transfer-Encoding") or len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected the Content-Length")
    if len(lengths[0]) > 9 or int(lengths[0]) > MAX_BODY_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY_BYTES} bytes")
    try:
        return ActionRequest.model_validate_json(body(int(lengths[0])))
    except ValidationError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(first_complaint(error))) from error
