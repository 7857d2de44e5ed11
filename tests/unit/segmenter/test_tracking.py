"""Zones, derived labels and tracks as they are configured, and in a running component."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.segmenter.settings import Settings, read_settings
from sam3edge.tracking.places import OnEarth, RelativeToFrame, centroid
from support.places import write_camera
from support.samples import red_square
from support.segmenter import Device, use_fake_engines

LEFT = {"Name": "left", "Polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
GATE = {"Name": "gate", "From": [0.5, 0], "To": [0.5, 1]}
YARD: dict[str, Any] = {
    "Name": "yard", "Polygon": [[13.39, 52.5], [13.41, 52.5], [13.41, 52.51], [13.39, 52.5]], "Coordinates": "world",
}  # fmt: skip
"""A ring as GeoJSON writes it, which ends where it begins."""


def settings(**keys: object) -> Settings:
    return read_settings({"Prompts": ["red", "blue"], "Source": {"Type": "folder", "Path": "/images"}, **keys})


def test_zones_and_lines_are_read_as_the_nucleus_hands_them_over() -> None:
    texts = {"Name": "left", "Polygon": [["0", "0"], ["0.5", "0"], ["0.5", "1"]], "DwellSeconds": "30"}
    rules = settings(Zones=[texts], Lines=[GATE], TestPoint="centroid").rules()
    [zone], [line] = rules.places.zones, rules.places.lines
    assert (zone.points, zone.dwell_seconds, zone.kind) == (((0, 0), (0.5, 0), (0.5, 1)), 30, "watch")
    assert (line.start, line.end) == ((0.5, 0), (0.5, 1))
    assert rules.places.test_point is centroid


def test_zones_and_lines_may_be_drawn_on_the_map() -> None:
    across = [[179.9, 0], [-179.9, 0], [-179.9, 0.1], [179.9, 0.1]]
    zones = [YARD, {**YARD, "Name": "sea", "Polygon": across}, LEFT]
    line = {**GATE, "From": [13.4, 52.5], "To": [13.4, 52.6], "Coordinates": "world"}
    rules = settings(Zones=zones, Lines=[line], Georeference={"Type": "raster"}).rules().places
    assert [zone.coordinates for zone in rules.zones[:2]] == [OnEarth((13.39, 52.5)), OnEarth((179.9, 0))]
    assert rules.zones[2].coordinates == RelativeToFrame()
    assert rules.lines[0].coordinates == OnEarth((13.4, 52.5))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"Zones": [YARD]}, "expected a Georeference for Coordinates: world of yard, got none"),
        ({"Zones": [{**YARD, "Polygon": [[52.5, 113.4], [0, 1], [1, 1]]}]}, "longitude comes first"),
        ({"Zones": [{**YARD, "Polygon": [[-150, 80], [-30, 80], [90, 80]]}]}, "divide the zone"),
        ({"Zones": [{**YARD, "Polygon": [[179, 0], [-179, 1], [-179, 0], [179, 1]]}]}, "cross itself"),
        ({"Lines": [{**GATE, "To": [0.5, 95], "Coordinates": "world"}]}, "longitude comes first"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}]}, "does not cross itself"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1]]}]}, "Zones.0.Polygon"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [1, 1], [0.5, 0.5]]}]}, "does not cross itself"),
        ({"Zones": [{**LEFT, "Polygon": [[0, 0], [640, 0], [640, 480]]}]}, "add Coordinates: pixels"),
        (
            {"Zones": [{**LEFT, "Polygon": [[0, 0], [0.5, 0], [1, 1]], "Coordinates": "pixels"}]},
            "leave Coordinates out",
        ),
        ({"Lines": [{"Name": "l", "From": [0, 0.5], "To": [1, 1], "Coordinates": "pixels"}]}, "leave Coordinates out"),
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
        ({"Tracking": {"Prompts": ["persn"]}}, "expected Tracking.Prompts to be texts of Prompts, got persn"),
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


def configure(device: Device, **keys: Any) -> None:
    device.nucleus.configure({**device.nucleus.configuration(), **keys})
    device.nucleus.settle()


def test_zones_on_the_map_are_live_and_rest_while_frames_have_no_place(tmp_path: Path, device: Device) -> None:
    """Where nobody knows where a frame is, what is in an included zone is not dropped, and that is told once."""
    confined, calibration = {**YARD, "Kind": "include"}, tmp_path / "c.json"
    located = {"Type": "calibration", "Path": str(calibration)}

    def shows(name: str, count: int) -> None:
        device.put(name, red_square(60 + count))
        device.wait(lambda: len({message["id"] for message in device.published("detections")}) == count)

    write_camera(calibration)
    shows("a.png", 1)
    configure(device, Zones=[LEFT, confined], Georeference=located)
    shows("b.png", 2)
    write_camera(calibration, 640, 480)
    shows("c.png", 3)
    shows("d.png", 4)
    assert [found["zones"] for found in features(device)] == [["left"], ["left", "yard"], ["left"], ["left"]]
    device.wait(lambda: device.published("status")[-1].get("georeference", {}).get("unlocated") == 2)
    [error] = device.published("errors")
    assert "for frames of 640 x 480 pixels, got 320 x 240" in error["reason"]
    configure(device, Georeference={"Type": "none"})
    device.wait(lambda: len(device.published("errors")) == 2)
    assert "expected a Georeference for Coordinates: world of yard" in device.published("errors")[1]["reason"]
    write_camera(calibration)
    elsewhere = {**confined, "Polygon": [[x + 1, y] for x, y in YARD["Polygon"]]}
    configure(device, Zones=[LEFT, elsewhere], Georeference=located)
    shows("e.png", 5)
    assert len(features(device)) == 4
