"""The API as its clients see it: both functions behind API Gateway's rules, with a model that says what it is told."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2

from sam3edge.core.messages.detections import encode
from sam3edge.invocations.request import ACCEPT
from sam3edge_serving.api.application import Application
from sam3edge_serving.api.dependencies import Large, Parts
from sam3edge_serving.api.idempotency import IdempotencyStore
from sam3edge_serving.api.images import Image, Images
from sam3edge_serving.api.keys import KeyRecord, MemoryKeys, new_key
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.http.errors import HttpError
from sam3edge_serving.http.remote_images import FetchRules, RemoteImages
from sam3edge_simulator.api_gateway.__main__ import make_gateway
from sam3edge_simulator.api_gateway.events import HttpReply, HttpRequest
from sam3edge_simulator.api_gateway.memory import MemoryRecords
from support.samples import answer, detection, red_square, wobbly

PNG = cv2.imencode(".png", red_square())[1].tobytes()
JPEG = cv2.imencode(".jpg", red_square())[1].tobytes()
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
GEOJSON = encode(answer((detection(wobbly(8, 30)),)), "", 10**6, 4.0)[0].payload.decode()
MAX_IMAGE_BYTES = 100_000


@dataclass(frozen=True)
class Aws:
    """boto3's S3 client and DynamoDB resource."""

    s3: Any
    dynamodb: Any


@dataclass
class SayingModel:
    """Answers always the same, or raises.

    Attributes:
        asked: what it was asked.
        accepted: as what it was to answer.
    """

    text: str = GEOJSON
    problem: Exception | None = None
    asked: list[tuple[Image, DetectionQuery]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    def ask(self, image: Image, looking: DetectionQuery, accept: str = ACCEPT) -> str:
        """See ``Model``."""
        self.asked.append((image, looking))
        self.accepted.append(accept)
        if self.problem is not None:
            raise self.problem
        return self.text


@dataclass(frozen=True)
class Heard:
    """A reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def text(self) -> str:
        """The body, unpacked."""
        packed = self.headers.get("content-encoding") == "gzip"
        return (gzip.decompress(self.body) if packed else self.body).decode()

    def refusal(self) -> tuple[int, str | None, str | None]:
        """Status, code and param of an error; fails where it has not OpenAI's shape."""
        error = self.json["error"]
        assert set(self.json) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"] in ("invalid_request_error", "rate_limit_error", "server_error")
        assert self.headers["content-type"] == "application/json"
        return self.status, error["code"], error["param"]


class Api:
    """A client with a key, and what is behind the API."""

    def __init__(
        self,
        *,
        model: SayingModel | None = None,
        once: IdempotencyStore | None = None,
        large: Large | None = None,
        remote: RemoteImages | None = None,
    ) -> None:
        self.model = model or SayingModel()
        self.key, self.record = new_key("ada")
        self.other_key, self.other_record = new_key("bob")
        self.revoked_key, kept = new_key("eve")
        revoked = KeyRecord(kept.id, kept.sha256, kept.owner, revoked=True)
        once = once or IdempotencyStore(MemoryRecords(), None, 3600)
        images = Images(MAX_IMAGE_BYTES, remote or RemoteImages(FetchRules((), MAX_IMAGE_BYTES, 2.0)))
        parts = Parts(self.model, images, once, large, "sam3edge", 1_790_000_000, 4)
        self.gateway = make_gateway(Application(parts), MemoryKeys(self.record, self.other_record, revoked))

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Heard:
        """A request; ``key`` is the client's own unless it is given, and none when it is empty."""
        key = self.key if key is None else key
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        reply: HttpReply = self.gateway.answer(HttpRequest(method, path, list(sent.items()), body, "127.0.0.1"))
        return Heard(reply.status, {name.lower(): value for name, value in reply.headers}, reply.body)

    def get(self, path: str, **others: Any) -> Heard:
        """A GET."""
        return self.send("GET", path, **others)

    def post(self, path: str, value: object, headers: Mapping[str, str] | None = None, key: str | None = None) -> Heard:
        """A POST of JSON."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.send("POST", path, json.dumps(value).encode(), sent, key)

    def refuses_with(self, problem: HttpError) -> None:
        """Let the model raise it."""
        self.model.problem = problem


def chat(text: str = "scratch", image: str = DATA_URL, **others: Any) -> dict[str, Any]:
    """A chat request."""
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
    return {"model": "sam3edge", "messages": [{"role": "user", "content": content}], **others}
