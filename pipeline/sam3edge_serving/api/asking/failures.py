"""What the endpoint says instead of an answer, as a problem of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sam3edge_serving.api.problems import (
    BadRequest,
    Busy,
    GatewayTimeout,
    ModelFailed,
    NotReady,
    Problem,
    TooLarge,
    Unanswerable,
)

_BY_STATUS: Mapping[int, type[Problem]] = {
    400: BadRequest,
    413: TooLarge,
    422: Unanswerable,
    429: Busy,
    503: NotReady,
    504: GatewayTimeout,
}
_SPOKEN = frozenset((400, 413, 422))
"""The client's own mistakes: what the endpoint says of them is meant for the client."""

_OWN_WORDS: Mapping[int, str] = {
    429: "the model has too much to do; try again later",
    503: "the model is not ready, it may be starting; try again later",
    504: "the model did not answer in time; send a smaller image or fewer phrases, or use POST /v1/uploads",
}
MAX_CHARACTERS = 500
MAX_WAIT = 60


def problem_of(status: int, body: bytes, retry_after: str | None, otherwise: int) -> Problem:
    """Why the endpoint did not answer.

    Args:
        status: its own.
        body: JSON ``{"error": {"message", ...}}``, or anything.
        retry_after: its header, where it came through.
        otherwise: seconds to wait where it says nothing.
    """
    kind = _BY_STATUS.get(status)
    if kind is None:
        return ModelFailed("the model failed on this request; try again, and tell the operator when it happens again")
    if status in _SPOKEN:
        return kind(spoken(body) or "the model's endpoint refused the request")
    wait = min(int(retry_after), MAX_WAIT) if retry_after and retry_after.isdecimal() else otherwise
    return kind(_OWN_WORDS[status], retry_after=wait if status in (429, 503) else None)


def spoken(body: bytes) -> str:
    """The message of an error in OpenAI's shape; empty when there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    member = value.get("error") if isinstance(value, dict) else None
    message = member.get("message") if isinstance(member, dict) else None
    return message[:MAX_CHARACTERS] if isinstance(message, str) else ""
