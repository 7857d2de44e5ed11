"""Requests and replies, free of API Gateway's events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sam3edge_serving.http.errors import BadRequest, UnsupportedMedia

JSON = "application/json"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request of a holder of a key.

    Attributes:
        id: API Gateway's.
        path: without the stage.
        headers: names in lower case.
        body: decoded.
        key_id: whose it is; not the key.
    """

    id: str
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    key_id: str

    @property
    def media_type(self) -> str:
        """Of the body, in lower case, without parameters."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            UnsupportedMedia: another type of body.
            BadRequest: no JSON, or no object.
        """
        if self.media_type not in (JSON, ""):
            raise UnsupportedMedia(f"the body must be {JSON}, it is {self.media_type[:60]}")
        if not self.body:
            raise BadRequest("the body must be a JSON object, it is empty")
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            raise BadRequest("the body must be a JSON object, and this cannot be read as JSON") from None
        try:
            dump(value).encode()
        except (ValueError, RecursionError):  # NaN, 1e999, half of a surrogate pair: they can be read and not written
            raise BadRequest("the body has numbers that are not finite, or text that is not Unicode") from None
        if not isinstance(value, dict):
            raise BadRequest(f"the body must be a JSON object, this is {type(value).__name__}")
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        body: text; the application compresses it where that is wanted.
        headers: beside the content type.
    """

    status: int
    body: str = field(repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply of JSON."""
    return Reply(status, dump(value), JSON, headers or {})


def dump(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
