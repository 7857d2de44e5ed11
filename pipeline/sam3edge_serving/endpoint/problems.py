"""What can be wrong with a request, by the status it is answered with.

    Problem
    ├── BadRequest 400            the request does not say what it must
    ├── NotAcceptable 406         no format that is asked for can be given
    ├── TooSlow 408               the body did not come in time
    ├── TooLarge 413              more bytes, pixels or prompts than this endpoint takes
    ├── UnsupportedMedia 415      a body of a type that this endpoint does not read
    ├── Unanswerable 422          understood, but this image or this model cannot answer it
    ├── Busy 429                  more requests at once than this endpoint takes: come back later
    ├── ModelFailed 500           the model itself failed
    ├── NotReady 503              the model is not loaded yet, or the endpoint is going away
    └── DeadlinePassed 504        no answer in the time that a request may take

A client's mistake is never answered with 5xx: SageMaker's alarms and roll-backs count those.
"""

from __future__ import annotations

from typing import ClassVar


class Problem(Exception):
    """Why a request is not answered.

    Args:
        message: what was expected, what came, what to do.
        retry_after: seconds after which it is worth another try; None where another try is as good as this one.
        param: which member of the request is wrong, such as ``prompts.0.boxes``; None where it is none in particular.
    """

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(self, message: str, *, retry_after: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.param = param


class BadRequest(Problem):
    """The request does not say what it must."""

    status, code = 400, "bad_request"


class NotAcceptable(Problem):
    """No format that is asked for can be given."""

    status, code = 406, "not_acceptable"


class TooSlow(Problem):
    """The body did not come in time."""

    status, code = 408, "too_slow"


class TooLarge(Problem):
    """More than this endpoint takes."""

    status, code = 413, "too_large"


class UnsupportedMedia(Problem):
    """A body of a type that this endpoint does not read."""

    status, code = 415, "unsupported_media_type"


class Unanswerable(Problem):
    """Understood, but this image or this model cannot answer it."""

    status, code = 422, "unanswerable"


class Busy(Problem):
    """More requests at once than this endpoint takes."""

    status, code = 429, "busy"


class ModelFailed(Problem):
    """The model itself failed."""

    status, code = 500, "model_failed"


class NotReady(Problem):
    """The model is not loaded yet, or the endpoint is going away."""

    status, code = 503, "not_ready"


class DeadlinePassed(Problem):
    """No answer in the time that a request may take."""

    status, code = 504, "deadline_passed"


ALL = (
    BadRequest,
    NotAcceptable,
    TooSlow,
    TooLarge,
    UnsupportedMedia,
    Unanswerable,
    Busy,
    ModelFailed,
    NotReady,
    DeadlinePassed,
)
