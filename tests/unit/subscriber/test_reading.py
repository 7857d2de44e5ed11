"""What is let in, and what is refused with a reason that can be logged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sam3edge.cli.schemas import MESSAGES, generate_schema
from sam3edge.core.errors import MessageRefused
from sam3edge.core.messages import topics
from sam3edge.subscriber.reading import MAX_COMPLAINT, MAX_NUMBER, MAX_PAYLOAD, TOPIC_OF, moment, read_message
from support.device_messages import PARTS, TOPIC, WHOLE
from support.smart_home import COUNTS, EVENT, STATUS


def payload(message: Any) -> bytes:
    return json.dumps(message).encode()


def changed(message: dict[str, Any], path: str, value: Any) -> bytes:
    copy = json.loads(json.dumps(message))
    *inside, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    at = copy
    for step in inside:
        at = at[step]
    at[last] = value
    return payload(copy)


def refused(given: bytes, topic: str = TOPIC) -> str:
    with pytest.raises(MessageRefused) as raised:
        read_message(topic, given)
    return str(raised.value)


@pytest.mark.parametrize("message", [WHOLE, *PARTS, EVENT, COUNTS, STATUS], ids=lambda m: m["message_type"])
def test_messages_of_devices_are_let_in_as_they_are(message: dict[str, Any]) -> None:
    assert read_message(TOPIC, payload(message)) == message


def test_members_of_a_later_schema_pass_through() -> None:
    later = {**WHOLE, "schema_version": "1.7", "weather": {"rain": True}}
    later["features"] = [{**later["features"][0], "colour": "red"}]
    assert read_message(TOPIC, payload(later)) == later


def test_every_kind_that_devices_publish_has_its_topic() -> None:
    def kinds(topic: str) -> set[str]:
        schema = generate_schema(topic)
        members = [schema, *schema.get("$defs", {}).values()]
        found = [member.get("properties", {}).get("message_type", {}).get("const") for member in members]
        return set(filter(None, found))

    published = {kind: topic for topic in MESSAGES if topic != topics.PING for kind in kinds(topic)}
    assert published == TOPIC_OF


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[1]", "object"),
        (b"{}", "id"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (payload(WHOLE)[:-1], "JSON"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "JSON"),
        (payload(WHOLE).replace(b'"vision": ', b'"vision": 1e999, "x": '), "finite"),
        (payload(WHOLE).replace(b'"vision": ', b'"vision": NaN, "x": '), "JSON"),
        (payload(WHOLE).replace(b'"a.png"', b'"\\ud800"'), "JSON"),
        (b" " * (MAX_PAYLOAD + 1), str(MAX_PAYLOAD)),
        (changed(WHOLE, "schema_version", "2.0"), "schema_version"),
        (changed(WHOLE, "schema_version", "1.0\n"), "schema_version"),
        (changed(WHOLE, "schema_version", 1), "schema_version"),
        (changed(WHOLE, "message_type", ["detections"]), "message_type"),
        (changed(WHOLE, "device", "../line-7"), "device"),
        (changed(WHOLE, "device", "+"), "device"),
        (changed(WHOLE, "device", "line-7\n"), "device"),
        (changed(WHOLE, "time", "yesterday"), "time"),
        (changed(WHOLE, "time", "2026-01-01T00:00:00"), "time"),
        (changed(WHOLE, "part.count", 0), "part.count"),
        (changed(WHOLE, "part.count", 10**9), "part.count"),
        (changed(WHOLE, "part.pieces", 0), "part.pieces"),
        (changed(WHOLE, "part.index", "0"), "part.index"),
        (changed(WHOLE, "features.0.properties.score", "0.9"), "score"),
        (changed(WHOLE, "features.0.properties.label", None), "label"),
        (changed(WHOLE, "features.0.properties.imageBBox", [1, 2, 3]), "imageBBox"),
        (changed(WHOLE, "features.0.properties.imageGeometry.coordinates.0.0.0", 1e18), "imageGeometry"),
        (changed(WHOLE, "features.0.properties.imageGeometry.coordinates.0.0", [1]), "imageGeometry"),
        (changed(WHOLE, "features.0.properties.imageGeometry.coordinates", [[]]), "imageGeometry"),
        (changed(WHOLE, "features.0.properties.imageGeometry.coordinates.0.0", [1, 2, 3]), "imageGeometry"),
        (changed(WHOLE, "features.0.properties.score", 10**308), "score"),
        (changed(WHOLE, "features.0.geometry", {"type": "Polygon", "coordinates": [[[0, 91]] * 4]}), "geometry"),
        (changed(WHOLE, "features.0.geometry", {"type": "Polygon", "coordinates": [[["0", 9]] * 4]}), "geometry"),
        (changed(WHOLE, "features.0", "feature"), "features.0"),
        (changed(EVENT, "after.box", [0, 0, 1]), "box"),
        (changed(EVENT, "after.box", [-1e308, 0, 1e308, 1]), "box"),
        (changed(EVENT, "after.area", 1e308), "area"),
        (changed(EVENT, "type", "begin"), "type"),
        (changed(COUNTS, "objects.0.current", -1), "current"),
        (changed(COUNTS, "objects.0.current", True), "current"),
        (changed(COUNTS, "objects.0.current", MAX_NUMBER + 1), "current"),
        (changed(STATUS, "heartbeat_seconds", 10**308), "heartbeat_seconds"),
    ],
)
def test_what_is_not_as_the_schema_says_is_refused_with_a_reason(given: bytes, reason: str) -> None:
    assert reason in refused(given)


def test_a_device_cannot_speak_for_another_one() -> None:
    other = changed(WHOLE, "device", "line-8")
    assert "another one's" in refused(other)
    assert read_message("sam3edge/line-8/detections", other)["device"] == "line-8"
    assert read_message("factory/hall-3/detections", other)["device"] == "line-8"  # a prefix that names no device


def test_reasons_quote_little_of_what_was_sent() -> None:
    geometry = {"type": "x" * 100_000, "coordinates": []}
    assert len(refused(changed(WHOLE, "features.0.geometry", geometry))) < MAX_COMPLAINT + 100
    assert "secret" not in refused(changed(WHOLE, "id", ["secret"]))
    assert "\n" not in refused(changed(WHOLE, "features.0.geometry", {"type": "a\nb"}))


def test_times_are_as_devices_write_them() -> None:
    assert moment("1970-01-01T00:00:01.500+00:00").timestamp() == 1.5
    assert moment("1970-01-01T00:00:01Z").timestamp() == 1
