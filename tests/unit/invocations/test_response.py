"""Whatever an endpoint says: it is refused, or it is findings that can be published."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.errors import EndpointError
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.images.decoding import DecodeOptions, decode
from sam3edge.images.jpeg import picture_of
from sam3edge.invocations.response import read_response
from support.samples import frame, red_square

PROMPTS = (Prompt("red"), Prompt("unicorn"))
FRAME = frame(np.repeat(np.repeat(red_square(), 3, 0), 2, 1))
PICTURE = picture_of(FRAME, 320, 1 << 20)


def honest() -> dict[str, Any]:
    """What a good endpoint says about ``PICTURE``."""
    small = frame(decode(PICTURE.jpeg, DecodeOptions()).image)
    found = detect(FakeEngine(), small, DetectionOptions(PROMPTS))
    [whole] = encode(frame_result("endpoint", small, PROMPTS, found), "", 1 << 30, 4.0)
    return dict(json.loads(whole.payload))


HONEST = honest()


def paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something could be changed."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(path for key, value in inside for path in paths(value, (*at, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.sampled_from([0, -1, 1e308, -1e308, 1e-300, 320, 319.95, 10**30, 0.5])


@given(st.lists(st.tuples(st.sampled_from(paths(HONEST)), JSON | NUMBERS), min_size=1, max_size=3))
def test_a_changed_answer_is_refused_or_can_be_published(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document: Any = copy.deepcopy(HONEST)
    for path, value in changes:
        node = document
        try:
            for key in path[:-1]:
                node = node[key]
            if path:
                node[path[-1]] = value
            else:
                document = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    try:
        found = read_response(json.dumps(document).encode(), FRAME, PICTURE, PROMPTS)
    except EndpointError:
        return
    for detection in found.detections:
        assert detection.geometry.is_valid
        assert shapely.box(0, 0, FRAME.width, FRAME.height).buffer(0.1).covers(detection.geometry)
        assert detection.prompt in PROMPTS
        assert 0 <= detection.score <= 1
    encoded = encode(frame_result("line-7", FRAME, PROMPTS, found), "t", 131_072, 4.0)
    assert json.loads(encoded[0].payload)["frame"]["width"] == FRAME.width


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(EndpointError, match="not a detections message"):
        read_response(body, FRAME, PICTURE, PROMPTS)


def test_what_is_scaled_is_scaled_by_axis() -> None:
    assert (FRAME.width, FRAME.height, PICTURE.width, PICTURE.height) == (640, 720, 284, 320)
    document = copy.deepcopy(HONEST)
    square = [[[142, 80], [213, 80], [213, 160], [142, 160], [142, 80]]]
    feature = document["features"][0]
    feature["properties"] |= {"imageGeometry": {"type": "Polygon", "coordinates": square}, "area": 71 * 80}
    document["features"] = [feature]
    [detection] = read_response(json.dumps(document).encode(), FRAME, PICTURE, PROMPTS).detections
    assert detection.box == pytest.approx((320, 180, 480, 360), abs=0.11)
    assert detection.area == pytest.approx(160 * 180)
    assert detection.geometry.area == pytest.approx(160 * 180, rel=0.01)


def with_properties(added: dict[str, Any]) -> bytes:
    document = copy.deepcopy(HONEST)
    document["features"][0]["properties"] |= added
    return json.dumps(document).encode()


def test_what_the_endpoints_stages_have_added_survives() -> None:
    added = {"zone": "gate-3", "track": {"id": 7, "ages": [1, 2.5, None]}}
    found = read_response(with_properties(added), FRAME, PICTURE, PROMPTS)
    assert found.detections[0].properties == added
    [message] = encode(frame_result("line-7", FRAME, PROMPTS, found), "t", 131_072, 4.0)
    properties = json.loads(message.payload)["features"][0]["properties"]
    assert (properties["zone"], properties["track"]) == (added["zone"], added["track"])


@pytest.mark.parametrize(
    "added",
    [{"long": "x" * 5000}, {f"p{n}": n for n in range(40)}, {"distance": float("nan")}],
    ids=["long", "many", "NaN"],
)
def test_properties_that_cannot_be_passed_on_are_refused(added: dict[str, Any]) -> None:
    with pytest.raises(EndpointError):
        read_response(with_properties(added), FRAME, PICTURE, PROMPTS)
