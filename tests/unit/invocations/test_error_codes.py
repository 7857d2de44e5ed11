"""The one table of statuses and codes: every row, over HTTP and by way of SageMaker, means the same."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from sam3edge.core.errors import EndpointError
from sam3edge.engines.fake import FakeEngine
from sam3edge.invocations.error_codes import CODES, STATUSES, Meaning, error_message, meaning_of_code, meaning_of_status
from sam3edge.invocations.http import HttpTransport
from sam3edge.invocations.request import InvocationRequest
from sam3edge.invocations.sagemaker import botocore_errors
from support.stand_in import Reply, StandIn

REQUEST = InvocationRequest("f1", b"jpeg", "image/jpeg")
BODY = json.dumps({"error": {"message": "why", "type": "x", "param": None, "code": "x"}})


def told(error: EndpointError) -> Meaning:
    return Meaning(error.failure, error.retryable)


@pytest.mark.parametrize("status", [*STATUSES, 302, 409, 599])
def test_a_status_means_the_same_from_the_container_and_through_sagemaker(status: int) -> None:
    server = StandIn(FakeEngine())
    server.manner = lambda asked: Reply(BODY.encode(), status)
    try:
        with pytest.raises(EndpointError) as direct:
            HttpTransport(server.url).send(REQUEST, 20.0)
    finally:
        server.close()
    response = {"Error": {"Code": "ModelError"}, "OriginalStatusCode": status, "OriginalMessage": BODY}
    with pytest.raises(EndpointError) as relayed, botocore_errors("SageMaker"):
        raise ClientError(response, "InvokeEndpoint")  # type: ignore[arg-type]
    assert told(direct.value) == told(relayed.value) == meaning_of_status(status)
    assert direct.value.said == relayed.value.said == "why"


@pytest.mark.parametrize("code", [*CODES, "NeverHeardOf"])
def test_a_code_of_sagemaker_is_told_by_the_table(code: str) -> None:
    with pytest.raises(EndpointError, match=code) as caught, botocore_errors("SageMaker"):
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "InvokeEndpoint")
    assert told(caught.value) == meaning_of_code(code)


def test_what_passes_by_itself_is_retried_and_what_does_not_is_not() -> None:
    """By the API reference: "InternalFailure" is AWS's own, a refusal is the client's."""
    assert {status for status, meaning in STATUSES.items() if meaning.retryable} == {408, 429, 500, 502, 503, 504}
    assert meaning_of_code("InternalFailure").retryable
    assert meaning_of_code("ThrottlingException").failure == "busy"
    for code in ("AccessDeniedException", "ValidationException", "ExpiredTokenException", "NeverHeardOf"):
        assert not meaning_of_code(code).retryable


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        '{"error": "text"}',
        '{"error": {"message": 5}}',
        "[" * 30_000,
        '{"message": "another"}',
        b"\xff",
    ],
)
def test_a_body_in_another_shape_has_no_message(body: str | bytes) -> None:
    assert error_message(body) == ""


def test_a_long_message_is_cut() -> None:
    assert error_message(json.dumps({"error": {"message": "x" * 5000}}), 10) == "x" * 10
