"""What happens to tracks is told: the life cycle, zones, dwell, lines, rest, labels, counts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sam3edge.core.georeference import Georeference
from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Clock, Detection, Prompt
from sam3edge.tracking.places import Line, PixelsOfFrame, Places, Zone
from sam3edge.tracking.stage import EventChannel, TrackObjects
from sam3edge.tracking.tracker import TrackingOptions
from support.moving_scenes import PERSON, detection_of, ellipse, found, frame_at

PIXELS = PixelsOfFrame()
YARD = Zone("yard", ((400, 0), (800, 0), (800, 720), (400, 720)), PIXELS, dwell_seconds=3)
GATE = Line("gate", (600, 0), (600, 720), PIXELS)
"""Drawn downwards: its right side, for who looks along it, is the left of the image."""

RESTLESS, RESTING = TrackingOptions(rest_seconds=1000), TrackingOptions(rest_seconds=4)


class Camera:
    """The stage, shown what a test says, a frame a second; keeps what it published."""

    def __init__(self, file: Path, places: Places | None = None, options: TrackingOptions = RESTLESS) -> None:
        self.places = places or Places((YARD,), (GATE,))
        self.stage = TrackObjects(EventChannel("line-7", "t/events", 8000), file, options, lambda: self.places)
        self.at = 0.0
        self.messages: list[dict[str, Any]] = []

    def sees(
        self, *detections: Detection, after: float = 1.0, georeference: Georeference | None = None
    ) -> list[dict[str, Any]]:
        """One frame: the messages it led to."""
        self.at += after
        result = self.stage(frame_at(self.at), replace(found(*detections), georeference=georeference))
        bodies = [json.loads(message.payload) for message in result.messages]
        for body in bodies:
            jsonschema.Draft202012Validator(schema("events")).validate(body)
        self.messages += bodies
        return bodies

    def walks(self, *xs: float) -> None:
        for x in xs:
            self.sees(at(x))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [body for body in self.messages if body["message_type"] == "event"]

    @property
    def counts(self) -> dict[str, Any]:
        """The last."""
        return [body for body in self.messages if body["message_type"] == "counts"][-1]

    def told(self) -> list[tuple[str, list[str]]]:
        return [(event["type"], [_said(reason) for reason in event["reasons"]]) for event in self.events]


def _said(reason: dict[str, str]) -> str:
    return " ".join(filter(None, (reason["kind"], reason.get("name"), reason.get("direction"))))


def at(x: float, y: float = 300, prompt: Prompt = PERSON, score: float = 0.9) -> Detection:
    return detection_of(ellipse(x, y, 60, 140), prompt, score)


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    return Camera(tmp_path / "tracks.json")


def test_an_object_is_told_of_when_it_was_seen_twice_and_ends_when_it_was_missed_for_long(camera: Camera) -> None:
    camera.walks(100, 150)
    camera.sees(at(200, score=0.95))
    for _ in range(4):
        camera.sees()
    assert camera.told() == [("new", ["confirmed"]), ("end", ["gone"])]
    new, end = camera.events
    assert new["after"]["start_time"].startswith("2026-03-01T12:00:01")
    assert (new["event_time"], new["after"]["end_time"]) == (new["after"]["frame_time"], None)
    assert end["after"]["frame_time"].startswith("2026-03-01T12:00:03")
    assert end["after"]["end_time"].startswith("2026-03-01T12:00:04")  # the first frame without it
    assert end["event_time"].startswith("2026-03-01T12:00:07")
    assert (end["after"]["score"], end["after"]["top_score"], end["after"]["label"]) == (0.95, 0.95, "person")
    assert new["after"]["id"] == end["after"]["id"] == end["before"]["id"]


def test_what_was_seen_once_is_never_told_of(camera: Camera) -> None:
    camera.sees(at(100))
    for _ in range(5):
        camera.sees()
    assert camera.messages == []


def test_who_is_hidden_for_a_moment_is_not_told_of_again(camera: Camera) -> None:
    camera.walks(100, 150, 200)
    camera.sees()
    camera.walks(300, 350)
    assert camera.told() == [("new", ["confirmed"])]


def test_entering_dwelling_and_leaving_a_zone(camera: Camera) -> None:
    camera.walks(300, 350, 420, 440, 460, 480, 500)
    assert camera.told()[1:] == [("update", ["zone_entered yard"]), ("update", ["dwelt yard"])]
    entered, dwelt = camera.events[1:]
    assert (entered["before"]["current_zones"], entered["after"]["current_zones"]) == ([], ["yard"])
    assert dwelt["after"]["dwell"] == {"yard": 3.0}
    camera.walks(450, 390)
    assert len(camera.events) == 3  # once outside is not yet left
    camera.walks(350)
    assert camera.told()[3:] == [("update", ["zone_left yard"])]
    assert camera.events[3]["after"]["entered_zones"] == ["yard"]
    assert camera.events[3]["after"]["dwell"] == {"yard": 6.0}  # from the third second to the ninth


def test_what_happened_before_an_object_was_sure_is_told_when_it_is(tmp_path: Path) -> None:
    """The counts have it, too."""
    sure_late = Camera(tmp_path / "tracks.json", options=replace(RESTLESS, confirm_looks=5))
    sure_late.walks(420, 500, 560, 640, 660)
    told = ["confirmed", "zone_entered yard", "dwelt yard", "line_crossed gate forward"]
    assert sure_late.told() == [("new", told)]
    assert [zone["entered"] for zone in sure_late.counts["zones"]] == [1]
    assert [line["forward"] for line in sure_late.counts["lines"]] == [1]


def test_who_came_and_went_before_it_was_sure_is_told_so(tmp_path: Path) -> None:
    sure_late = Camera(tmp_path / "tracks.json", options=replace(RESTLESS, confirm_looks=5))
    sure_late.walks(410, 420, 390, 340, 300)
    assert sure_late.told() == [("new", ["confirmed", "zone_entered yard", "zone_left yard"])]
    assert [zone["entered"] for zone in sure_late.counts["zones"]] == [1]


def test_a_point_that_trembles_on_the_edge_of_a_zone_is_one_stay(camera: Camera) -> None:
    camera.walks(380, 405, 395, 405, 395, 405)
    assert camera.told() == [("new", ["confirmed", "zone_entered yard"]), ("update", ["dwelt yard"])]


def test_a_line_is_crossed_in_a_direction_and_counted(camera: Camera) -> None:
    places = Places((), (GATE,))
    camera.places = places
    camera.walks(500, 560, 620, 680, 680, 620, 560)
    crossings = [event for event in camera.events if event["reasons"][0]["kind"] == "line_crossed"]
    assert [_said(event["reasons"][0]) for event in crossings] == [
        "line_crossed gate forward",
        "line_crossed gate backward",
    ]
    assert crossings[-1]["after"]["crossings"] == {"gate": {"forward": 1, "backward": 1}}
    assert camera.counts["lines"] == [{"line": "gate", "label": "person", "forward": 1, "backward": 1}]


def test_who_passes_beside_a_line_or_trembles_on_it_does_not_cross_it(camera: Camera) -> None:
    camera.places = Places((), (Line("gate", (600, 0), (600, 200), PIXELS),))
    camera.walks(500, 560, 620, 680)
    assert camera.told() == [("new", ["confirmed"])]
    camera.places = Places((), (GATE,))
    camera.walks(640, 602, 599, 601, 598, 602)
    assert camera.told() == [("new", ["confirmed"])]


def test_rest_and_movement(tmp_path: Path) -> None:
    camera = Camera(tmp_path / "tracks.json", Places(), RESTING)
    camera.walks(100, 100, 100, 100, 101, 100)
    assert camera.told()[1:] == [("update", ["stationary"])]
    assert camera.events[-1]["event_time"].startswith("2026-03-01T12:00:05")
    camera.walks(140)
    assert camera.told()[2:] == [("update", ["active"])]


def test_a_label_changes_when_most_frames_say_so(camera: Camera) -> None:
    camera.places = Places()
    bare = replace(PERSON, label="person without helmet")
    for prompt in (PERSON, PERSON, bare, PERSON, bare):
        camera.sees(at(100, prompt=prompt))
    assert camera.told() == [("new", ["confirmed"])]
    camera.sees(at(100, prompt=bare))
    assert camera.told()[1] == ("update", ["label person without helmet"])
    assert (camera.events[1]["before"]["label"], camera.events[1]["after"]["label"]) == (
        "person",
        "person without helmet",
    )


def test_counts_tell_who_is_there_and_who_was(camera: Camera) -> None:
    camera.sees(at(450), at(1000))
    assert camera.messages == []
    camera.sees(at(460), at(1000))
    assert camera.counts["objects"] == [{"label": "person", "current": 2, "total": 2}]
    assert camera.counts["zones"] == [{"zone": "yard", "label": "person", "current": 1, "entered": 1}]
    before = len(camera.messages)
    camera.sees(at(470), at(1000))
    assert len(camera.messages) == before  # nothing has changed, so nothing is said
    for _ in range(4):
        camera.sees()
    assert camera.counts["objects"] == [{"label": "person", "current": 0, "total": 2}]
    assert camera.counts["zones"] == [{"zone": "yard", "label": "person", "current": 0, "entered": 1}]


def test_zones_that_are_changed_meanwhile_end_and_begin_for_tracks_that_stay(camera: Camera) -> None:
    camera.walks(450, 460)
    identity = camera.events[0]["after"]["id"]
    camera.places = Places((replace(YARD, name="garden"),))
    camera.walks(470)
    assert camera.told()[1] == ("update", ["zone_entered garden", "zone_left yard"])
    assert camera.events[1]["after"]["id"] == identity
    assert camera.events[1]["after"]["dwell"] == {"garden": 0.0}


def test_a_zone_is_for_its_prompts(camera: Camera) -> None:
    camera.places = Places((replace(YARD, prompts=frozenset({"car"})),))
    camera.walks(450, 460)
    assert camera.told() == [("new", ["confirmed"])]


def test_after_a_gap_nobody_is_known_again(camera: Camera) -> None:
    camera.walks(450, 460)
    camera.sees(at(460), after=121)
    assert camera.told()[1] == ("end", ["interrupted", "zone_left yard"])
    assert camera.events[1]["after"]["end_time"].startswith("2026-03-01T12:00:02")  # when it was last seen
    camera.walks(460)
    assert camera.events[2]["type"] == "new"
    assert camera.events[2]["after"]["id"] != camera.events[0]["after"]["id"]


def test_who_rests_is_known_again_when_a_gate_has_held_frames_back_and_who_is_gone_has_been_there(
    tmp_path: Path,
) -> None:
    camera = Camera(tmp_path / "tracks.json", Places(), RESTING)
    camera.walks(450, 450)
    camera.sees(at(450), after=60)
    for _ in range(4):
        camera.sees(after=60 if camera.at < 100 else 1)
    assert [event["type"] for event in camera.events] == ["new", "update", "end"]
    assert camera.events[2]["after"]["end_time"].startswith("2026-03-01T12:02:02")  # missed first after 122 s


@pytest.mark.parametrize("clock", ["file", "exif", "exif-local", "gps"])
def test_a_file_from_before_the_last_one_has_no_tracks(clock: Clock, camera: Camera) -> None:
    camera.walks(100, 110)
    for back in (0.3, 100.0):
        late = camera.stage(replace(frame_at(camera.at - back), clock=clock), found(at(120)))
        assert "track_id" not in late.detections[0].properties
        assert late.messages == ()
    camera.at += 0.5
    camera.walks(130)
    assert camera.told() == [("new", ["confirmed"])]


@pytest.mark.parametrize("back", [0.001, 0.3, 60.0, 119.0])
def test_a_clock_that_steps_back_ends_tracks_and_begins_new_ones_at_once(back: float, camera: Camera) -> None:
    camera.walks(100, 110)
    camera.sees(at(110), after=-back)
    camera.walks(110)
    assert camera.told() == [("new", ["confirmed"]), ("end", ["interrupted"]), ("new", ["confirmed"])]


def test_a_clock_that_jumps_back_is_a_gap(camera: Camera) -> None:
    camera.walks(100, 110)
    camera.sees(at(110), after=-3600)
    camera.walks(110)
    assert [event["type"] for event in camera.events] == ["new", "end", "new"]


@pytest.mark.parametrize("count", [250, 300])
def test_there_are_never_more_tracks_than_the_state_holds(count: int, camera: Camera) -> None:
    camera.places = Places()
    many = [detection_of(ellipse(10 + 40 * (i % 30), 30 + 60 * (i // 30), 20, 40)) for i in range(count)]
    marked = camera.stage(frame_at(1), found(*many)).detections
    assert sum("track_id" in d.properties for d in marked) == min(count, 256)
    assert camera.stage.summary()["untracked"] == max(0, count - 256)


def test_one_track_has_one_event_a_frame(camera: Camera) -> None:
    camera.walks(*range(300, 900, 20), *range(900, 300, -20))
    keys = [(event["after"]["id"], event["frame"]["id"]) for event in camera.events]
    assert len(set(keys)) == len(keys) > 5
    assert len({event["id"] for event in camera.messages}) == len(camera.messages)


def test_each_event_continues_where_the_one_before_ended(camera: Camera) -> None:
    camera.walks(*range(300, 900, 20))
    chain = camera.events
    assert len(chain) > 3
    for one, following in pairwise(chain[1:]):
        assert _settled(one["after"]) == _settled(following["before"])


def _settled(track: dict[str, Any]) -> tuple[Any, ...]:
    """What only an event changes."""
    return track["current_zones"], track["label"], track["stationary"], track["crossings"]
