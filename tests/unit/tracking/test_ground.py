"""Tracks on the ground: what stays the same when the camera moves, and how fast things are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import shapely
from shapely.affinity import affine_transform

from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Detections
from sam3edge.geo.pose import camera_of
from sam3edge.tracking.earth import offset
from sam3edge.tracking.ground import Standing, carried, has_moved, landmarks, standings
from sam3edge.tracking.places import Places
from sam3edge.tracking.stage import EventChannel, TrackObjects
from sam3edge.tracking.state import Remembered, from_bytes, read, to_bytes
from sam3edge.tracking.tracker import TrackingOptions
from support.ground_scenes import CAR, FLIGHTS, HOME, SURVEYED, Flight, View, Walker, street, watch
from support.moving_scenes import HEIGHT, WIDTH, Moment, detection_of, ellipse, found, idf1, without_places
from support.places import located

SIZE = (WIDTH, HEIGHT)


def seen_from(view: View, *outlines: shapely.Polygon) -> Detections:
    return located(camera_of(view.pose(), SIZE, SURVEYED), found(*(detection_of(outline) for outline in outlines)))


def standing_of(detections: Detections, moves: bool = False) -> Standing:
    [standing] = standings(detections.detections, detections.georeference, moves)
    assert standing is not None
    return standing


DOWN, ASIDE = View(0, 0, 25, 30, 90), View(0, 0, 6, 0, 22)


def test_an_object_is_as_large_in_metres_as_across_the_line_of_sight() -> None:
    scale = 25 / (WIDTH / 2 / np.tan(np.radians(32.5)))  # height over focal length
    from_above = standing_of(seen_from(DOWN, ellipse(400, 300, 100, 100)))
    assert from_above.metres(100) == pytest.approx(100 * scale, rel=1e-3)
    [[x, y]] = DOWN.shown(np.array([[*offset(HOME, [from_above.position])[0], 0]]))
    assert from_above.pixel == pytest.approx((x, y), abs=0.01)
    aside = standing_of(seen_from(ASIDE, ellipse(640, 340, 40, 100)))
    distance = np.hypot(offset(HOME, [aside.position])[0, 1], 6)
    assert aside.pixel == pytest.approx((640, 390), abs=0.01)
    assert aside.metres(100) == pytest.approx(100 * distance / (WIDTH / 2 / np.tan(np.radians(32.5))), rel=0.1)


def test_what_has_no_place_stands_nowhere() -> None:
    detections = seen_from(View(0, 0, 6, 0, 2), ellipse(640, 100, 40, 40), ellipse(640, 600, 40, 40))
    sky, ground = standings(detections.detections, detections.georeference, False)
    assert sky is None
    assert ground is not None
    assert standings(detections.detections, None, False) == [None, None]


def test_outlines_are_carried_to_where_another_frame_shows_them() -> None:
    """Seen straight from above, all of an outline that lies on the ground is where the other camera shows it."""
    outline = ellipse(500, 300, 120, 60)
    before, other = seen_from(DOWN, outline), View(4, -3, 20, 75, 90)
    camera = camera_of(other.pose(), SIZE, SURVEYED)
    standing = standing_of(before)
    [turn] = carried([standing], [standing.position], camera)
    assert turn is not None
    assert before.georeference is not None
    truth = shapely.transform(outline, lambda at: camera.to_pixels(before.georeference.to_world(at)))  # type: ignore[union-attr]
    there = affine_transform(outline, turn)
    assert there.intersection(truth).area / there.union(truth).area > 0.99
    [behind] = carried([standing], [standing.position], camera_of(View(0, -100, 6, 180, 22).pose(), SIZE, SURVEYED))
    assert behind is None


def test_a_camera_stands_still_until_a_landmark_moves() -> None:
    camera = camera_of(ASIDE.pose(), SIZE, SURVEYED)
    before = landmarks(camera)
    assert len(before) == 2
    assert not has_moved(before, camera_of(ASIDE.pose(), SIZE, SURVEYED))
    for change in ({"heading": 0.01}, {"tilt": 22.01}, {"east": 0.02}, {"height": 6.01}):
        assert has_moved(before, camera_of(replace(ASIDE, **change).pose(), SIZE, SURVEYED))
    assert has_moved((), camera)
    assert landmarks(None) == ()


def test_only_cameras_that_move_tremble() -> None:
    detections = seen_from(ASIDE, ellipse(640, 340, 40, 100))
    still, moving = standing_of(detections), standing_of(detections, moves=True)
    assert still.tremble == 0 < moving.tremble < detections.detections[0].place.accuracy  # type: ignore[union-attr]
    assert (np.linalg.eigvalsh(moving.noise(40) - still.noise(40)) > 0).all()


# -- sequences --------------------------------------------------------------------------------------------------------


class Recording:
    """The stage, and what it said of each frame."""

    def __init__(self, file: Path, options: TrackingOptions | None = None) -> None:
        self.file, self.options = file, options or TrackingOptions()
        self.frames: list[dict[str, shapely.Polygon]] = []
        self.features: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.restart()

    def restart(self) -> None:
        self.stage = TrackObjects(EventChannel("line-7", "t", 131_072), self.file, self.options, Places)

    def sees(self, moments: Sequence[Moment]) -> Recording:
        for moment in moments:
            result = self.stage(moment.frame, moment.detections)
            tracked = [d for d in result.detections if "track_id" in d.properties]
            self.frames.append({str(d.properties["track_id"]): d.geometry for d in tracked})
            self.features += [dict(d.properties) for d in tracked]
            self.messages += [json.loads(message.payload) for message in result.messages]
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["message_type"] == "event"]


def score(moments: Sequence[Moment], file: Path) -> float:
    return idf1([moment.truth for moment in moments], Recording(file).sees(moments).frames)


def times(seconds: float, rate: float = 2.0) -> list[float]:
    return np.arange(0, seconds, 1 / rate).tolist()


WALK = Walker("a", 0, 60, -4, 12, 1.4, 70)
DRIVE = Walker("b", 0, 60, -10, 3, 6.0, 45, prompt=CAR)


def plain(walkers: Sequence[Walker], flight: Flight, at: Sequence[float], **faults: float) -> list[Moment]:
    """Without the detector's faults, but for those that are named."""
    return watch(walkers, flight, at, 0, errors=SURVEYED, **{"missed": 0, "ghosts": 0, "jitter": 0.02, **faults})


@pytest.mark.parametrize("name", FLIGHTS)
def test_speed_and_heading_are_those_of_the_object_and_not_of_the_camera(name: str, tmp_path: Path) -> None:
    moments = plain([replace(WALK, speed=1.4 if name != "over" else 1.8)], FLIGHTS[name], times(6))
    recording = Recording(tmp_path / "t.json").sees(moments)
    first, *_, last = recording.features
    assert "speed_mps" not in first
    assert len({feature["track_id"] for feature in recording.features}) == 1
    assert last["speed_mps"] == pytest.approx(1.8 if name == "over" else 1.4, abs=0.35)
    assert last["heading_deg"] == pytest.approx(70, abs=20)


def test_events_tell_place_and_speed_as_their_schema_says(tmp_path: Path) -> None:
    moments = plain([DRIVE], FLIGHTS["over"], times(3))
    recording = Recording(tmp_path / "t.json").sees(moments)
    for message in recording.messages:
        jsonschema.Draft202012Validator(schema("events")).validate(message)
    [event] = recording.events
    east, north, _ = DRIVE.at(0.5)
    assert offset(HOME, [event["after"]["position"]])[0] == pytest.approx((east, north), abs=1.5)
    assert "speed_mps" not in event["before"]
    assert event["after"]["speed_mps"] == pytest.approx(6, abs=2)
    assert event["after"]["heading_deg"] == pytest.approx(45, abs=20)
    [known] = without_places(moments)[:1]
    assert "position" not in Recording(tmp_path / "u.json").sees([known, *moments[1:2]]).events[0]["before"]


def test_what_rests_on_the_ground_rests_however_the_camera_flies(tmp_path: Path) -> None:
    parked = Walker("p", 0, 60, 2, 12, 0.0, 10, prompt=CAR)
    moments = plain([parked], lambda t: View(3 * np.sin(t), 4 + t, 25, 20 * np.sin(t), 90), times(7))
    options = TrackingOptions(rest_seconds=4)
    recording = Recording(tmp_path / "t.json", options).sees(moments)
    assert [reason["kind"] for event in recording.events for reason in event["reasons"]] == ["confirmed", "stationary"]
    assert "heading_deg" not in recording.features[-1]
    moved = Recording(tmp_path / "u.json", options).sees(plain([replace(parked, speed=1.0)], FLIGHTS["mast"], times(7)))
    assert "stationary" not in [reason["kind"] for event in moved.events for reason in event["reasons"]]


def test_a_camera_that_turns_away_and_back_finds_who_was_there(tmp_path: Path) -> None:
    glance = [0, 0, 0, 0, 90, 90, 90, 0, 0, 0]
    moments = plain([WALK], lambda t: View(0, 0, 6, glance[round(2 * t)], 22), times(5))
    assert [len(moment.truth) for moment in moments] == [1, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    recording = Recording(tmp_path / "t.json").sees(moments)
    assert len({feature["track_id"] for feature in recording.features}) == 1
    assert [event["type"] for event in recording.events] == ["new"]


def test_two_prompts_on_one_spot_stay_two(tmp_path: Path) -> None:
    person = replace(WALK, start=0, end=2)
    car = Walker("c", 2.5, 6, *WALK.at(2.5)[:2], 1.4, 70, prompt=CAR)
    recording = Recording(tmp_path / "t.json").sees(plain([person, car], FLIGHTS["mast"], times(5)))
    news = [event["after"] for event in recording.events if event["type"] == "new"]
    assert [new["prompt"] for new in news] == ["person", "car"]
    assert len({new["id"] for new in news}) == 2


def test_where_places_fail_for_a_frame_tracks_go_on_in_pixels(tmp_path: Path) -> None:
    moments = plain([WALK, replace(WALK, name="b", north=16, speed=0.9)], FLIGHTS["mast"], times(6))
    blind = [*moments[:4], *without_places(moments[4:6]), *moments[6:]]
    recording = Recording(tmp_path / "t.json").sees(blind)
    assert len({feature["track_id"] for feature in recording.features}) == 2
    assert "speed_mps" in recording.features[-1]


def test_a_restart_before_every_frame_changes_nothing_on_the_ground(tmp_path: Path) -> None:
    flight = FLIGHTS["oblique"]
    moments = watch(street(1, 8, 8, flight), flight, times(8, 1), 1, errors=SURVEYED)
    steady, restarted = Recording(tmp_path / "a.json").sees(moments), Recording(tmp_path / "b.json")
    for moment in moments:
        restarted.restart()
        restarted.sees([moment])
        remembered = read(restarted.file)
        assert from_bytes(to_bytes(remembered)) == remembered
    assert restarted.features == steady.features
    assert any(track.ground is not None for track in read(restarted.file).scene.tracks)


def test_a_file_of_format_1_is_read_with_its_tracks_totals_and_events(tmp_path: Path) -> None:
    """It had 7 numbers for a motion, nothing on the ground, and no landmarks."""
    moments = without_places(plain([WALK], FLIGHTS["mast"], times(3)))
    recording = Recording(tmp_path / "t.json").sees(moments[:4])
    body = json.loads((tmp_path / "t.json").read_bytes())
    body["format"] = 1
    del body["landmarks"]
    for track in body["tracks"]:
        x, y, vx, vy, *covariance = track["motion"]
        track["motion"] = [x, y, vx, vy, covariance[0], covariance[2], covariance[10]]
        del track["ground"]
        track["rest"] = track["rest"][:3]
    (tmp_path / "t.json").write_text(json.dumps(body))
    old = read(tmp_path / "t.json")
    assert old != Remembered()
    known = recording.stage._remembered
    assert (old.scene.totals, old.events) == (known.scene.totals, known.events)
    assert [(t.id, t.presence, t.motion.x, t.motion.vx) for t in old.scene.tracks] == [
        (t.id, t.presence, t.motion.x, t.motion.vx) for t in known.scene.tracks
    ]
    recording.restart()
    recording.sees(moments[4:])
    assert len({feature["track_id"] for feature in recording.features}) == 1


ACCEPTANCE = range(1000, 1002)
"""Seeds that nothing was chosen on; see ``test_sequences``."""


@pytest.mark.parametrize("seed", ACCEPTANCE)
@pytest.mark.parametrize("name", FLIGHTS)
def test_who_is_hidden_for_a_second_is_known_again_by_a_camera_that_moves(name: str, seed: int, tmp_path: Path) -> None:
    """What the picture alone tells of the same is in the benchmark."""
    flight = FLIGHTS[name]
    moments = watch(street(seed, 10, 14, flight), flight, times(14), seed, errors=SURVEYED)
    assert score(moments, tmp_path / "t.json") >= 0.9
