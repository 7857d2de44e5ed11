"""Whatever a message says: it is refused, or everything that is made of messages can be made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from sam3edge.core.errors import MessageRefused
from sam3edge.images.overlay import draw_overlay
from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.home_assistant import HomeAssistant
from sam3edge.subscriber.reading import MAX_NUMBER, DeviceMessage, read_message
from sam3edge.subscriber.sinks.files import frame_path
from sam3edge.subscriber.sinks.last_frames import LastFrames
from sam3edge.vector.rows import FeatureRefused, features_of, row_of
from support.device_messages import TOPIC, WHOLE
from support.smart_home import COUNTS, EVENT, STATUS

PLACE = {"type": "Polygon", "coordinates": [[[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.0]]]}
_SHORT = {"type": "Polygon", "coordinates": [[[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]]}


def _one_feature() -> dict[str, Any]:
    feature = WHOLE["features"][0]
    properties = {**feature["properties"], "imageGeometry": _SHORT, "zones": ["yard"]}
    return {**WHOLE, "features": [{**feature, "geometry": PLACE, "properties": properties}]}


MESSAGES = [_one_feature(), EVENT, COUNTS, STATUS]

HOSTILE: list[Any] = [
    0,
    -1,
    MAX_NUMBER,
    1e6,
    -1e308,
    1e308,
    10**308,
    -(10**308),
    int("9" * 4300),
    5e-324,
    True,
    None,
    "",
    "\0",
    "../" * 1000,
    "#/+",
    "\x1b[2J",
    "\u202e\U0010ffff",
    "[/x]",
    "%s{0}",
    "x" * 4096,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    [],
    [[]],
    [[[]]],
    [0, 0],
    [1, 2, 3],
    [-1e308, 0, 1e308, 1],
    [-(10**308), 0, 10**308, 1],
    [1e6, -1e6, -1e6, 1e6],
    [[[0, 0], [1, 1, 1], [2, 2], [0, 0]]],
    [[[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]]],
    [[[0, 0], [0, 0], [0, 0], [0, 0]]],
    [[[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6]]],
    {},
    {"type": "MultiPolygon", "coordinates": []},
    {"type": "Polygon", "coordinates": []},
    {"type": "Polygon", "coordinates": [[]]},
    {"type": "Point", "coordinates": [1, 2]},
]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every member and element of a document."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(message: Any, path: tuple[Any, ...], value: Any) -> bytes:
    """With one place of it said otherwise."""
    copy = json.loads(json.dumps(message))
    *inside, last = path
    at = copy
    for step in inside:
        at = at[step]
    at[last] = value
    return json.dumps(copy).encode()


def use(message: DeviceMessage, frigate: Frigate, home: HomeAssistant, last: LastFrames) -> None:
    """Everything that ``sam3edge listen`` makes of a message."""
    list(frigate.take(message))
    list(home.take(message))
    list(home.tick())
    last.write([message])
    last.document()
    if message["message_type"] == "detections":
        frame_path(message, ".png")
        draw_overlay(np.zeros((48, 64, 3), np.uint8), message["features"], [p["label"] for p in message["prompts"]])
        for feature in features_of(message):
            with suppress(FeatureRefused):
                row_of(feature)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m["message_type"])
def test_nothing_that_is_let_in_is_more_than_sinks_can_take(message: dict[str, Any]) -> None:
    frigate, home, last = Frigate(), HomeAssistant("states"), LastFrames()
    for known in MESSAGES:  # labels and zones that counts can be about
        use(known, frigate, home, last)
    let_in = 0
    for path in places(message):
        for value in HOSTILE:
            try:
                hostile = read_message(TOPIC, changed(message, path, value))
            except MessageRefused:
                continue
            let_in += 1
            use(hostile, frigate, home, last)
    assert let_in > 100


@pytest.mark.parametrize("count", [MAX_NUMBER, 10**308, int("9" * 4300)])
def test_counts_that_are_let_in_can_be_summed_up(count: int) -> None:
    frigate = Frigate()
    list(frigate.take({**_one_feature(), "source": COUNTS["source"]}))
    label = _one_feature()["features"][0]["properties"]["label"]
    both = [{"label": label, "current": count, "total": 1}, {"label": label + "2", "current": count, "total": 1}]
    try:
        list(frigate.take(read_message(TOPIC, json.dumps({**COUNTS, "objects": both}).encode())))
    except MessageRefused:
        assert count > MAX_NUMBER
    else:
        assert count == MAX_NUMBER
