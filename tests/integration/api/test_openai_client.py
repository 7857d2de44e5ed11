"""The official ``openai`` client, unchanged, against the functions behind the local server, in front of an endpoint."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
import urllib3

import sam3edge
from integration.api.conftest import SCENE
from sam3edge_serving.api.application import Application
from sam3edge_serving.api.keys import MemoryKeys, new_key
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings
from sam3edge_simulator.api_gateway.__main__ import make_gateway
from sam3edge_simulator.api_gateway.server import serving
from support.api_standin import StandIn

SCHEMA = json.loads(
    (Path(sam3edge.__file__).parent / "core" / "messages" / "schemas" / "detections.schema.json").read_text()
)
DATA_URL = "data:image/jpeg;base64," + base64.b64encode(SCENE.read_bytes()).decode()
PROMPT = "scratch, dent\nmetal tag"


@dataclass(frozen=True)
class Site:
    """Where the API is."""

    url: str
    key: str
    standin: StandIn

    def client(self, key: str | None = None, retries: int = 0) -> openai.OpenAI:
        """OpenAI's client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=retries)


@pytest.fixture
def site(standin: StandIn) -> Iterator[Site]:
    """The API in front of the stand-in."""
    environment = {"SAM3EDGE_API_ENDPOINT_URL": standin.url, "SAM3EDGE_API_RETRY_AFTER_SECONDS": "1"}
    key, record = new_key("ada")
    gateway = make_gateway(Application(assemble(read_settings(Settings, environment))), MemoryKeys(record))
    with serving(gateway) as url:
        yield Site(url, key, standin)


def question(text: str = PROMPT, image: str = DATA_URL) -> list[Any]:
    """Messages with one image."""
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
    return [{"role": "system", "content": "You find things."}, {"role": "user", "content": content}]


def check(content: str | None) -> dict[str, Any]:
    """The content is the device's message, with something in it."""
    found: dict[str, Any] = json.loads(content or "")
    jsonschema.validate(found, SCHEMA)
    assert found["features"]
    assert [prompt["text"] for prompt in found["prompts"]] == ["scratch", "dent", "metal tag"]
    return found


def test_a_completion(site: Site) -> None:
    with site.client() as client:
        answer = client.chat.completions.create(
            model="sam3edge",
            messages=question(),
            response_format={"type": "json_object"},
            temperature=0,
            max_tokens=500,
            extra_body={"threshold": 0.5, "image_id": "scene 1"},
        )
    found = check(answer.choices[0].message.content)
    assert found["frame"]["name"] == "scene 1"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0
    assert answer._request_id
    assert answer.system_fingerprint == f"{found['model']['name']}-{found['model']['version']}"


def test_a_stream(site: Site) -> None:
    with site.client() as client:
        stream = client.chat.completions.create(
            model="sam3edge", messages=question(), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    content = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    check(content)
    assert chunks[-1].usage is not None
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def test_the_models(site: Site) -> None:
    with site.client() as client:
        assert [model.id for model in client.models.list()] == ["sam3edge"]
        assert client.models.retrieve("sam3edge").owned_by == "sam3edge"
        with pytest.raises(openai.NotFoundError, match="gpt-4o"):
            client.models.retrieve("gpt-4o")


def test_its_exceptions_are_the_ones_that_its_users_expect(site: Site) -> None:
    def ask(messages: list[Any], key: str | None = None, **others: Any) -> None:
        with site.client(key) as client:
            client.chat.completions.create(**{"model": "sam3edge", "messages": messages, **others})

    with pytest.raises(openai.AuthenticationError) as wrong_key:
        ask(question(), key="sk-wrong")
    assert (wrong_key.value.status_code, wrong_key.value.code) == (401, "invalid_api_key")
    with pytest.raises(openai.BadRequestError) as no_image:
        ask([{"role": "user", "content": "scratch"}])
    assert (no_image.value.code, no_image.value.param) == ("missing_image", "messages")
    with pytest.raises(openai.BadRequestError) as no_text:
        ask(question(""))
    assert no_text.value.code == "missing_prompt"
    with pytest.raises(openai.BadRequestError) as two:
        ask(question(), n=2)
    assert two.value.param == "n"
    with pytest.raises(openai.NotFoundError) as other:
        ask(question(), model="gpt-4o")
    assert other.value.code == "model_not_found"
    with pytest.raises(openai.UnprocessableEntityError, match="cannot be answered"):
        ask(question("purple elephant"))
    with pytest.raises(openai.APIStatusError) as large:
        ask(question(image="data:image/jpeg;base64," + "A" * 9_000_000))
    assert (large.value.status_code, large.value.code) == (413, "too_large")
    site.standin.busy = 1
    with pytest.raises(openai.RateLimitError) as busy:
        ask(question())
    assert busy.value.response.headers["retry-after"] == "1"
    site.standin.cold = 1
    with pytest.raises(openai.InternalServerError) as cold:
        ask(question())
    assert (cold.value.status_code, cold.value.code) == (503, "model_not_ready")


def test_it_tries_again_by_itself_while_the_model_wakes_up(site: Site) -> None:
    site.standin.cold = site.standin.busy = 1
    with site.client(retries=2) as client:
        check(client.chat.completions.create(model="sam3edge", messages=question()).choices[0].message.content)
    assert site.standin.asked == 3


def test_multipart_and_an_idempotency_key_over_http(site: Site) -> None:
    with urllib3.PoolManager() as http:
        headers = {"x-api-key": site.key, "Accept-Encoding": "gzip"}
        fields = {"text_prompt": PROMPT, "image": ("scene-01.jpg", SCENE.read_bytes(), "image/jpeg")}
        heard = http.request("POST", f"{site.url}/v1/detections", fields=fields, headers=headers)
        assert heard.status == 200
        assert heard.headers["Content-Type"] == "application/geo+json"
        assert check(heard.data.decode())["frame"]["name"] == "scene-01.jpg"
        refused = http.request("POST", f"{site.url}/v1/detections", fields=fields)
        assert refused.status == 401
        assert json.loads(refused.data)["error"]["code"] == "missing_api_key"
        huge = http.request("POST", f"{site.url}/v1/detections", body=bytes(10 * 2**20 + 1), headers=headers)
        assert (huge.status, json.loads(huge.data)["error"]["code"]) == (413, "too_large")


def test_the_command(standin: StandIn) -> None:
    """The local server as people start it; it makes a key and says it."""
    command = [sys.executable, "-m", "sam3edge_simulator.api_gateway", "--endpoint", standin.url, "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAM3EDGE_")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as run:
        try:
            assert run.stdout is not None
            url, _, key = run.stdout.readline().split()
            with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
                ask = {"model": "sam3edge", "messages": question(), "extra_headers": {"Idempotency-Key": "one"}}
                answers = [client.chat.completions.create(**ask) for _ in range(2)]
            check(answers[0].choices[0].message.content)
            assert answers[0] == answers[1]
            assert standin.asked == 1
        finally:
            run.terminate()
            run.communicate(timeout=60)
