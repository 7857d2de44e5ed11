"""The model's side: what SageMaker and the container are asked, and what becomes of their answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from sam3edge.invocations.attributes import HEADER, write_attributes
from sam3edge.invocations.http import HttpTransport
from sam3edge.invocations.sagemaker import SageMakerTransport
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.model import DetectionQuery, EndpointModel
from sam3edge_serving.http.errors import (
    BadGateway,
    BadRequest,
    Busy,
    GatewayTimeout,
    HttpError,
    InternalError,
    NotReady,
    TooLarge,
    Unanswerable,
)
from support.api_rig import GEOJSON, PNG

IMAGE = Image(PNG, "image/png")
QUERY = DetectionQuery(("red car", "a,b|c;d=e", "Größe"), 0.4, "yard 7, left.png")
REFUSAL = json.dumps({"error": {"message": "no such phrase", "type": "x", "param": None, "code": "unanswerable"}})
NOT_ANSWERS = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    b'{"type":"FeatureCollection"}',
    GEOJSON[:-9].encode(),
    b"\xff",
    b"[" * 99_999,
]


def test_attributes_that_are_too_long_go_into_the_body() -> None:
    long = DetectionQuery(tuple(f"{letter}" + "é" * 100 for letter in "abc"), 0.4, "x")
    request = long.request(IMAGE)
    assert (request.content_type, request.attributes) == ("application/json", "")
    members = json.loads(request.body)
    assert base64.b64decode(members.pop("image")) == PNG
    assert members == {"text_prompt": list(long.phrases), "threshold": 0.4, "image_id": "x"}


def test_what_no_endpoint_takes_is_not_sent() -> None:
    with pytest.raises(TooLarge):
        DetectionQuery(("dent",)).request(Image(bytes(25_000_001), "image/png"))


@pytest.fixture(scope="module")
def runtime() -> Any:
    """boto3's client, which is never let near a network."""
    return boto3.client(
        "sagemaker-runtime",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )


@contextmanager
def stubbed(runtime: Any) -> Iterator[tuple[Stubber, EndpointModel]]:
    """The client's answers, and the model that asks it."""
    with Stubber(runtime) as stub:
        yield stub, EndpointModel(SageMakerTransport("my-endpoint", runtime), 20.0, 5)
        stub.assert_no_pending_responses()


def body(data: bytes) -> StreamingBody:
    """As boto3 gives it."""
    return StreamingBody(io.BytesIO(data), len(data))


def test_sagemaker_is_asked_by_attributes(runtime: Any) -> None:
    expected = {
        "EndpointName": "my-endpoint",
        "Body": PNG,
        "ContentType": "image/png",
        "Accept": "application/geo+json",
        "CustomAttributes": write_attributes(QUERY.attributes()),
    }
    with stubbed(runtime) as (stub, model):
        stub.add_response("invoke_endpoint", {"Body": body(GEOJSON.encode())}, expected)
        assert model.ask(IMAGE, QUERY) == GEOJSON


@pytest.mark.parametrize("data", NOT_ANSWERS)
def test_an_endpoint_that_lies(runtime: Any, data: bytes) -> None:
    with stubbed(runtime) as (stub, model):
        stub.add_response("invoke_endpoint", {"Body": body(data)})
        with pytest.raises(BadGateway):
            model.ask(IMAGE, QUERY)


@pytest.mark.parametrize(
    ("status", "problem", "message"),
    [
        (400, BadRequest, "no such phrase"),
        (413, TooLarge, "no such phrase"),
        (422, Unanswerable, "no such phrase"),
        (429, Busy, "too much to do"),
        (503, NotReady, "not ready"),
        (504, GatewayTimeout, "in time"),
        (500, BadGateway, "failed"),
        (406, BadGateway, "failed"),
        (415, BadGateway, "failed"),
        (418, BadGateway, "failed"),
    ],
)
def test_what_the_container_says_through_sagemaker(
    runtime: Any, status: int, problem: type[HttpError], message: str
) -> None:
    fields = {"OriginalStatusCode": status, "OriginalMessage": REFUSAL, "LogStreamArn": "arn:aws:logs:secret"}
    with stubbed(runtime) as (stub, model):
        stub.add_client_error("invoke_endpoint", "ModelError", "secret", 424, modeled_fields=fields)
        with pytest.raises(problem, match=message) as raised:
            model.ask(IMAGE, QUERY)
    assert "secret" not in str(raised.value)
    assert raised.value.retry_after == (5 if status in (429, 503) else None)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("ModelNotReadyException", NotReady),
        ("ServiceUnavailable", NotReady),
        ("ThrottlingException", Busy),
        ("ValidationError", InternalError),
        ("AccessDeniedException", InternalError),
        ("InternalFailure", BadGateway),
        ("InternalDependencyException", BadGateway),
    ],
)
def test_what_sagemaker_itself_says(runtime: Any, code: str, problem: type[HttpError]) -> None:
    with stubbed(runtime) as (stub, model):
        stub.add_client_error("invoke_endpoint", code, "Endpoint my-endpoint of account 123456789012 not found.")
        with pytest.raises(problem) as raised:
            model.ask(IMAGE, QUERY)
    assert "123456789012" not in str(raised.value)
    assert "my-endpoint" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ReadTimeoutError(endpoint_url="https://x"), GatewayTimeout),
        (ConnectTimeoutError(endpoint_url="https://x"), NotReady),
        (EndpointConnectionError(endpoint_url="https://x"), NotReady),
        (NoCredentialsError(), InternalError),
    ],
)
def test_a_network_that_fails(error: Exception, problem: type[HttpError]) -> None:
    class Failing:
        def invoke_endpoint(self, **_: object) -> None:
            raise error

    with pytest.raises(problem):
        EndpointModel(SageMakerTransport("my-endpoint", Failing()), 20.0, 5).ask(IMAGE, QUERY)


class Container(ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was asked."""

    daemon_threads = True
    status, answer, headers = 200, GEOJSON.encode(), {}
    wait: Event | None = None

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, *_: object) -> None:
        """A client that gave up is meant to."""


class _Handler(BaseHTTPRequestHandler):
    server: Container

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), data))
        if self.server.wait is not None:
            self.server.wait.wait(60)
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(self.server.answer)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def container() -> Iterator[Container]:
    """A container on a free port."""
    server = Container()
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def http_model(container: Container, seconds: float = 20.0) -> EndpointModel:
    """Asks it."""
    return EndpointModel(HttpTransport(f"http://127.0.0.1:{container.server_port}/"), seconds, 5)


def test_the_container_is_asked_by_attributes(container: Container) -> None:
    assert http_model(container).ask(IMAGE, QUERY) == GEOJSON
    ((path, headers, data),) = container.seen
    assert (path, data, headers["Content-Type"]) == ("/invocations", PNG, "image/png")
    assert headers[HEADER] == write_attributes(QUERY.attributes())


@pytest.mark.parametrize("data", NOT_ANSWERS)
def test_a_container_that_lies(container: Container, data: bytes) -> None:
    container.answer = data
    with pytest.raises(BadGateway):
        http_model(container).ask(IMAGE, QUERY)


@pytest.mark.parametrize(
    ("status", "header", "problem", "retry_after"),
    [
        (429, "3", Busy, 3),
        (503, "9999", NotReady, 60),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", NotReady, 1),
        (503, "Wed, 21 Oct 2099 07:28:00 GMT", NotReady, 60),
        (422, "3", Unanswerable, None),
        (500, "3", BadGateway, None),
        (302, "3", BadGateway, None),
    ],
)
def test_what_the_container_says(
    container: Container, status: int, header: str, problem: type[HttpError], retry_after: int | None
) -> None:
    container.status, container.answer = status, REFUSAL.encode()
    container.headers = {"Retry-After": header, "Location": "http://127.0.0.1:1/"}
    with pytest.raises(problem) as raised:
        http_model(container).ask(IMAGE, QUERY)
    assert raised.value.retry_after == retry_after


def test_a_container_that_is_too_slow_or_gone(container: Container) -> None:
    container.wait = Event()
    with pytest.raises(GatewayTimeout):
        http_model(container, 0.2).ask(IMAGE, QUERY)
    container.wait.set()
    with pytest.raises(NotReady):
        EndpointModel(HttpTransport("http://127.0.0.1:1"), 5.0, 5).ask(IMAGE, QUERY)
