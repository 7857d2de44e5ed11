"""What it means when ``POST /invocations`` fails: the one table of statuses and codes, for the device and the API.

A status comes from the container itself (see ``sam3edge_serving/http``) or, by way of SageMaker, as
``OriginalStatusCode`` of a ModelError; a code from SageMaker or S3 (Common Errors, and Errors of InvokeEndpoint and
InvokeEndpointAsync in the API reference of the SageMaker Runtime; Error Responses of Amazon S3).

``InternalFailure`` and its relatives are retried: AWS says that such a request "failed because of an internal error"
and its own SDKs try it again. A 408 is retried whichever way it came.

Standard library only, apart from the names in ``core/errors.py``: Lambda functions carry this module as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sam3edge.core.errors import EndpointFailure


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status or code means.

    Attributes:
        failure: the kind, see ``EndpointFailure``.
        retryable: whether the same request may well succeed in a moment.
    """

    failure: EndpointFailure
    retryable: bool = False


FAILED = Meaning("failed")
"""What is not in the tables."""

STATUSES: Mapping[int, Meaning] = {
    400: Meaning("bad_request"),
    401: Meaning("denied"),
    403: Meaning("denied"),
    404: Meaning("denied"),
    408: Meaning("timeout", retryable=True),
    413: Meaning("too_large"),
    422: Meaning("unanswerable"),
    429: Meaning("busy", retryable=True),
    500: Meaning("failed", retryable=True),
    502: Meaning("failed", retryable=True),
    503: Meaning("not_ready", retryable=True),
    504: Meaning("timeout", retryable=True),
}

CODES: Mapping[str, Meaning] = {
    **dict.fromkeys(
        ("RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"),
        Meaning("busy", retryable=True),
    ),
    **dict.fromkeys(
        ("ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException"),
        Meaning("not_ready", retryable=True),
    ),
    **dict.fromkeys(
        ("InternalDependencyException", "InternalError", "InternalFailure", "InternalServerException"),
        Meaning("failed", retryable=True),
    ),
    "RequestTimeout": Meaning("timeout", retryable=True),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "ExpiredTokenException",
            "NoSuchBucket",
            "UnrecognizedClientException",
            "ValidationError",
            "ValidationException",
        ),
        Meaning("denied"),
    ),
}


def meaning_of_status(status: int) -> Meaning:
    """Of an HTTP status of the container."""
    return STATUSES.get(status, FAILED)


def meaning_of_code(code: str) -> Meaning:
    """Of an error code of SageMaker or S3 that is not a ModelError."""
    return CODES.get(code, FAILED)


def error_message(body: bytes | str, most: int = 500) -> str:
    """The message of an error body in OpenAI's shape, ``{"error": {"message": ...}}``; empty when it is not one.

    Args:
        most: characters that are returned.
    """
    try:
        value = json.loads(body[:20_000])
    except (ValueError, RecursionError):
        return ""
    member = value.get("error") if isinstance(value, dict) else None
    message = member.get("message") if isinstance(member, dict) else None
    return message[:most] if isinstance(message, str) else ""
