"""Endpoints by their name in SageMaker: requests as botocore's service model wants them, stubbed and over loopback."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from sam3edge.core.errors import EndpointError, SettingsError
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.invocations.client import EndpointClient
from sam3edge.invocations.request import InvocationRequest
from sam3edge.invocations.sagemaker import SageMakerAsyncTransport, SageMakerTransport, boto3_client, split_uri
from support.samples import frame, red_square
from support.stand_in import StandIn

REQUEST = InvocationRequest("f1", b"jpeg", "image/jpeg", "text_prompt=red,threshold=0.5,image_id=f1")
HEADERS = {
    "ContentType": "image/jpeg",
    "Accept": "application/geo+json",
    "CustomAttributes": "text_prompt=red,threshold=0.5,image_id=f1",
}


def stream(content: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), len(content))


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def stubbed(service: str) -> tuple[Any, Stubber]:
    client = boto3.client(service, aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    stubber.activate()
    return client, stubber


def test_a_real_time_endpoint_is_asked_as_its_api_wants_it() -> None:
    client, stubber = stubbed("sagemaker-runtime")
    expected = {"EndpointName": "sam3", "Body": b"jpeg", **HEADERS}
    stubber.add_response("invoke_endpoint", {"Body": stream(b"answer")}, expected)
    assert SageMakerTransport("sam3", client).send(REQUEST, 5) == b"answer"
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "extra", "says", "retryable"),
    [
        ("ThrottlingException", {}, "ThrottlingException", True),
        ("ServiceUnavailable", {}, "ServiceUnavailable", True),
        ("ModelNotReadyException", {}, "ModelNotReadyException", True),
        ("ValidationError", {}, "ValidationError", False),
        ("AccessDeniedException", {}, "AccessDeniedException", False),
        (
            "ModelError",
            {
                "OriginalStatusCode": 429,
                "OriginalMessage": json.dumps({"error": {"message": "too many requests in progress"}}),
            },
            "429: too many requests in progress",
            True,
        ),
        ("ModelError", {"OriginalStatusCode": 413, "OriginalMessage": "no JSON"}, "ModelError 413", False),
    ],
)
def test_its_errors_are_told_apart(code: str, extra: dict[str, Any], says: str, retryable: bool) -> None:
    client, stubber = stubbed("sagemaker-runtime")
    stubber.add_client_error("invoke_endpoint", code, "something", 400, modeled_fields=extra)
    with pytest.raises(EndpointError, match=says) as caught:
        SageMakerTransport("sam3", client).send(REQUEST, 5)
    assert caught.value.retryable == retryable


class Bucket:
    """The asynchronous way: what is put, and what comes of it."""

    def __init__(self, *looks: Callable[[Stubber], None]) -> None:
        self.runtime, self.asked = stubbed("sagemaker-runtime")
        self.storage, self.stored = stubbed("s3")
        self.now, self.slept = 0.0, list[float]()
        self.stored.add_response(
            "put_object", {}, {"Bucket": "b", "Key": "in/f1", "Body": b"jpeg", "ContentType": "image/jpeg"}
        )
        self.asked.add_response(
            "invoke_endpoint_async",
            {"InferenceId": "1", "OutputLocation": "s3://b/out/1", "FailureLocation": "s3://b/failed/1"},
            {"EndpointName": "sam3", "InputLocation": "s3://b/in/f1", "RequestTTLSeconds": ANY, **HEADERS},
        )
        for look in looks:
            look(self.stored)
        self.stored.add_response("delete_object", {}, {"Bucket": "b", "Key": "in/f1"})

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def send(self, seconds: float) -> bytes:
        transport = SageMakerAsyncTransport(
            "sam3", "s3://b/in/", self.runtime, self.storage, clock=lambda: self.now, sleep=self.sleep
        )
        try:
            return transport.send(REQUEST, seconds)
        finally:
            self.stored.assert_no_pending_responses()  # the upload was taken back, too
            self.asked.assert_no_pending_responses()


def missing(key: str) -> Callable[[Stubber], None]:
    return lambda s: s.add_client_error(
        "get_object", "NoSuchKey", http_status_code=404, expected_params={"Bucket": "b", "Key": key}
    )


def there(key: str, content: bytes) -> Callable[[Stubber], None]:
    return lambda s: s.add_response("get_object", {"Body": stream(content)}, {"Bucket": "b", "Key": key})


def test_an_asynchronous_answer_is_looked_for_until_it_is_there() -> None:
    bucket = Bucket(
        missing("out/1"), missing("failed/1"), missing("out/1"), missing("failed/1"), there("out/1", b"yes")
    )
    assert bucket.send(10.0) == b"yes"
    assert bucket.slept == [0.3, 0.6]


def test_an_asynchronous_failure_is_told_at_once() -> None:
    with pytest.raises(EndpointError, match="too dark"):
        Bucket(missing("out/1"), there("failed/1", b"too dark")).send(10.0)


def test_an_asynchronous_answer_is_not_waited_for_longer_than_was_said() -> None:
    bucket = Bucket(*(missing(key) for _ in range(3) for key in ("out/1", "failed/1")))
    with pytest.raises(EndpointError, match="in time"):
        bucket.send(2.0)
    assert bucket.now <= 2.0


def test_a_bucket_that_may_not_be_read_is_an_error_and_not_waited_for() -> None:
    denied: Callable[[Stubber], None] = lambda s: s.add_client_error("get_object", "AccessDenied")  # noqa: E731
    with pytest.raises(EndpointError, match="AccessDenied"):
        Bucket(denied).send(10.0)


@pytest.mark.parametrize("wrong", ["b/p", "s3://", "https://b/p"])
def test_where_uploads_go_is_an_address_of_s3(wrong: str) -> None:
    with pytest.raises(SettingsError, match="s3://bucket/prefix"):
        split_uri(wrong)


class TokenExchange:
    """The credentials server of a nucleus."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exchange.tokens.append(self.headers.get("Authorization", ""))
                body = json.dumps(
                    {
                        "AccessKeyId": "AKIDEVICE",
                        "SecretAccessKey": "s",
                        "Token": "t",
                        "Expiration": "2100-01-01T00:00:00Z",
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/2016-11-01/credentialprovider/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def exchange() -> Iterator[TokenExchange]:
    one = TokenExchange()
    yield one
    one.close()


@pytest.fixture
def server() -> Iterator[StandIn]:
    one = StandIn(FakeEngine(version="9.9.9"))
    yield one
    one.close()


def test_a_device_asks_with_the_credentials_of_the_token_exchange_service(
    exchange: TokenExchange, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", exchange.url)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "svcuid")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = boto3_client("sagemaker-runtime", 20.0)
    found = EndpointClient(SageMakerTransport("sam3", client)).ask(frame(red_square()), (Prompt("red"),), 20.0)
    client.close()
    assert found.model.version == "9.9.9"
    assert len(found.detections) == 1
    assert exchange.tokens == ["svcuid"]
    [asked] = server.asked
    assert asked.path == "/endpoints/sam3/invocations"
    assert "AKIDEVICE" in asked.headers["Authorization"]


def test_a_device_without_credentials_gets_an_error_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(EndpointError, match="NoCredentialsError") as caught:
        SageMakerTransport("sam3", boto3_client("sagemaker-runtime", 1.0)).send(REQUEST, 1.0)
    assert not caught.value.retryable


def test_sagemaker_out_of_reach_is_worth_another_try() -> None:
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2),
    )
    with pytest.raises(EndpointError, match="cannot be reached: EndpointConnectionError") as caught:
        SageMakerTransport("sam3", client).send(REQUEST, 1.0)
    assert caught.value.retryable


def test_without_a_region_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SettingsError, match="AWS_REGION"):
        boto3_client("sagemaker-runtime", 1.0)
