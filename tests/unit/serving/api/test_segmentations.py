"""``/v1/images/segmentations`` of the API: JSON and forms, and what the endpoint is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sam3edge.invocations.request import SEGMENTATIONS
from sam3edge_serving.api.model import DetectionQuery
from support.api_rig import DATA_URL, PNG, Api, SayingModel

PATH = "/v1/images/segmentations"
FOUND = {
    "created": 1,
    "model": "sam3",
    "width": 9,
    "height": 9,
    "data": [{"b64_json": "AA==", "label": "scratch", "score": s, "box": [0, 0, 1, 1]} for s in (0.9, 0.8)],
    "unsupported_prompts": {},
}


@pytest.fixture
def masks() -> Api:
    """An API whose model answers with masks."""
    return Api(model=SayingModel(json.dumps(FOUND)))


def form(**fields: str) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    image = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG + b"\r\n--b--\r\n"
    return "".join(parts).encode() + image, {"Content-Type": "multipart/form-data; boundary=b"}


def test_json(masks: Api) -> None:
    asked = {"model": "sam3edge", "image": DATA_URL, "prompt": "find all scratches and dents", "threshold": 0.3}
    answer = masks.post(PATH, asked).json
    assert [one["score"] for one in answer["data"]] == [0.9, 0.8]
    assert (answer["model"], answer["width"]) == ("sam3edge", 9)
    assert answer["created"] > 1_700_000_000
    [(image, looking)] = masks.model.asked
    assert (image.data, looking) == (PNG, DetectionQuery(("scratch", "dent"), 0.3))
    assert masks.model.accepted == [SEGMENTATIONS]


def test_a_form(masks: Api) -> None:
    body, headers = form(prompt="scratch, dent", n="1", threshold="0.3", model="sam3edge", size="1024x1024")
    answer = masks.send("POST", PATH, body, headers).json
    assert [one["score"] for one in answer["data"]] == [0.9]
    [(image, looking)] = masks.model.asked
    assert (image.data, looking) == (PNG, DetectionQuery(("scratch", "dent"), 0.3))


@pytest.mark.parametrize(
    ("wrong", "status", "code", "param"),
    [
        ({"image": None}, 400, "missing_image", "image"),
        ({"image": "?"}, 400, "invalid_image", "image"),
        ({"prompt": ""}, 400, "missing_prompt", "prompt"),
        ({"prompt": ["a"] * 2 + ["b", "c", "d", "e"]}, 400, "invalid_request", "prompt"),
        ({"model": "sam2"}, 404, "model_not_found", "model"),
        ({"n": 0}, 400, "invalid_request", "n"),
        ({"response_format": "url"}, 400, "invalid_request", "response_format"),
        ({"threshold": 2}, 400, "invalid_request", "threshold"),
    ],
)
def test_what_is_refused(masks: Api, wrong: dict[str, Any], status: int, code: str, param: str) -> None:
    heard = masks.post(PATH, {"image": DATA_URL, "prompt": "scratch", **wrong})
    assert heard.refusal() == (status, code, param)


def test_other_bodies_and_other_answers(masks: Api) -> None:
    assert masks.send("POST", PATH, b"x", {"Content-Type": "text/plain"}).status == 415
    masks.model.text = '{"type": "FeatureCollection"}'
    assert masks.post(PATH, {"image": DATA_URL, "prompt": "scratch"}).refusal()[:2] == (502, "model_failed")
