"""``/v1/detections``: OversightML's GeoJSON for JSON and multipart bodies."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sam3edge_serving.api.model import DetectionQuery
from support.api_rig import DATA_URL, GEOJSON, JPEG, MAX_IMAGE_BYTES, PNG, Api, Heard

PATH = "/v1/detections"
BOUNDARY = "a-boundary"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    """One part of a multipart body."""
    extra = f'; filename="{filename}"\r\nContent-Type: image/png' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def send(
    api: Api, *parts: bytes, end: bytes = b"--a-boundary--\r\n", boundary: str = f"; boundary={BOUNDARY}"
) -> Heard:
    """A multipart request."""
    return api.send("POST", PATH, b"".join(parts) + end, {"Content-Type": f"multipart/form-data{boundary}"})


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("red car", ("red car",)),
        ("red car, dent", ("red car", "dent")),
        (["red car", "dent, deep"], ("red car", "dent, deep")),
        (["dent", "dent "], ("dent",)),
    ],
)
@pytest.mark.parametrize("image", [DATA_URL, base64.b64encode(PNG).decode()])
def test_json(api: Api, text: Any, phrases: tuple[str, ...], image: str) -> None:
    heard = api.post(PATH, {"image": image, "text_prompt": text, "threshold": 0.25, "image_id": "x"})
    assert (heard.status, heard.text) == (200, GEOJSON)
    assert heard.headers["content-type"] == "application/geo+json"
    assert heard.headers["x-request-id"]
    ((asked, looking),) = api.model.asked
    assert asked.data == PNG
    assert looking == DetectionQuery(phrases, 0.25, "x")


def test_multipart(api: Api) -> None:
    tricky = JPEG + b"\r\n--a-boundar"  # bytes after the end marker are no part of a JPEG, but are kept
    heard = send(
        api,
        part("text_prompt", b"red car"),
        part("text_prompt", "Größe".encode()),
        part("threshold", b"0.5"),
        part("image", tricky, "yard 7.png"),
    )
    assert (heard.status, heard.text) == (200, GEOJSON)
    ((asked, looking),) = api.model.asked
    assert (asked.data, asked.media_type) == (tricky, "image/jpeg")
    assert looking == DetectionQuery(("red car", "Größe"), 0.5, "yard 7.png")


def test_multipart_with_the_image_as_a_field(api: Api) -> None:
    assert send(api, part("image", DATA_URL.encode()), part("text_prompt", b"a\nb")).status == 200
    assert api.model.asked[0][1].phrases == ("a", "b")


@pytest.mark.parametrize(
    ("parts", "others", "refusal"),
    [
        ([part("image", PNG, "a.png")], {}, (400, "missing_prompt", "text_prompt")),
        ([part("text_prompt", b"dent")], {}, (400, "missing_image", "image")),
        ([part("text_prompt", b"dent"), part("photo", PNG, "a.png")], {}, (400, "invalid_request", "image")),
        ([part("image", PNG, "a.png"), part("image", PNG, "b.png")], {}, (400, "invalid_request", "image")),
        ([part("image", PNG, "a.png"), part("image", b"x")], {}, (400, "invalid_request", "image")),
        ([part("text_prompt", b"\xff\xfe"), part("image", PNG, "a")], {}, (400, "invalid_request", None)),
        ([part("colour", b"red"), part("image", PNG, "a")], {}, (400, "invalid_request", "colour")),
        ([part("threshold", b"1"), part("threshold", b"2")], {}, (400, "invalid_request", "threshold")),
        ([part("threshold", b"much"), part("image", PNG, "a")], {}, (400, "invalid_request", "threshold")),
        ([part("text_prompt", b"dent"), part("image", b"GIF89a", "a.gif")], {}, (400, "invalid_image", "image")),
        (
            [part("text_prompt", b"dent"), part("image", PNG + bytes(MAX_IMAGE_BYTES), "a.png")],
            {},
            (413, "image_too_large", "image"),
        ),
        ([part("image", PNG, "a.png")], {"boundary": ""}, (400, "invalid_request", None)),
        ([part("image", PNG, "a.png")], {"boundary": "; boundary=another"}, (400, "invalid_request", None)),
        (
            [part("text_prompt", b"dent"), part("image", PNG[:500], "a.png")],
            {"end": b""},
            (400, "invalid_request", None),
        ),
    ],
)
def test_a_multipart_body_that_cannot_be_used(
    api: Api, parts: list[bytes], others: dict[str, Any], refusal: tuple[int, str, str | None]
) -> None:
    assert send(api, *parts, **others).refusal() == refusal
    assert not api.model.asked


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"text_prompt": ""}, (400, "missing_prompt", "text_prompt")),
        ({"text_prompt": []}, (400, "missing_prompt", "text_prompt")),
        ({"text_prompt": ["dent", " "]}, (400, "missing_prompt", "text_prompt")),
        ({"text_prompt": 7}, (400, "invalid_request", "text_prompt")),
        ({"text_prompt": list("abcde")}, (400, "invalid_request", "text_prompt")),
        ({"image": None}, (400, "missing_image", "image")),
        ({"image": ""}, (400, "invalid_request", "image")),
        ({"image": 7}, (400, "invalid_request", "image")),
        ({"threshold": -0.1}, (400, "invalid_request", "threshold")),
        ({"prompt": "dent"}, (400, "invalid_request", "prompt")),
        ({"upload": "upl-1"}, (400, "invalid_request", None)),
    ],
)
def test_a_json_body_that_cannot_be_used(api: Api, wrong: dict[str, Any], refusal: tuple[int, str, str | None]) -> None:
    assert api.post(PATH, {"image": DATA_URL, "text_prompt": "dent", **wrong}).refusal() == refusal
    assert not api.model.asked


@pytest.mark.parametrize("body", [{"upload": "upl-1", "text_prompt": "dent"}])
def test_uploads_where_none_are_offered(api: Api, body: dict[str, Any]) -> None:
    assert api.post(PATH, body).refusal() == (404, "uploads_not_offered", None)
    assert api.get(f"{PATH}/det-1").refusal() == (404, "uploads_not_offered", None)
    assert api.post("/v1/uploads", {"content_type": "image/png"}).refusal() == (404, "uploads_not_offered", None)
