"""What bridges publish, by the schemas of the projects that read it (``tests/contract/schemas``)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sam3edge.cli.listening import HOME_ASSISTANT_STATES
from sam3edge.core.messages.events import Noticed
from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.home_assistant import HomeAssistant
from sam3edge.subscriber.connection import Outgoing
from sam3edge.subscriber.names import MAX_LENGTH
from support.device_messages import WHOLE
from support.smart_home import AT, counts, event, heartbeat

SCHEMAS = Path(__file__).parent / "schemas"
ODD = ["car", "metal tag", "a/b", "+", "#", "../x", "Größe", "{{ states }}", "x" * 300, "a\nb", "all", " ", "__"]
"""Labels and zones, as devices may be configured or pretend to be."""


def validate(name: str, payload: bytes) -> Any:
    document = json.loads(payload)
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


def frame(labels: list[str], **changes: Any) -> dict[str, Any]:
    """A frame in which these were looked for, and one of each was found in a zone of its name."""
    [first, *_] = WHOLE["features"]
    prompts = [{**WHOLE["prompts"][0], "text": label, "label": label} for label in labels]
    features = [
        {**first, "properties": {**first["properties"], "label": label, "prompt": label, "zones": [label]}}
        for label in labels
    ]
    return {**WHOLE, "prompts": prompts, "features": features, **changes}


def documents(published: list[Outgoing]) -> list[Any]:
    found = [one for one in published if one.topic.startswith("homeassistant/") and one.payload]
    for one in found:
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", one.topic)
    return [validate("home-assistant-device", one.payload) for one in found]


def test_home_assistant_discovers_whatever_things_are_called() -> None:
    states = f"{HOME_ASSISTANT_STATES}/{'c' * MAX_LENGTH}"
    bridge = HomeAssistant(states)
    published = [*bridge.take(frame(ODD, source="a/b#c" * 50, device="d" * 128))]
    assert max(len(one.topic) for one in published) <= 256  # as AWS IoT Core has it
    [document] = documents(published)
    components = document["components"]
    assert len(components) == 2 * 2 * len(ODD)  # of each a count and an occupancy, in all and in its zone
    assert all(one["unique_id"] == name for name, one in components.items())
    by_topic = {one.topic: one for one in published if one.topic.startswith(f"{states}/")}
    for one in components.values():
        expected = b"1" if one["platform"] == "sensor" else b"ON"
        assert by_topic[one["state_topic"]] == Outgoing(one["state_topic"], expected, retain=True)
    assert all(re.fullmatch(r"[a-zA-Z0-9_/-]+", topic) for topic in by_topic)


def test_home_assistant_is_told_of_entities_that_are_gone() -> None:
    bridge = HomeAssistant("states")
    first = documents([*bridge.take(frame(["car", "dog"]))])
    *_, removal, rest = [*first, *documents([*bridge.take(frame(["car"], id="2"))])]
    removed = {name for name, one in removal["components"].items() if list(one) == ["platform"]}
    assert removed == set(first[0]["components"]) - set(rest["components"])
    assert len(removed) == 4


@pytest.mark.parametrize("kind", ["new", "update", "end"])
@pytest.mark.parametrize("label", ODD)
def test_frigate_events(kind: str, label: str) -> None:
    noticed = Noticed("line-7", "a/b#c", "frame-1", "gate 1", AT)
    end = {"end": AT} if kind == "end" else {}
    given = event(kind, "gone" if kind == "end" else "zone_entered", noticed, label=label, zones=[label], **end)
    [published] = [one for one in Frigate().take(given) if one.topic == "frigate/events"]
    assert not published.retain
    document = validate("frigate-event", published.payload)
    assert (document["type"], document["after"]["label"]) == (kind, label)


def test_frigate_events_without_room_for_what_was_before() -> None:
    given = event("update")
    del given["before"]
    [published] = [one for one in Frigate().take(given) if one.topic == "frigate/events"]
    validate("frigate-event", published.payload)


def test_frigate_counts_have_topics_of_three_levels_and_numbers() -> None:
    bridge = Frigate("site/frigate")
    messages = [
        frame(ODD, source="gate"),
        counts(dict.fromkeys(ODD, 2), {(name, name): 1 for name in ODD}),
        heartbeat(),
    ]
    published = [one for message in messages for one in bridge.take(message)]
    assert len(published) > 2 * len(ODD)
    for one in published:
        assert re.fullmatch(r"site/frigate/[^/+#\x00-\x1f]+/[^/+#\x00-\x1f]+", one.topic)
        assert one.payload.isdigit()
        assert not one.retain
