"""The whole application in this process, with an engine that sees colours."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.errors import EngineError
from sam3edge.core.ports import Engine
from sam3edge.invocations.attributes import HEADER
from sam3edge_serving.endpoint import everything
from sam3edge_serving.endpoint.app import create_app
from sam3edge_serving.endpoint.fetching import Fetcher
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.environment import read_settings
from support import media
from support.engines import Pointing, Together, Watched
from support.samples import red_square

PNG = media.encode(red_square(), ".png")
BASE64 = base64.b64encode(PNG).decode()
SECONDS = 60

Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts applications; ready unless told not to wait."""
    with ExitStack() as stack:

        def start(
            engine: Engine | None = None, load: Callable[[], Engine] | None = None, **variables: str
        ) -> TestClient:
            failed = threading.Event()
            settings = read_settings(Settings, {"DEFAULT_TEXT_PROMPT": "red", **variables})
            made = engine or Pointing()
            app = create_app(settings, load or (lambda: made), lambda _: failed.set())
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            if load is None:
                until(lambda: client.get("/ping").status_code == 200)
            return client

        yield start


def until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(SECONDS / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about")


def attributes(text: str) -> dict[str, str]:
    return {HEADER: text, "Content-Type": "image/png"}


def error(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    described: dict[str, Any] = response.json()["error"]
    assert set(described) == {"message", "type", "param", "code"}
    return described


def test_an_image_with_attributes(serve: Serve) -> None:
    response = serve().post(
        "/invocations", content=PNG, headers=attributes("text_prompt=red|green,threshold=0.2,image_id=a%20b")
    )
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/geo+json")
    answer = response.json()
    jsonschema.validate(answer, detections_schema())
    assert answer["frame"]["name"] == "a b"
    assert answer["prompts"] == [
        {"text": text, "label": text, "threshold": 0.2, "min_area": 0.0} for text in ("red", "green")
    ]
    assert answer["features"][0]["properties"]["imageBBox"] == [100, 80, 160, 140]


def test_the_endpoints_own_phrases_and_threshold(serve: Serve) -> None:
    client = serve(DEFAULT_TEXT_PROMPT="green|blue", CONFIDENCE_THRESHOLD="0.25")
    assert [(p["text"], p["threshold"]) for p in client.post("/invocations", content=PNG).json()["prompts"]] == [
        ("green", 0.25),
        ("blue", 0.25),
    ]


def test_a_lenient_endpoint_answers_what_its_model_cannot_with_nothing_and_its_name(serve: Serve) -> None:
    client = serve(SAM3EDGE_LENIENT_PROMPTS="true")
    asked = {"image": BASE64, "text_prompt": ["zebra", "big cat"]}
    assert error(serve().post("/invocations", json=asked), 422)
    response = client.post("/invocations", json=asked)
    assert (response.status_code, response.headers[HEADER]) == (200, "unsupported_prompts=zebra|big%20cat")
    assert list(response.json()["unsupported_prompts"]) == ["zebra", "big cat"]
    assert response.json()["features"] == []
    coco = client.post("/invocations", json=asked, headers={"Accept": "application/vnd.coco.rle+json"})
    assert (coco.status_code, list(coco.json()["unsupported_prompts"])) == (200, ["zebra", "big cat"])
    listed = {"image": BASE64, "prompts": [{"text": "zebra"}]}
    assert "zebra" not in client.post("/invocations", json=listed).json()["prompt_results"][0]["error"]
    table = {"input_data": {"columns": ["image", "text_prompt"], "data": [[BASE64, "zebra"]]}}
    [row] = client.post("/invocations", json=table).json()
    assert row["response"]["predictions"] == [{"masks_per_prediction": []}]
    assert list(row["unsupported_prompts"]) == ["zebra"]
    line = json.dumps(asked).encode()
    answered = client.post("/invocations", content=line, headers={"Content-Type": "application/jsonlines"})
    assert list(answered.json()["unsupported_prompts"]) == ["zebra", "big cat"]


def test_what_is_answered_whole_has_no_header(serve: Serve) -> None:
    assert HEADER not in serve().post("/invocations", content=PNG).headers


def test_azure_points_boxes_and_several_masks(serve: Serve) -> None:
    columns = ["image", "input_points", "input_boxes", "input_labels", "multimask_output"]
    rows = [
        [BASE64, "[[130,110],[5,5]]", "", "", True],
        [BASE64, "", "[[100,80,160,140]]", "", False],
    ]
    response = serve().post("/invocations", json={"input_data": {"columns": columns, "data": rows}})
    assert response.status_code == 200, response.text
    first, second = response.json()
    assert [len(p["masks_per_prediction"]) for p in first["response"]["predictions"]] == [3, 3]
    [only] = second["response"]["predictions"][0]["masks_per_prediction"]
    png = np.frombuffer(base64.b64decode(only["encoded_binary_mask"]), np.uint8)
    mask = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, (red_square() == (255, 0, 0)).all(2))


def test_a_bad_row_is_named_and_the_others_are_answered(serve: Serve) -> None:
    columns = ["image", "input_points", "multimask_output"]
    rows = [[BASE64, "[[130,110]]", False], ["no image!", "[[1,1]]", False], [BASE64, "[[9999,9999]]", False]]
    client = serve()
    response = client.post("/invocations", json={"input_data": {"columns": columns, "data": rows}})
    assert response.status_code == 200, response.text
    first, second, third = response.json()
    assert len(first["response"]["predictions"]) == 1
    assert "error" not in first
    for number, row in ((1, second), (2, third)):
        assert row["response"]["predictions"] == []
        assert row["error"]["param"] == f"input_data.data.{number}"
        assert f"input_data.data.{number}" in row["error"]["message"]
    described = error(client.post("/invocations", json={"input_data": {"columns": columns, "data": rows[1:]}}), 400)
    assert "input_data.data.0" in described["message"]


def test_without_prompts_everything_is_outlined(serve: Serve) -> None:
    table = {"columns": ["image", "input_points"], "data": [[BASE64, ""]]}
    [row] = serve().post("/invocations", json={"input_data": table}).json()
    masks = [m for p in row["response"]["predictions"] for m in p["masks_per_prediction"]]
    assert masks
    scores = [m["iou_score"] for m in masks]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= everything.MIN_QUALITY


def test_clicks_where_the_model_takes_none(serve: Serve) -> None:
    table = {"columns": ["image", "input_points"], "data": [[BASE64, "[[130,110]]"]]}
    assert "points" in error(serve(Watched()).post("/invocations", json={"input_data": table}), 422)["message"]


def test_a_click_outside_of_the_image(serve: Serve) -> None:
    table = {"columns": ["image", "input_points"], "data": [[BASE64, "[[900,900]]"]]}
    assert "outside" in error(serve().post("/invocations", json={"input_data": table}), 422)["message"]


def test_prompt_lists_by_example(serve: Serve) -> None:
    box = {"x": 100, "y": 80, "width": 60, "height": 60}
    response = serve().post(
        "/invocations", json={"image": BASE64, "prompts": [{"type": "visual", "boxes": [box]}, {"text": "red"}]}
    )
    first, second = response.json()["prompt_results"]
    assert "error" in first  # this engine knows colours only
    assert second["predictions"][0]["format"] == "polygon"


def test_a_bad_line_does_not_harm_the_others(serve: Serve) -> None:
    lines = [
        json.dumps({"image": BASE64, "image_id": "first"}),
        "{nonsense",
        json.dumps({"image": "no base64!"}),
        json.dumps({"image": BASE64, "text_prompt": "zebra"}),
        "",
        json.dumps({"image": BASE64, "text_prompt": ["green"], "image_id": "last"}),
    ]
    response = serve().post("/invocations", content="\n".join(lines), headers={"Content-Type": "application/jsonlines"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/jsonlines")
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [a["error"]["code"] if "error" in a else a["frame"]["name"] for a in answers] == [
        "first",
        "invalid_request",
        "invalid_request",
        "unanswerable",
        "last",
    ]


def test_before_the_model_is_there(serve: Serve) -> None:
    go_on = threading.Event()

    def load() -> Engine:
        assert go_on.wait(SECONDS)
        return Watched()

    client = serve(load=load)
    for response in (client.get("/ping"), client.post("/invocations", content=PNG)):
        assert "being loaded" in error(response, 503)["message"]
        assert int(response.headers["Retry-After"]) > 0
    go_on.set()
    until(lambda: client.get("/ping").status_code == 200)
    assert client.get("/ping").content == b""


def test_a_model_that_does_not_load_is_said(serve: Serve) -> None:
    def load() -> Engine:
        raise EngineError("decoder.onnx does not load")

    client = serve(load=load)
    until(lambda: "decoder.onnx" in client.get("/ping").text)
    assert "decoder.onnx" in error(client.post("/invocations", content=PNG), 503)["message"]


def test_more_than_the_endpoint_takes_is_told_when_to_come_back(serve: Serve) -> None:
    engine = Watched()
    client = serve(engine, SAM3EDGE_MAX_REQUESTS="2")
    engine.may_go_on.clear()
    with ThreadPoolExecutor(2) as others:
        taken = [others.submit(client.post, "/invocations", content=PNG) for _ in range(2)]
        until(lambda: "sam3edge_requests_in_progress 2.0" in client.get("/metrics").text)
        refused = client.post("/invocations", content=PNG)
        engine.may_go_on.set()
        assert [one.result(SECONDS).status_code for one in taken] == [200, 200]
    assert error(refused, 429)["type"] == "rate_limit_error"
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.post("/invocations", content=PNG).status_code == 200


def test_the_deadline_and_that_what_was_given_up_is_not_worked_on(serve: Serve) -> None:
    engine = Watched()
    client = serve(engine, SAM3EDGE_DEADLINE_SECONDS="0.5")
    engine.may_go_on.clear()
    given_up, later = (media.encode(red_square(x), ".png") for x in (20, 40))
    assert "0.5 s" in error(client.post("/invocations", content=PNG), 504)["message"]
    error(client.post("/invocations", content=given_up), 504)
    engine.may_go_on.set()
    until(lambda: client.post("/invocations", content=later).status_code == 200)
    seen = [digest for digest, _ in engine.asked]
    assert "sha256:" + hashlib.sha256(PNG).hexdigest() in seen
    assert "sha256:" + hashlib.sha256(given_up).hexdigest() not in seen


def test_mock_latency_is_waited_for(serve: Serve) -> None:
    client = serve(SAM3EDGE_DEADLINE_SECONDS="0.2")
    assert client.post("/invocations", content=PNG, headers=attributes("mock_latency_mean=1")).status_code == 200
    error(client.post("/invocations", content=PNG, headers=attributes("mock_latency_mean=60000")), 504)


@pytest.mark.parametrize("kind", [Watched, Together])
def test_a_failing_model_is_a_500_and_three_of_them_end_the_health(serve: Serve, kind: type[Watched]) -> None:
    client = serve(kind(fails_at=["poison"]))
    for _ in range(3):
        poisoned = client.post("/invocations", content=PNG, headers=attributes("text_prompt=poison"))
        assert error(poisoned, 500)["code"] == "model_failed"
    assert "no memory left" in error(client.get("/ping"), 503)["message"]
    assert client.post("/invocations", content=PNG).status_code == 200
    assert client.get("/ping").status_code == 200


def test_a_fault_of_ours_says_nothing_of_its_inside(serve: Serve) -> None:
    client = serve(Watched(fails_at=["poison"], error=KeyError("secret")))
    described = error(client.post("/invocations", content=PNG, headers=attributes("text_prompt=poison")), 500)
    assert "secret" not in json.dumps(described)


def test_an_address_in_a_row_of_azures_table_follows_the_list_of_hosts(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(_: Fetcher, url: str) -> bytes:
        asked.append(url)
        return PNG

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    rows = [["https://images.example.org/a.png", "red"], [BASE64, "red"]]
    table = {"input_data": {"columns": ["image", "text_prompt"], "data": rows}}
    refused, answered = serve().post("/invocations", json=table).json()
    assert "fetches no addresses" in refused["error"]["message"]
    assert refused["error"]["param"] == "input_data.data.0"
    assert len(answered["response"]["predictions"][0]["masks_per_prediction"]) == 1
    first, second = serve(SAM3EDGE_FETCH_HOSTS="images.example.org").post("/invocations", json=table).json()
    assert first == second == answered
    assert asked == ["https://images.example.org/a.png"]


def test_addresses_are_not_fetched_by_default(serve: Serve) -> None:
    for image in ("https://example.org/a.png", {"type": "url", "value": "https://example.org/a.png"}):
        assert "fetches no addresses" in error(serve().post("/invocations", json={"image": image}), 422)["message"]


def test_requests_keep_the_name_they_came_with(serve: Serve) -> None:
    client = serve()
    given = client.post("/invocations", content=PNG, headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    made = client.post("/invocations", content=b"", headers={"X-Request-Id": "no good\tname"})
    assert len(made.headers["X-Request-Id"]) == 36


def test_what_is_not_there(serve: Serve) -> None:
    client = serve()
    assert error(client.get("/nowhere"), 404)["code"] == "not_found"
    assert error(client.get("/invocations"), 405)["code"] == "method_not_allowed"
    assert client.get("/invocations").headers["Allow"] == "POST"


def test_metrics_count_by_format_and_status(serve: Serve) -> None:
    client = serve()
    client.post("/invocations", content=PNG)
    client.post("/invocations", content=b"nonsense")
    client.post("/invocations", json={})
    text = client.get("/metrics").text
    assert 'sam3edge_requests_total{format="image",status="200"} 1.0' in text
    assert 'sam3edge_requests_total{format="image",status="422"} 1.0' in text
    assert 'sam3edge_requests_total{format="json",status="400"} 1.0' in text
    assert 'sam3edge_model_info{name="colors"' in text


def test_images_larger_than_the_budget_take_turns(serve: Serve) -> None:
    client = serve(SAM3EDGE_MAX_PENDING_PIXELS="1", SAM3EDGE_MAX_BATCH="4")
    lines = "\n".join(json.dumps({"image": BASE64, "image_id": str(i)}) for i in range(9))
    response = client.post("/invocations", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert [json.loads(line)["frame"]["name"] for line in response.text.splitlines()] == list("012345678")
