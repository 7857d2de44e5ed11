"""What a bundle is asked for when a request names nothing: the application with real bundles, in this process."""

from __future__ import annotations

from base64 import b64encode

import pytest
from fastapi.testclient import TestClient

from sam3edge_serving.endpoint.app import create_app
from sam3edge_serving.endpoint.loading import examine
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.environment import read_settings
from support.endpoint_server import START_SECONDS, Server
from support.waiting import until


@pytest.mark.parametrize(
    ("kind", "default", "asked"),
    [
        ("closed_bundle", "", 10),
        ("closed_bundle", "objects", 10),
        ("closed_bundle", "objects|Car", 2),
        ("closed_bundle", "car", 1),
        ("demo_bundle", "", 10),
        ("demo_bundle", "objects", 1),
    ],
)
def test_without_a_prompt_a_bundle_is_asked_for_what_it_knows(
    request: pytest.FixtureRequest, scene: bytes, kind: str, default: str, asked: int
) -> None:
    """OSML's clients send images alone, and its default prompt is not one that every bundle was exported for."""
    own = {"DEFAULT_TEXT_PROMPT": default} if default else {}
    given = {"CHECKPOINT_PATH": str(request.getfixturevalue(kind)), "CONFIDENCE_THRESHOLD": "0.4", **own}
    settings = read_settings(Settings, {"SAM3EDGE_THREADS": "1", **given})
    failures: list[Exception] = []
    with TestClient(create_app(settings, examine(settings), failures.append)) as client:
        until(lambda: client.get("/ping").status_code == 200 or bool(failures), START_SECONDS)
        assert not failures
        for answer in (
            client.post("/invocations", content=scene, headers={"Content-Type": "image/jpeg"}),
            client.post("/invocations", json={"image": b64encode(scene).decode()}),
        ):
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["prompts"]) == asked


@pytest.mark.xdist_group("endpoint")
def test_so_is_one_that_is_served(closed_server: Server, scene: bytes) -> None:
    answer = closed_server.post(scene, "image/jpeg")
    assert answer.status == 200
    assert len(answer.json()["prompts"]) == 10
