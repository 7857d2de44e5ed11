"""A message that a nucleus refuses for its size goes in pieces."""

from __future__ import annotations

import json
from fractions import Fraction

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from sam3edge.core.errors import SettingsError
from sam3edge.core.messages import errors
from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.messages.detections import divide, encode
from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Message
from support.samples import answer, detection, wobbly


def bodies(messages: list[Message]) -> list[dict]:
    return [json.loads(m.payload) for m in messages]


def share(body: dict) -> Fraction:
    return Fraction(1, body["part"].get("pieces", 1))


@given(st.lists(st.integers(8, 400), min_size=1, max_size=30), st.integers(1000, 60_000), st.integers(1000, 60_000))
@settings(max_examples=60, deadline=None)
def test_every_object_is_in_one_piece_and_the_shares_add_up(vertices: list[int], first: int, second: int) -> None:
    found = tuple(detection(wobbly(count, 50)) for count in vertices)
    for whole in encode(answer(found), "t/detections", 100_000, 0.0):
        pieces = divide(whole, first) or [whole]
        smaller = [p for piece in pieces for p in (divide(piece, second) or [piece])]
        for before, after in (([whole], pieces), ([whole], smaller)):
            wanted = [f["id"] for body in bodies(before) for f in body["features"]]
            assert [f["id"] for body in bodies(after) for f in body["features"]] == wanted
            assert sum(map(share, bodies(after))) == 1
        assert len({m.id for m in smaller}) == len(smaller)
        for body in bodies(smaller):
            jsonschema.Draft202012Validator(schema("detections")).validate(body)
            assert body["part"]["index"] == json.loads(whole.payload)["part"]["index"]
        limit = max(second, MIN_PAYLOAD)
        assert all(len(m.payload) <= limit for m in smaller if len(m.payload) > max(first, MIN_PAYLOAD))
        assert all(len(m.payload) <= max(min(first, second), MIN_PAYLOAD) for m in smaller)


def test_the_same_message_has_the_same_pieces() -> None:
    [whole] = encode(answer(tuple(detection(wobbly(60, 50)) for _ in range(20))), "t/detections", 100_000, 0.0)
    assert divide(whole, 5000) == divide(whole, 5000)
    assert [json.loads(p.payload)["part"] for p in divide(whole, 5000)][1]["piece"] == 1


def test_a_single_large_object_keeps_its_hull() -> None:
    [whole] = encode(answer((detection(wobbly(600, 50)),)), "t/detections", 100_000, 0.0)
    [piece] = divide(whole, 4000)
    before, after = json.loads(whole.payload)["features"][0], json.loads(piece.payload)["features"][0]
    assert after["properties"]["geometry_quality"] == "hull"
    outline, hull = (shape(f["properties"]["imageGeometry"]) for f in (before, after))
    assert hull.buffer(2).contains(outline)
    assert json.loads(piece.payload)["part"] == {"index": 0, "count": 1, "piece": 0, "pieces": 1}


def test_what_cannot_be_divided_stays() -> None:
    [empty] = encode(answer(()), "t/detections", 100_000, 0.0)
    assert divide(empty, 4000) == []
    assert divide(errors.component_error("line-7", SettingsError("x" * 5000), "t/errors"), 4000) == []
    [small] = encode(answer((detection(wobbly(8, 50)),)), "t/detections", 100_000, 0.0)
    assert divide(small, 4000) == []
