"""What can be wrong with a request to the endpoint or the API, by the status it is answered with.

    HttpError
    ├── BadRequest 400          the request does not say what it must
    ├── Unauthorized 401        no key, a wrong one, or one that was revoked
    ├── Forbidden 403           refused before it was read
    ├── NotFound 404            no such path, model, upload or detection
    ├── MethodNotAllowed 405    a path that is asked with another method
    ├── NotAcceptable 406       no format that is asked for can be given
    ├── RequestTimeout 408      the body did not arrive in time
    ├── Conflict 409            the first request with this idempotency key is still in progress
    ├── TooLarge 413            more bytes, pixels or prompts than are taken
    ├── UnsupportedMedia 415    a body of a type that is not read
    ├── Unanswerable 422        understood, but this image or this model cannot answer it
    ├── Busy 429                too many requests in progress: come back later
    ├── InternalError 500       a fault of the server's own code
    ├── ModelFailed 500         the model itself failed
    ├── BadGateway 502          whom the API asked failed, or did not respond as it must
    ├── NotReady 503            the model is starting or cannot be reached: come back later
    └── GatewayTimeout 504      no response in the time that a request may take

A client's mistake is never answered with 5xx: SageMaker's alarms and roll-backs count those. The shape of the body and
the values of ``type`` and ``code`` are those of OpenAI's API where it has them, so that its clients raise the
exceptions that their users expect.

Lambda functions carry this module as it is: it imports nothing but the standard library and ``typing_extensions``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import TypedDict

MAX_MESSAGE, MAX_PARAM = 2000, 300
"""Characters of a message, and of the name of a member, that are sent."""


class ErrorMember(TypedDict):
    """What is wrong: for people, and by ``type`` and ``code`` for programs; ``param`` is the member at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The body of every response with a status of 400 or above."""

    error: ErrorMember


class HttpError(Exception):
    """Why a request is refused.

    Args:
        message: what was expected, got what, what to do. Never a key, never image content.
        param: the member of the request that is at fault, such as ``prompts.0.boxes``.
        code: where the class's own says too little.
        retry_after: seconds after which it is worth another try; None where another try is as good as this one.
    """

    status: ClassVar[int]
    default_code: ClassVar[str]

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What the response must have beside its body."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def body(self) -> ErrorBody:
        """As it is sent."""
        message, kind = str(self)[:MAX_MESSAGE], _type(self.status)
        param = None if self.param is None else self.param[:MAX_PARAM]
        return {"error": {"message": message, "type": kind, "param": param, "code": self.code}}

    def json(self) -> str:
        """The body on one line."""
        return json.dumps(self.body(), separators=(",", ":"), ensure_ascii=False)


class BadRequest(HttpError):
    """The request does not say what it must."""

    status, default_code = 400, "invalid_request"


class Unauthorized(HttpError):
    """No key, a wrong one, or one that was revoked."""

    status, default_code = 401, "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9110, 11.6.1: how to authenticate."""
        return {**super().headers, "WWW-Authenticate": "Bearer"}


class Forbidden(HttpError):
    """Refused before it was read."""

    status, default_code = 403, "forbidden"


class NotFound(HttpError):
    """No such path, model, upload or detection."""

    status, default_code = 404, "not_found"


class MethodNotAllowed(HttpError):
    """A path that is asked with another method.

    Args:
        allowed: the methods that it takes.
    """

    status, default_code = 405, "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9110, 15.5.6: what is allowed."""
        return {**super().headers, "Allow": ", ".join(self.allowed)}


class NotAcceptable(HttpError):
    """No format that is asked for can be given."""

    status, default_code = 406, "not_acceptable"


class RequestTimeout(HttpError):
    """The body did not arrive in time."""

    status, default_code = 408, "request_timeout"


class Conflict(HttpError):
    """The first request with this idempotency key is still in progress."""

    status, default_code = 409, "idempotency_in_progress"


class TooLarge(HttpError):
    """More bytes, pixels or prompts than are taken."""

    status, default_code = 413, "too_large"


class UnsupportedMedia(HttpError):
    """A body of a type that is not read."""

    status, default_code = 415, "unsupported_media_type"


class Unanswerable(HttpError):
    """Understood, but this image or this model cannot answer it."""

    status, default_code = 422, "unanswerable"


class Busy(HttpError):
    """Too many requests in progress."""

    status, default_code = 429, "model_busy"


class InternalError(HttpError):
    """A fault of the server's own code."""

    status, default_code = 500, "internal_error"


class ModelFailed(HttpError):
    """The model itself failed."""

    status, default_code = 500, "model_failed"


class BadGateway(HttpError):
    """Whom the API asked failed, or did not respond as it must; by default that is the model."""

    status, default_code = 502, "model_failed"


class NotReady(HttpError):
    """The model is starting or cannot be reached, or the server is going away."""

    status, default_code = 503, "model_not_ready"


class GatewayTimeout(HttpError):
    """No response in the time that a request may take."""

    status, default_code = 504, "timeout"


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
