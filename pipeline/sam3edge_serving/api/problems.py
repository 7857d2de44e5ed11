"""What can be wrong with a request, by the status it is answered with, in OpenAI's shape.

    Problem
    ├── BadRequest 400          the request does not say what it must
    ├── NoKey 401               no key, a wrong one, or one that was withdrawn
    ├── NotFound 404            no such path, model, upload or detection
    ├── WrongMethod 405         a path that is asked with another method
    ├── Conflict 409            the first request with this idempotency key has not been answered yet
    ├── TooLarge 413            more bytes than are taken
    ├── UnsupportedMedia 415    a body of a type that is not read
    ├── Unanswerable 422        understood, but this image, this model or this idempotency key cannot answer it
    ├── Busy 429                the model has too much to do: come back later
    ├── Broken 500              a fault of the API itself
    ├── ModelFailed 502         the model failed, or did not answer what it must
    ├── NotReady 503            the model is starting or cannot be reached: come back later
    └── TooLate 504             no answer in the time that a request may take

The shape and the values of ``type`` and ``code`` are those of OpenAI's API where it has them, so that its clients raise
the exceptions that their users expect.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import TypedDict


class ErrorMember(TypedDict):
    """What happened; ``param`` is the member of the request that is at fault, where there is one."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The body of every answer that is none."""

    error: ErrorMember


class Problem(Exception):
    """Why a request is not answered.

    Args:
        message: what was expected, what came, what to do. Never a key, never image content.
        param: the member of the request that is at fault.
        code: where the class's own says too little.
        retry_after: seconds after which it is worth another try.
    """

    status: ClassVar[int]
    type: ClassVar[str] = "invalid_request_error"
    default_code: ClassVar[str]

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after

    def body(self) -> ErrorBody:
        """As it is answered."""
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(Problem):
    """The request does not say what it must."""

    status, default_code = 400, "invalid_request"


class Unauthorized(Problem):
    """No key, a wrong one, or one that was withdrawn."""

    status, default_code = 401, "invalid_api_key"


class NotFound(Problem):
    """No such path, model, upload or detection."""

    status, default_code = 404, "not_found"


class WrongMethod(Problem):
    """A path that is asked with another method.

    Args:
        allowed: the methods that it takes.
    """

    status, default_code = 405, "method_not_allowed"

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(Problem):
    """The first request with this idempotency key has not been answered yet."""

    status, default_code = 409, "idempotency_in_progress"


class TooLarge(Problem):
    """More bytes than are taken."""

    status, default_code = 413, "too_large"


class UnsupportedMedia(Problem):
    """A body of a type that is not read."""

    status, default_code = 415, "unsupported_media_type"


class Unanswerable(Problem):
    """Understood, but it cannot be answered."""

    status, default_code = 422, "unanswerable"


class Busy(Problem):
    """The model has too much to do."""

    status, type, default_code = 429, "rate_limit_error", "model_busy"


class InternalError(Problem):
    """A fault of the API itself."""

    status, type, default_code = 500, "server_error", "internal_error"


class ModelFailed(Problem):
    """The model failed, or did not answer what it must."""

    status, type, default_code = 502, "server_error", "model_failed"


class NotReady(Problem):
    """The model is starting or cannot be reached."""

    status, type, default_code = 503, "server_error", "model_not_ready"


class GatewayTimeout(Problem):
    """No answer in the time that a request may take."""

    status, type, default_code = 504, "server_error", "timeout"
