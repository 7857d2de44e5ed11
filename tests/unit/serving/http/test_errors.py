"""Refusals of the endpoint and the API: one tree, one shape."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sam3edge_serving.http import errors
from sam3edge_serving.http.errors import MAX_MESSAGE, BadGateway, BadRequest, Busy, HttpError, MethodNotAllowed

KINDS = [kind for kind in HttpError.__subclasses__() if kind is not MethodNotAllowed]


def test_the_shape_is_openais() -> None:
    error = json.loads(BadRequest("no\nimage", param="image").json())
    expected = {"message": "no\nimage", "type": "invalid_request_error", "param": "image", "code": "invalid_request"}
    assert error == {"error": expected}
    assert "\n" not in BadRequest("no\nimage").json()


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_follows_from_the_status(kind: type[HttpError]) -> None:
    said = kind("no").body()["error"]["type"]
    assert said == (
        "server_error" if kind.status >= 500 else "rate_limit_error" if kind is Busy else "invalid_request_error"
    )


def test_no_two_kinds_are_told_alike() -> None:
    pairs = {(kind.status, kind.default_code) for kind in HttpError.__subclasses__()}
    assert len(pairs) == len(HttpError.__subclasses__())
    codes = [kind.default_code for kind in HttpError.__subclasses__() if kind is not BadGateway]
    assert len(set(codes)) == len(codes)  # a model that failed has one code, whoever says so


def test_headers_say_what_to_do() -> None:
    assert BadRequest("no").headers == {}
    assert Busy("later", retry_after=3).headers == {"Retry-After": "3"}
    assert errors.Unauthorized("no key").headers == {"WWW-Authenticate": "Bearer"}
    assert MethodNotAllowed("no", ["GET", "HEAD"]).headers == {"Allow": "GET, HEAD"}


def test_messages_are_bounded() -> None:
    assert len(BadRequest("x" * 10_000).body()["error"]["message"]) == MAX_MESSAGE


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for kind in HttpError.__subclasses__():
        assert f"{kind.__name__} {kind.status}  " in (errors.__doc__ or "")


def test_lambda_functions_can_carry_it() -> None:
    heavy = "{'numpy', 'pydantic', 'cv2', 'fastapi', 'starlette', 'boto3'}"
    script = (
        f"import sys, sam3edge_serving.http.errors, sam3edge_serving.http.data_url; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
