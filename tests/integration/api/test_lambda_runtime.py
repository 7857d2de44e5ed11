"""Both functions under Lambda's own runtime interface client (``awslambdaric``), against a small Runtime API.

The Runtime API is AWS's ("Using the Lambda runtime API for custom runtimes"): the client takes events with GET
``.../invocation/next`` and gives responses with POST ``.../invocation/<id>/response`` or ``.../error``. boto3 is the
real one, too, and asks stand-ins over HTTP.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from integration.api.conftest import SCENE
from sam3edge_serving.api.keys import digest, new_key
from sam3edge_simulator.api_gateway.events import HttpRequest, authorizer_event, to_event
from support.api_standin import StandIn

pytest.importorskip("awslambdaric", reason="it has no wheels for this platform")

BASE = "/2018-06-01/runtime/invocation"
SECONDS = 90
"""For one answer, on a slow machine."""


@dataclass
class RuntimeApi:
    """Hands out events, takes responses."""

    address: str = ""
    events: queue.Queue[tuple[str, dict[str, Any]] | None] = field(default_factory=queue.Queue)
    heard: queue.Queue[tuple[str, dict[str, Any]]] = field(default_factory=queue.Queue)
    log: Path | None = None

    def invoke(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """``response`` or ``error``, and what it says."""
        self.events.put((f"id-{time.monotonic_ns()}", event))
        try:
            return self.heard.get(timeout=SECONDS)
        except queue.Empty:
            raise AssertionError(self.said()) from None

    def said(self) -> str:
        """What the function wrote."""
        return self.log.read_text() if self.log else ""


def _handler(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            entry = api.events.get()
            if entry is None:
                self.close_connection = True
                return
            name, event = entry
            deadline = int((time.time() + 29) * 1000)
            headers = {
                "Lambda-Runtime-Aws-Request-Id": name,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:api",
            }
            self._send(200, json.dumps(event).encode(), headers)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(202, b"{}", {})
            api.heard.put((self.path.rsplit("/", 1)[-1], json.loads(body)))

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler


@contextmanager
def running(handler: str, environment: dict[str, str], folder: Path) -> Iterator[RuntimeApi]:
    """A function in a process of its own, as Lambda starts it."""
    api = RuntimeApi(log=folder / "log.txt")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    api.address = f"127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    full = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM3EDGE_"))},
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "api",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        **environment,
    }
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "awslambdaric", handler], env=full, stdout=log, stderr=log)
    try:
        yield api
    finally:
        process.kill()
        process.wait(60)
        api.events.put(None)  # whoever still waits for an event
        server.shutdown()
        server.server_close()
        thread.join()


def chat_event(key_id: str) -> dict[str, Any]:
    """A question, as API Gateway passes it on."""
    url = "data:image/jpeg;base64," + base64.b64encode(SCENE.read_bytes()).decode()
    content = [{"type": "text", "text": "scratch"}, {"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps({"model": "sam3edge", "messages": [{"role": "user", "content": content}]}).encode()
    headers = [("Content-Type", "application/json"), ("Authorization", "Bearer hidden")]
    event = to_event(HttpRequest("POST", "/v1/chat/completions", headers, body, "127.0.0.1"))
    event["requestContext"]["authorizer"] = {"keyId": key_id, "principalId": key_id}
    return event


def test_the_api_function_asks_sagemaker(standin: StandIn, tmp_path: Path) -> None:
    environment = {
        "SAM3EDGE_API_ENDPOINT_NAME": "my-endpoint",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": standin.url,
    }
    with running("sam3edge_serving.api.handler.handler", environment, tmp_path) as api:
        kind, answer = api.invoke(chat_event("key-1"))
        assert (kind, answer["statusCode"]) == ("response", 200), api.said()
        found = json.loads(json.loads(answer["body"])["choices"][0]["message"]["content"])
        assert found["type"] == "FeatureCollection"
        assert found["model"]["name"] == "sam3edge-demo"
        standin.cold = 1
        kind, answer = api.invoke(chat_event("key-1"))
        assert (kind, answer["statusCode"]) == ("response", 503), api.said()
        assert answer["multiValueHeaders"]["Retry-After"] == ["5"]
        kind, answer = api.invoke({**chat_event("key-1"), "path": "/v1/elsewhere"})
        assert (kind, answer["statusCode"]) == ("response", 404)
    log = api.said()
    assert '"route":"/v1/chat/completions"' in log
    assert '"Namespace":"sam3edge"' in log
    assert "hidden" not in log
    assert base64.b64encode(SCENE.read_bytes()).decode()[100:160] not in log


def test_the_api_function_with_wrong_settings_fails(tmp_path: Path) -> None:
    with running("sam3edge_serving.api.handler.handler", {"SAM3EDGE_API_BUCKET": "b"}, tmp_path) as api:
        kind, answer = api.invoke(chat_event("key-1"))
    assert kind == "error"
    assert answer["errorType"] == "SettingsError"
    assert "SAM3EDGE_API_ENDPOINT_NAME" in answer["errorMessage"]


@pytest.fixture
def table() -> Iterator[tuple[str, str]]:
    """A DynamoDB that knows one key, and that key."""
    key, record = new_key("ada")
    item = {"id": {"S": record.id}, "sha256": {"S": digest(key)}, "revoked": {"BOOL": False}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"] == "DynamoDB_20120810.GetItem"
            known = asked == {"TableName": "my-keys", "Key": {"id": {"S": record.id}}}
            body = json.dumps({"Item": item} if known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", key
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_authorizer_function_asks_dynamodb(table: tuple[str, str], tmp_path: Path) -> None:
    url, key = table
    environment = {"SAM3EDGE_API_KEY_TABLE": "my-keys", "AWS_ENDPOINT_URL_DYNAMODB": url}

    def event(header: str) -> dict[str, Any]:
        headers = [("Authorization", header)] if header else []
        return authorizer_event(to_event(HttpRequest("GET", "/v1/models", headers, b"", "127.0.0.1")))

    with running("sam3edge_serving.api.authorizer.handler", environment, tmp_path) as api:
        kind, policy = api.invoke(event(f"Bearer {key}"))
        assert (kind, policy["policyDocument"]["Statement"][0]["Effect"]) == ("response", "Allow"), api.said()
        assert policy["usageIdentifierKey"] == key.split("-")[1]
        _, denied = api.invoke(event("Bearer " + new_key("eve")[0]))
        assert denied["policyDocument"]["Statement"][0]["Effect"] == "Deny"
        kind, refused = api.invoke(event(""))
        assert (kind, refused["errorMessage"]) == ("error", "Unauthorized")
    assert key not in api.said()
