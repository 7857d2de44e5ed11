"""Zones, derived labels and tracks as they are configured, and in a running component."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.segmenter.settings import Settings, read_settings
from sam3edge.tracking.places import centroid
from support.samples import red_square
from support.segmenter import Device, use_fake_engines

LEFT = {"Name": "left", "Polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
GATE = {"Name": "gate", "From": [0.5, 0], "To": [0.5, 1]}


def settings(**keys: object) -> Settings:
    return read_settings({"Prompts": ["red", "blue"], "Source": {"Type": "folder", "Path": "/images"}, **keys})


def test_zones_and_lines_are_read_as_the_nucleus_hands_them_over() -> None:
    texts = {"Name": "left", "Polygon": [["0", "0"], ["0.5", "0"], ["0.5", "1"]], "DwellSeconds": "30"}
    rules = settings(Zones=[texts], Lines=[GATE], TestPoint="centroid").rules()
    [zone], [line] = rules.places.zones, rules.places.lines
    assert (zone.points, zone.dwell_seconds, zone.kind) == (((0, 0), (0.5, 0), (0.5, 1)), 30, "watch")
    assert (line.start, line.end) == ((0.5, 0), (0.5, 1))
    assert rules.places.test_point is centroid


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}]}, "does not cross itself"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1]]}]}, "Zones.0.Polygon"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1], [0.5, 0.5]]}]}, "does not cross itself"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [640, 0], [640, 480]]}]}, "add Coordinates: pixels"),
        ({"Zones": [{**LEFT, "Name": "way in"}]}, "Zones.0.Name"),
        ({"Zones": [{**LEFT, "Name": "x" * 25}]}, "Zones.0.Name"),
        ({"Zones": [{**LEFT, "Kind": "forbid"}]}, "Zones.0.Kind"),
        ({"Zones": [LEFT, LEFT]}, "a name of its own"),
        ({"Zones": [LEFT], "Lines": [{**GATE, "Name": "left"}]}, "a name of its own"),
        ({"Zones": [{**LEFT, "Name": f"z{i}"} for i in range(17)]}, "Zones"),
        ({"Zones": [{**LEFT, "Prompts": ["rde"]}]}, "got rde; add them to Prompts"),
        ({"Lines": [{**GATE, "To": [0.5, 0]}]}, "two points"),
        ({"DerivedLabels": [{"Label": "x", "Prompt": "red"}]}, "either With or Without"),
        ({"DerivedLabels": [{"Label": "x", "Prompt": "red", "With": "blue", "Without": "blue"}]}, "either With or"),
        ({"DerivedLabels": [{"Label": "x", "Prompt": "red", "Without": "helmet"}]}, "got helmet; add them"),
        ({"TestPoint": "middle"}, "TestPoint"),
        ({"Tracking": {"ConfirmLooks": 0}}, "Tracking.ConfirmLooks"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        settings(**keys)


def test_zones_are_live_and_tracking_is_not() -> None:
    before = settings(Zones=[LEFT])
    assert not before.needs_rebuild(settings(Lines=[GATE], TestPoint="centroid"))
    assert before.needs_rebuild(settings(Zones=[LEFT], Tracking={"Enabled": True}))


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    use_fake_engines(monkeypatch)
    one = Device(tmp_path, Zones=[LEFT], Tracking={"Enabled": "true", "MaxGapSeconds": 3600})
    one.start()
    yield one
    one.close()


def features(device: Device) -> list[dict[str, Any]]:
    """Of every frame so far, the properties of its only detection; repetitions are dropped."""
    messages = {message["id"]: message for message in device.published("detections")}
    return [feature["properties"] for message in messages.values() for feature in message["features"]]


def test_a_running_component_tells_zones_and_tracks_and_takes_changed_zones_over(device: Device) -> None:
    device.put("a.png", red_square(60))
    device.wait(lambda: len(features(device)) == 1)
    device.put("b.png", red_square(70))
    device.wait(lambda: len(features(device)) == 2)
    assert [found["zones"] for found in features(device)] == [["left"], ["left"]]
    [event] = [body for body in device.published("events") if body["message_type"] == "event"]
    assert (event["type"], event["after"]["current_zones"]) == ("new", ["left"])
    assert {found["track_id"] for found in features(device)} == {event["after"]["id"]}
    device.nucleus.update_configuration({"Zones": [{**LEFT, "Name": "door"}]})
    device.wait(lambda: device.put("c.png", red_square(80)) or len(features(device)) >= 3)
    device.wait(lambda: device.put("d.png", red_square(90)) or features(device)[-1]["zones"] == ["door"])
    assert {found["track_id"] for found in features(device)} == {event["after"]["id"]}
    device.wait(lambda: device.published("status")[-1]["tracking"]["tracks"] == 1)


def test_a_rebuild_keeps_the_tracks(device: Device) -> None:
    device.put("a.png", red_square(60))
    device.put("b.png", red_square(61))
    device.wait(lambda: len(features(device)) == 2)
    device.nucleus.update_configuration({"MaxInstances": 50})
    device.wait(lambda: any(status["state"] == "restarting" for status in device.published("status")))
    device.put("c.png", red_square(62))
    device.wait(lambda: len(features(device)) == 3)
    assert len({found["track_id"] for found in features(device)}) == 1
    news = [body for body in device.published("events") if body.get("type") == "new"]
    assert len({body["id"] for body in news}) == 1
