"""The detections message: valid for its readers, never too large, nothing left out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.errors import MessageTooLarge
from sam3edge.core.messages.detections import encode
from sam3edge.core.messages.envelope import message_id
from sam3edge.core.types import Origin, Prompt
from support.samples import answer, detection, wobbly


def read(payload: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(payload)
    jsonschema.Draft202012Validator(detections_schema()).validate(body)
    return body


def test_a_message_says_everything_about_the_frame() -> None:
    [message] = encode(answer((detection(shapely.box(10, 20, 50, 60)),)), "t/detections", 100_000, 4)
    body = read(message.payload)
    assert message.id == body["id"] == message_id("line-7", "f" * 32, "detections")
    assert body["frame"]["captured_at"] == "2026-01-02T03:04:05.678+00:00"
    assert (body["frame"]["width"], body["frame"]["height"]) == (320, 240)
    assert body["model"]["version"] == "1.2.3"
    assert body["prompts"] == [{"text": "scratch", "label": "scratch", "threshold": 0.5, "min_area": 0.0}]
    assert body["part"] == {"index": 0, "count": 1}
    assert body["timing"] == {"vision": 12.35, "decoder": 3.0}


def test_a_feature_is_what_oversightml_reads() -> None:
    prompt = Prompt("deep scratch", label="scratch")
    [message] = encode(answer((detection(shapely.box(10, 20, 50, 60), prompt),)), "t", 100_000, 4)
    [feature] = read(message.payload)["features"]
    assert feature["geometry"] is None
    properties = feature["properties"]
    assert shape(properties["imageGeometry"]).equals(shapely.box(10, 20, 50, 60))
    assert properties["imageBBox"] == [10, 20, 50, 60]
    assert properties["featureClasses"] == [{"iri": "scratch", "score": 0.8765}]
    assert properties["modelMetadata"] == {
        "modelName": "demo",
        "ontologyName": "deep scratch",
        "ontologyVersion": "1.2.3",
    }
    assert properties["image_id"] == "a.png"
    assert (properties["label"], properties["prompt"], properties["area"]) == ("scratch", "deep scratch", 1600)


def test_the_same_frame_has_the_same_ids_and_another_frame_others() -> None:
    first, again = (encode(answer(), "t", 10_000, 4)[0].id for _ in range(2))
    assert first == again
    assert message_id("line-7", "other", "detections") != first
    assert message_id("line-8", "f" * 32, "detections") != first


def test_an_answer_without_any_instance_is_a_message_too() -> None:
    [message] = encode(answer(), "t", 10_000, 4)
    assert read(message.payload)["features"] == []


def test_what_is_too_large_is_made_coarser_before_it_is_split() -> None:
    circle = shapely.Point(160, 120).buffer(100, quad_segs=200)
    whole = encode(answer((detection(circle),)), "t", 100_000, 4)
    [message] = encode(answer((detection(circle),)), "t", 4_000, 4)
    [feature] = read(message.payload)["features"]
    assert len(message.payload) <= 4_000 < len(whole[0].payload)
    assert feature["properties"]["geometry_quality"] == "coarse"
    assert shapely.hausdorff_distance(shape(feature["properties"]["imageGeometry"]), circle) <= 4.2


def test_then_it_is_split_by_feature_and_every_feature_is_there_once() -> None:
    many = tuple(detection(wobbly(40, 20, x=20 + i)) for i in range(30))
    messages = encode(answer(many), "t", 5_000, 0)
    bodies = [read(m.payload) for m in messages]
    assert len(messages) > 1
    assert all(len(m.payload) <= 5_000 for m in messages)
    assert [b["part"] for b in bodies] == [{"index": i, "count": len(bodies)} for i in range(len(bodies))]
    ids = [f["id"] for b in bodies for f in b["features"]]
    assert len(ids) == len(set(ids)) == 30
    assert len({m.id for m in messages}) == len(messages)


def test_a_single_feature_that_fits_nowhere_becomes_its_hull_and_says_so() -> None:
    [message] = encode(answer((detection(wobbly(3000, 100)), detection(shapely.box(1, 1, 9, 9)))), "t", 3_500, 0)
    outlines = [f["properties"]["geometry_quality"] for f in read(message.payload)["features"]]
    assert outlines == ["hull", "exact"]


def test_hundreds_of_prompts_do_not_crowd_out_what_they_found() -> None:
    prompts = tuple(Prompt(f"phrase number {i}") for i in range(300))
    messages = encode(answer((detection(shapely.box(0, 0, 9, 9)),), prompts), "t", 7_000, 4)
    body = read(messages[0].payload)
    assert body["prompts_omitted"] == 300
    assert len(body["features"]) == 1


def test_a_limit_that_holds_nothing_is_refused() -> None:
    with pytest.raises(MessageTooLarge, match="expected messages of at most 300 bytes"):
        encode(answer(), "t", 300, 4)


@given(
    st.lists(st.tuples(st.integers(3, 400), st.floats(2, 100)), max_size=25),
    st.integers(2_500, 20_000),
    st.sampled_from([0.0, 1.0, 8.0]),
)
@settings(max_examples=40, deadline=None)
def test_no_message_exceeds_the_limit_and_no_feature_is_lost(
    shapes: list[tuple[int, float]], limit: int, max_tolerance: float
) -> None:
    found = tuple(detection(wobbly(2 * (n // 2) + 2, r)) for n, r in shapes)
    messages = encode(answer(found), "t", limit, max_tolerance)
    assert all(len(m.payload) <= limit for m in messages)
    assert sum(len(read(m.payload)["features"]) for m in messages) == len(found)


def test_names_in_any_language_travel_as_they_are() -> None:
    [message] = encode(answer((), (Prompt("Kratzer – tief 深い傷"),)), "t", 10_000, 4)
    assert "深い傷".encode() in message.payload
    assert read(message.payload)["prompts"][0]["text"] == "Kratzer – tief 深い傷"


def test_the_origin_is_said_where_there_is_a_choice_and_briefly() -> None:
    one = answer((detection(shapely.box(10, 20, 50, 60)),))
    assert "origin" not in read(encode(one, "t", 100_000, 4)[0].payload)
    for origin, member in (
        (Origin(), {"by": "device"}),
        (Origin("cloud", "slow", "x" * 5000), {"by": "cloud", "reason": "slow", "detail": "x" * 197 + "…"}),
    ):
        assert read(encode(replace(one, origin=origin), "t", 4_000, 4)[0].payload)["origin"] == member
