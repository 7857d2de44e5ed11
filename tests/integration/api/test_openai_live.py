"""OpenAI's clients, unchanged, in front of the API's functions and what is served behind them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openai
import pytest
from pydantic import BaseModel

from integration.api.conftest import SCENE
from sam3edge_serving.api.application import Application
from sam3edge_serving.api.keys import MemoryKeys, new_key
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings
from sam3edge_simulator.api_gateway.__main__ import make_gateway
from sam3edge_simulator.api_gateway.server import serving
from support.endpoint_server import launch

DATA_URL = "data:image/jpeg;base64," + base64.b64encode(SCENE.read_bytes()).decode()
ASKED = "Find all scratches, dents and metal tags in this image."
ASSETS = Path(__file__).parents[3] / "assets"
KINDS = ("demo-bundle", "demo-checkpoint")
NODE = Path(__file__).parent / "node"


@dataclass(frozen=True)
class Live:
    """Where the API is, and the container behind it."""

    url: str
    key: str
    endpoint: str

    def client(self) -> openai.OpenAI:
        """OpenAI's client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.xdist_group(f"OpenAI's clients of {kind}")) for kind in KINDS],
)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """The API in front of the served demo bundle, and of the checkpoint that it was made of."""
    server = launch(ASSETS / request.param, SAM3EDGE_THREADS="1", CONFIDENCE_THRESHOLD="0.4")
    try:
        server.wait_until_ready()
        environment = {"SAM3EDGE_API_ENDPOINT_URL": server.url, "SAM3EDGE_API_MODEL_CREATED": "1790000000"}
        key, record = new_key("ada")
        gateway = make_gateway(Application(assemble(read_settings(Settings, environment))), MemoryKeys(record))
        with serving(gateway) as url:
            yield Live(url, key, server.url)
    finally:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def message(live: Live) -> dict[str, Any]:
    """What there is in the scene, as GeoJSON."""
    with live.client() as client:
        answer = client.chat.completions.create(
            model="sam3edge", messages=chat(), response_format={"type": "json_object"}
        )
    found: dict[str, Any] = json.loads(answer.choices[0].message.content or "")
    assert len(found["features"]) > 2
    return found


class Box(BaseModel):
    x_min: float
    y_min: float
    x_max: float
    y_max: float


class Defect(BaseModel):
    label: str
    confidence: float
    bounding_box: Box
    polygon: list[list[float]]
    severity: str | None


class Inspection(BaseModel):
    defects: list[Defect]
    scratch_count: int
    has_metal_tags: bool
    summary: str


def chat() -> list[Any]:
    content = [{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
    return [{"role": "user", "content": content}]


def turns() -> list[Any]:
    content = [{"type": "input_text", "text": ASKED}, {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}]
    return [{"role": "user", "content": content}]


def check(inspection: Inspection | None, message: dict[str, Any]) -> None:
    """The client's own model says what the GeoJSON says."""
    assert inspection is not None
    features = sorted((f["properties"] for f in message["features"]), key=lambda p: -p["score"])
    assert [(d.label, d.confidence) for d in inspection.defects] == [(p["prompt"], p["score"]) for p in features]
    assert [list(d.bounding_box.model_dump().values()) for d in inspection.defects] == [
        p["imageBBox"] for p in features
    ]
    assert inspection.scratch_count == sum(p["prompt"] == "scratch" for p in features)
    assert inspection.has_metal_tags == any(p["prompt"] == "metal tag" for p in features)
    assert {d.severity for d in inspection.defects} == {None}


def test_a_chat_is_parsed_into_the_clients_own_model(live: Live, message: dict[str, Any]) -> None:
    with live.client() as client:
        answer = client.chat.completions.parse(model="sam3edge", messages=chat(), response_format=Inspection)
    check(answer.choices[0].message.parsed, message)


def test_what_detections_do_not_fit_is_a_bad_request(live: Live) -> None:
    class Judged(BaseModel):
        label: str
        severity: int

    class Judgement(BaseModel):
        defects: list[Judged]

    with live.client() as client, pytest.raises(openai.BadRequestError, match="severity") as refused:
        client.chat.completions.parse(model="sam3edge", messages=chat(), response_format=Judgement)
    where = "response_format.json_schema.schema.properties.defects.items.properties.severity"
    assert (refused.value.code, refused.value.param) == ("unsupported_value", where)


def test_a_response(live: Live, message: dict[str, Any]) -> None:
    with live.client() as client:
        answer = client.responses.create(model="sam3edge", input=turns())
    assert answer.status == "completed"
    assert json.loads(answer.output_text)["features"] == message["features"]
    assert answer.usage is not None
    assert answer._request_id


def test_a_response_is_parsed_and_streamed(live: Live, message: dict[str, Any]) -> None:
    with live.client() as client:
        answer = client.responses.parse(model="sam3edge", input=turns(), text_format=Inspection)
        check(answer.output_parsed, message)
        with client.responses.stream(model="sam3edge", input=turns(), text_format=Inspection) as stream:
            kinds = [event.type for event in stream]
            check(stream.get_final_response().output_parsed, message)
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_when_the_model_was_made(live: Live) -> None:
    with live.client() as client:
        assert client.models.retrieve("sam3edge").created == 1_790_000_000


def test_segmentations_by_the_clients_own_http(live: Live, message: dict[str, Any]) -> None:
    with live.client() as client:
        answer = client.post(
            "/images/segmentations", cast_to=object, body={"model": "sam3edge", "image": DATA_URL, "prompt": ASKED}
        )
        uploaded = client.post(
            "/images/segmentations",
            cast_to=object,
            body={"prompt": "scratch, dent, metal tag", "n": "2"},
            files={"image": ("scene.jpg", SCENE.read_bytes(), "image/jpeg")},
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
    assert isinstance(answer, dict)
    assert isinstance(uploaded, dict)
    scores = [feature["properties"]["score"] for feature in message["features"]]
    assert [one["score"] for one in answer["data"]] == sorted(scores, reverse=True)
    assert uploaded["data"] == answer["data"][:2]
    for one in answer["data"]:
        png = np.frombuffer(base64.b64decode(one["b64_json"]), np.uint8)
        mask = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        assert mask.shape == (answer["height"], answer["width"])
        x, y, width, height = cv2.boundingRect(mask)
        assert (x, y, x + width, y + height) == tuple(one["box"])


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
@pytest.mark.skipif(not (NODE / "node_modules" / "openai").is_dir(), reason="npm has not installed the client")
def test_the_client_for_node(live: Live, message: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "image.txt").write_text(DATA_URL)
    environment = {**os.environ, "OPENAI_BASE_URL": f"{live.url}/v1", "OPENAI_API_KEY": live.key}
    ran = subprocess.run(
        ["node", "client.mjs", str(tmp_path / "image.txt"), ASKED],
        cwd=NODE, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["models"] == ["sam3edge"]
    assert said["chat"]["features"] == message["features"]
    assert said["streamed"] == said["chat"]["features"]
    assert said["response"]["features"] == message["features"]
    check(Inspection.model_validate(said["parsed"]), message)
    assert said["refused"] == {"status": 404, "code": "model_not_found"}
