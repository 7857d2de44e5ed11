"""What the endpoint promises, over HTTP, with the demo bundle."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from integration.endpoint.conftest import MAX_BODY
from sam3edge.cli.schemas import detections_schema
from sam3edge.invocations.attributes import HEADER
from support import media
from support.endpoint_server import Server, error

pytestmark = pytest.mark.xdist_group("endpoint")

ASKED = "text_prompt=car|tree|building,threshold=0.4,image_id=scene%205"


@pytest.fixture(scope="module")
def answer(server: Server, scene: bytes) -> dict[str, Any]:
    """The plain answer to the scene, to compare others with."""
    response = server.post(scene, "image/jpeg", ASKED)
    assert response.status == 200, response.data
    assert response.headers["Content-Type"] == "application/geo+json"
    found: dict[str, Any] = response.json()
    assert len(found["features"]) >= 3
    return found


def test_osml(answer: dict[str, Any]) -> None:
    jsonschema.validate(answer, detections_schema())
    assert answer["frame"]["name"] == "scene 5"
    assert answer["part"] == {"index": 0, "count": 1}
    assert answer["unsupported_prompts"] == {}
    for feature in answer["features"]:
        properties = feature["properties"]
        assert feature["geometry"] is None
        assert properties["image_id"] == "scene 5"
        assert properties["featureClasses"] == [{"iri": properties["prompt"], "score": properties["score"]}]
        assert properties["modelMetadata"]["ontologyName"] in ("car", "tree", "building")
        assert properties["score"] > 0.4


def test_osmls_curl_without_a_content_type(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    for content_type in ("application/x-www-form-urlencoded", "application/octet-stream", ""):
        assert server.post(scene, content_type, ASKED).json()["features"] == answer["features"]


@pytest.mark.parametrize("extension", [".png", ".tiff", ".bmp", ".webp"])
def test_every_image_format(server: Server, scene: bytes, answer: dict[str, Any], extension: str) -> None:
    image = cv2.imdecode(np.frombuffer(scene, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    found = server.post(media.encode(np.ascontiguousarray(image), extension), "image/x", ASKED).json()
    assert [f["properties"]["imageGeometry"] for f in found["features"]] == [
        f["properties"]["imageGeometry"] for f in answer["features"]
    ]


def test_sixteen_bits_find_what_eight_find(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    image = cv2.imdecode(np.frombuffer(scene, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    found = server.post(media.encode(image.astype(np.uint16) * 257, ".tiff"), "image/tiff", ASKED).json()
    assert len(found["features"]) == len(answer["features"])


def test_a_request_in_json(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    request = {
        "image": base64.b64encode(scene).decode(),
        "text_prompt": ["car", "tree", "building"],
        "threshold": 0.4,
        "image_id": "scene 5",
    }
    assert server.post_json(request).json()["features"] == answer["features"]
    plain = server.post_json(request, accept="application/json")
    assert plain.headers["Content-Type"] == "application/json"
    by_data_url = {**request, "image": f"data:image/jpeg;base64,{request['image']}"}
    assert server.post_json(by_data_url).json()["features"] == answer["features"]


def test_jumpstarts_semicolons_and_what_stands_for_what_is_missing(server: Server, scene: bytes) -> None:
    found = server.post(scene, "image/jpeg", "image_id=a;threshold=0.9").json()
    assert [(p["text"], p["threshold"]) for p in found["prompts"]] == [("car", 0.9), ("building", 0.9), ("tree", 0.9)]
    other = server.post_json({"image": base64.b64encode(scene).decode()}, attributes="text_prompt=ship").json()
    assert [(p["text"], p["threshold"]) for p in other["prompts"]] == [("ship", 0.4)]


def test_one_unknown_phrase_does_not_harm_the_others(
    closed_server: Server, scene: bytes, answer: dict[str, Any]
) -> None:
    response = closed_server.post(scene, "image/jpeg", ASKED.replace("|tree", "|zebra|tree"))
    assert response.headers[HEADER] == "unsupported_prompts=zebra"  # which SageMaker passes on
    found = response.json()
    assert list(found["unsupported_prompts"]) == ["zebra"]
    assert len(found["features"]) == len(answer["features"])


def test_coco_run_lengths(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    response = server.post(scene, "image/jpeg", ASKED, accept="application/vnd.coco.rle+json")
    assert response.headers["Content-Type"] == "application/vnd.coco.rle+json"
    coco = response.json()
    names = {c["id"]: c["name"] for c in coco["categories"]}
    by_coco = [(names[a["category_id"]], a["score"]) for a in coco["annotations"]]
    assert by_coco == [(f["properties"]["prompt"], f["properties"]["score"]) for f in answer["features"]]
    areas = [f["properties"]["area"] for f in answer["features"]]
    np.testing.assert_allclose([a["area"] for a in coco["annotations"]], areas, rtol=0.05, atol=20)


def test_azures_table_by_phrase(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    image = base64.b64encode(scene).decode()
    rows = [[image, '["car", "tree", "building"]'], [image, "ship"]]
    response = server.post_json({"input_data": {"columns": ["image", "text_prompt"], "index": [0, 1], "data": rows}})
    assert response.headers["Content-Type"] == "application/json"
    first, second = response.json()
    masks = [m for p in first["response"]["predictions"] for m in p["masks_per_prediction"]]
    assert [m["iou_score"] for m in masks] == [f["properties"]["score"] for f in answer["features"]]
    png = cv2.imdecode(np.frombuffer(base64.b64decode(masks[0]["encoded_binary_mask"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert png.shape == (answer["frame"]["height"], answer["frame"]["width"])
    assert set(np.unique(png)) == {0, 255}
    assert len(second["response"]["predictions"]) == 1


def test_azures_points_need_a_bundle_that_has_the_graphs(server: Server, scene: bytes) -> None:
    columns = ["image", "input_points", "input_boxes", "input_labels", "multimask_output"]
    row = [base64.b64encode(scene).decode(), "[[50,60]]", "", "[[1]]", False]
    described = error(server.post_json({"input_data": {"columns": columns, "data": [row]}, "params": {}}), 422)
    assert "answers no clicks" in described["message"]


def test_a_prompt_list(closed_server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    request = {
        "image": {"type": "base64", "value": base64.b64encode(scene).decode()},
        "format": "rle",
        "output_prob_thresh": 0.4,
        "prompts": [{"type": "text", "text": text} for text in ("car", "zebra", "tree", "building")],
        "model_id": "sam3/sam3_final",
    }
    results = closed_server.post_json(request).json()["prompt_results"]
    assert "zebra" not in results[1]["error"]
    scores = [p["confidence"] for r in results for p in r["predictions"]]
    assert scores == [f["properties"]["score"] for f in answer["features"]]


def test_json_lines(server: Server, scene: bytes, answer: dict[str, Any]) -> None:
    good = {"image": base64.b64encode(scene).decode(), "text_prompt": ["car", "tree", "building"], "threshold": 0.4}
    lines = [json.dumps(line) for line in ({**good, "image_id": "scene 5"}, {"image": "?"}, {**good, "image_id": "b"})]
    response = server.post("\n".join(lines).encode(), "application/jsonlines")
    assert response.headers["Content-Type"] == "application/jsonlines"
    first, second, third = (json.loads(line) for line in response.data.decode().splitlines())
    assert first["features"] == answer["features"]
    assert second["error"]["param"] == "image"
    assert third["frame"]["name"] == "b"


@pytest.mark.parametrize(
    ("status", "code", "given"),
    [
        (400, "invalid_request", {"body": b"{", "content_type": "application/json"}),
        (400, "invalid_request", {"attributes": "threshold=2"}),
        (400, "invalid_request", {"attributes": "text_prompt=" + "x" * 300}),
        (400, "invalid_request", {"body": b"\n", "content_type": "application/jsonlines"}),
        (406, "not_acceptable", {"accept": "text/html"}),
        (413, "too_large", {"attributes": "text_prompt=" + "|".join(f"p{i}" for i in range(13))}),
        (413, "too_large", {"body": b"{}\n" * 7, "content_type": "application/jsonlines"}),
        (415, "unsupported_media_type", {"content_type": "text/csv"}),
        (415, "unsupported_media_type", {"Content_Encoding": "gzip"}),
        (422, "unanswerable", {"body": b"no image"}),
        (422, "unanswerable", {"body": b""}),
    ],
)
def test_every_refusal(server: Server, scene: bytes, status: int, code: str, given: dict[str, Any]) -> None:
    headers = {k.replace("_", "-"): v for k, v in given.items() if k[0].isupper()}
    said = {k: v for k, v in given.items() if k[0].islower()}
    response = server.post(**{"body": scene, "content_type": "image/jpeg", **said, **headers})
    assert error(response, status)["code"] == code
    assert response.headers["X-Request-Id"]


def test_a_phrase_that_a_bundle_cannot_read_is_refused(closed_server: Server, scene: bytes) -> None:
    described = error(closed_server.post(scene, "image/jpeg", "text_prompt=tres"), 422)
    assert described["code"] == "unanswerable"
    assert "only: tree," in described["message"]  # the nearest first


def test_a_text_encoder_reads_any_phrase(server: Server, scene: bytes) -> None:
    found = server.post(scene, "image/jpeg", "text_prompt=tree|aircraft carrier,threshold=0.4").json()
    assert found["unsupported_prompts"] == {}
    assert [prompt["text"] for prompt in found["prompts"]] == ["tree", "aircraft carrier"]


def test_a_body_above_the_limit_is_refused_by_its_length_and_by_its_bytes(server: Server) -> None:
    assert str(MAX_BODY) in error(server.post(b"x" * (MAX_BODY + 1)), 413)["message"]

    def pieces() -> Any:
        for _ in range(MAX_BODY // 100_000 + 1):
            yield b"x" * 100_000

    assert str(MAX_BODY) in error(server.post(pieces()), 413)["message"]  # type: ignore[arg-type]  # chunked


def test_a_body_that_does_not_come(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nthat is all")
        assert b" 408 " in slow.recv(1000)


def test_pixels_above_the_limit_are_refused_before_they_are_decoded(server: Server) -> None:
    bomb = media.encode(np.zeros((5000, 5000, 3), np.uint8), ".png")
    assert len(bomb) < 300_000
    assert "5000 x 5000" in error(server.post(bomb, "image/png"), 413)["message"]


def test_the_openapi_document_names_every_refusal(server: Server) -> None:
    described = server.get("/openapi.json").json()
    responses = described["paths"]["/invocations"]["post"]["responses"]
    assert set(responses) == {"200", *map(str, (400, 406, 408, 413, 415, 422, 429, 500, 503, 504))}
    schemas = described["components"]["schemas"]
    assert {"PhraseRequest", "RoboflowRequest", "AzureRequest", "DetectionsMessage", "ErrorBody"} <= set(schemas)
    assert set(described["paths"]) == {
        "/ping",
        "/metrics",
        "/invocations",
        "/sam3/concept_segment",
        "/sam3/visual_segment",
        "/v1/images/segmentations",
    }


def test_roboflows_concepts_by_their_path(server: Server, scene: bytes) -> None:
    """As its clients ask: the key in the address, members that mean nothing here."""
    asked = {
        "image": {"type": "base64", "value": base64.b64encode(scene).decode()},
        "model_id": "sam3/sam3_final",
        "prompts": [{"type": "text", "text": text} for text in ("tree", "TREE", "road")],
        "output_prob_thresh": 0.4,
    }
    path = "/sam3/concept_segment?api_key=anything"
    by_path, by_body = server.post_json(asked, path=path).json(), server.post_json(asked).json()
    found = [[p["masks"] for p in result["predictions"]] for result in by_path["prompt_results"]]
    assert found == [[p["masks"] for p in result["predictions"]] for result in by_body["prompt_results"]]
    assert found[0]
    assert found[0] == found[1]
    alone = server.post_json({**asked, "nms_iou_threshold": 0.5}, path=path).json()["prompt_results"]
    assert sum(len(result["predictions"]) for result in alone[:2]) <= len(found[0])  # the same trees by two names
    assert error(server.post_json({"prompts": [{"text": "car"}]}, path=path), 400)["param"] == "image"
    assert error(server.post_json({**asked, "nms_iou_threshold": 2}, path=path), 400)["param"] == "nms_iou_threshold"


def test_clicks_need_a_bundle_that_takes_them(server: Server, scene: bytes) -> None:
    asked = {"image": base64.b64encode(scene).decode(), "prompts": [{"points": [{"x": 5, "y": 5, "positive": True}]}]}
    error(server.post_json(asked, path="/sam3/visual_segment"), 422)


def test_no_image_and_no_phrase_in_the_log(server: Server, scene: bytes) -> None:
    before = len(server.log)
    response = server.post(scene, "image/jpeg", "text_prompt=car,image_id=secret-name", **{"X-Request-Id": "my-name"})
    assert response.headers["X-Request-Id"] == "my-name"
    for _ in range(600):
        entries = [e for e in server.log[before:] if e.get("request") == "my-name"]
        if entries:
            break
        server.get("/ping")
    assert entries[0]["message"].startswith("answered 200 in")
    assert "secret-name" not in json.dumps(server.log)
