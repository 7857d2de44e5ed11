"""Which format a request is in and is answered in."""

from __future__ import annotations

import pytest

from sam3edge_serving.endpoint.negotiation import COCO_RLE, GEOJSON, JSON, JSON_LINES, Body, body_of, choose
from sam3edge_serving.http.errors import NotAcceptable, UnsupportedMedia

OFFERS = (GEOJSON, JSON, COCO_RLE)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/jpeg", Body.IMAGE),
        ("image/x-anything", Body.IMAGE),
        ("", Body.IMAGE),
        ("application/x-www-form-urlencoded", Body.IMAGE),
        ("Application/JSON; charset=utf-8", Body.JSON),
        (JSON_LINES, Body.LINES),
        ("application/x-ndjson", Body.LINES),
    ],
)
def test_what_a_body_holds(content_type: str, body: Body) -> None:
    assert body_of(content_type) is body


@pytest.mark.parametrize("content_type", ["text/csv", "application/pdf", "video/mp4", "nonsense"])
def test_other_bodies_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia, match="image/jpeg"):
        body_of(content_type)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", GEOJSON),
        ("*/*", GEOJSON),
        ("application/*", GEOJSON),
        ("application/json", JSON),
        ("application/json, */*;q=0.1", JSON),
        (f"{GEOJSON};q=0.2, {COCO_RLE};q=0.9", COCO_RLE),
        (f"*/*, {GEOJSON};q=0", JSON),
        (f"text/html, {COCO_RLE}", COCO_RLE),
        (f"{JSON};q=nonsense", JSON),
    ],
)
def test_what_is_liked_best(accept: str, chosen: str) -> None:
    assert choose(accept, OFFERS) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "nonsense"])
def test_what_cannot_be_given(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="geo"):
        choose(accept, OFFERS)
