"""Errors as OpenAI's clients read them, which everybody else understands, too."""

from __future__ import annotations

import json

from typing_extensions import TypedDict

from sam3edge_serving.endpoint.problems import Problem


class ErrorMember(TypedDict):
    """What is wrong: for people, and by ``type`` and ``code`` for programs; ``param`` is the member at fault."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(TypedDict):
    """The body of every answer with a status of 400 or above."""

    error: ErrorMember


def error_of(problem: Problem) -> ErrorAnswer:
    """What is said of a problem."""
    return describe(str(problem), problem.status, problem.code, problem.param)


def describe(message: str, status: int, code: str, param: str | None = None) -> ErrorAnswer:
    """An error by its parts."""
    return {"error": {"message": message[:2000], "type": _type(status), "param": param, "code": code}}


def dump(error: ErrorAnswer) -> bytes:
    """On one line."""
    return json.dumps(error, separators=(",", ":"), ensure_ascii=False).encode()


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
