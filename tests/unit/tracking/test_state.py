"""The state on the disk: the same again, bounded, and harmless when it is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import shapely

from sam3edge.core.messages.events import MAX_LINES, MAX_PLACE_NAME, MAX_ZONES
from sam3edge.core.types import Message, Prompt
from sam3edge.tracking.counters import MAX_COUNTERS, Totals
from sam3edge.tracking.ground import Ground, Standing
from sam3edge.tracking.motion import Motion
from sam3edge.tracking.places import Line, Places, RelativeToFrame, Zone
from sam3edge.tracking.presence import Anchor, Presence, Stay
from sam3edge.tracking.state import MAX_EVENTS, Remembered, from_bytes, read, to_bytes, write
from sam3edge.tracking.track import LABEL_LOOKS, OUTLINE_VERTICES, compact
from sam3edge.tracking.tracker import MAX_TRACKS, Scene, TrackingOptions, advance
from support.moving_scenes import crowd, detection_of, ellipse, film, found, frame_at
from support.samples import wobbly

PLACES = Places(
    (Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), RelativeToFrame(), dwell_seconds=3),),
    (Line("middle", (0.5, 0), (0.5, 1), RelativeToFrame()),),
)


def test_what_was_written_is_read_to_the_last_digit(tmp_path: Path) -> None:
    scene = Scene()
    for moment in film(crowd(1, 8, 20), np.arange(0, 20, 0.7).tolist(), 1):
        scene = advance(scene, moment.frame, moment.detections, PLACES, TrackingOptions()).scene
        remembered = Remembered(scene, (Message("i", "t", b'{"a":"\xc3\xa9"}'),))
        write(remembered, tmp_path / "tracks.json")
        assert read(tmp_path / "tracks.json") == remembered
    assert scene.totals.crossed
    assert scene.totals.entered
    assert any(track.presence.anchors for track in scene.tracks)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[]", b'{"format": 3}', b"\xff\xfe", b'{"format":1,"size":[1]}', b"null", b"[" * 100_000],
    ids=["empty", "no format", "list", "another format", "binary", "cut", "null", "deep"],
)
def test_a_damaged_file_is_as_none(damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tracks.json").write_bytes(damage)
    assert read(tmp_path / "tracks.json") == Remembered()
    assert "all tracks begin anew" in caplog.text


def test_every_part_of_a_file_that_is_cut_off_is_harmless(tmp_path: Path) -> None:
    scene = Scene()
    for moment in film(crowd(1, 3, 6), [3.0, 4.0, 5.0], 1):
        scene = advance(scene, moment.frame, moment.detections, PLACES, TrackingOptions()).scene
    whole = to_bytes(Remembered(scene))
    body = json.loads(whole)
    assert body["tracks"]
    for member in body["tracks"][0]:
        for wrong in (None, "x", [], {}):
            spoilt = {**body, "tracks": [{**body["tracks"][0], member: wrong}]}
            (tmp_path / "tracks.json").write_text(json.dumps(spoilt))
            assert isinstance(read(tmp_path / "tracks.json"), Remembered)


def test_an_outline_is_bounded_and_near_what_it_was() -> None:
    pole = shapely.MultiPolygon([shapely.box(0, 0, 40, 200), shapely.box(60, 0, 100, 200)])
    ring = shapely.box(0, 0, 100, 100).difference(shapely.box(20, 20, 80, 80))
    for shape in (wobbly(400, 80), ellipse(100, 100, 50, 130), pole, ring, shapely.box(0, 0, 1e-3, 1e-3)):
        small = compact(shape)
        assert small.is_valid
        assert len(small.exterior.coords) <= OUTLINE_VERTICES
    assert compact(pole).area == 100 * 200
    ellipse_again = compact(ellipse(100, 100, 50, 130))
    assert ellipse_again.intersection(ellipse(100, 100, 50, 130)).area > 0.95 * ellipse_again.area


MAX_BYTES = 5_000_000
"""Of the file, whatever the camera sees: 256 tracks of at most 10 kB with labels of 200 characters, and 1024 events."""


STANDING = Standing((13 + 1 / 3, 52 + 1 / 3), (1000 + 1 / 3, 700 + 1 / 3), (1 / 3, 2 / 3, -1 / 3, -2 / 3), 1 / 3)


def test_the_largest_state_there_can_be_is_bounded() -> None:
    outline = compact(wobbly(OUTLINE_VERTICES - 1, 83.123456789))
    long = "é" * 200
    zones = ["z" * (MAX_PLACE_NAME - 2) + f"{i:02d}" for i in range(MAX_ZONES)]
    lines = ["l" * (MAX_PLACE_NAME - 2) + f"{i:02d}" for i in range(MAX_LINES)]
    third = 1 / 3
    presence = Presence(
        (third,) * 4, 1.7e9 + third, STANDING,
        dict.fromkeys(zones, Stay(10**6, 1e6 + third, 1.7e9 + third, 1.7e9 + third, True)),
        dict.fromkeys(lines, Anchor((1e3 + third, 1e3 + third), (13 + third, 52 + third))),
        dict.fromkeys(lines, (10**6, 10**6)), True,
    )  # fmt: skip
    moment = film(crowd(1, 3, 6), [5.0], 1)[0]
    one = advance(Scene(), moment.frame, moment.detections, PLACES, TrackingOptions()).scene.tracks[0]
    worst = replace(
        one, prompt=long, label=long, labels=(long,) * LABEL_LOOKS, outline=outline, presence=presence,
        motion=Motion(third, third, third, third, (third,) * 16),
        ground=Ground(STANDING, Motion(third, third, third, third, (third,) * 16), third),
    )  # fmt: skip
    totals = Totals(
        {f"{i}{long}": 10**6 for i in range(MAX_COUNTERS)},
        {(zones[0], f"{i}{long}"): 10**6 for i in range(MAX_COUNTERS)},
        {(lines[0], f"{i}{long}"): (10**6, 10**6) for i in range(MAX_COUNTERS)},
    )
    scene = Scene("s" * 64, "f" * 64, (10**5, 10**5), 1.7e9, (worst,) * MAX_TRACKS, totals)
    assert len(to_bytes(Remembered(scene))) < MAX_BYTES


def test_more_events_than_the_file_holds_leave_the_newest() -> None:
    many = tuple(Message(str(i), "t", b"{}") for i in range(MAX_EVENTS + 10))
    assert [m.id for m in from_bytes(to_bytes(Remembered(Scene(), many))).events] == [m.id for m in many[10:]]


def test_a_week_leaves_no_more_behind_than_an_hour() -> None:
    """A look every minute, with new objects, labels and zones all the time. What is bounded is the number of everything
    that is remembered, so this does not depend on how memory is measured."""
    chance = np.random.default_rng(0)
    scene, places, frame = Scene(), PLACES, frame_at(0)
    sizes: list[int] = []
    for minute in range(7 * 24 * 60):
        if minute % 5 == 0:
            places = Places((replace(PLACES.zones[0], name=f"zone-{minute}"),), PLACES.lines)
        prompt = Prompt("person", label=f"label {minute // 7}")
        seen = [
            detection_of(ellipse(chance.uniform(0, 1280), chance.uniform(0, 720), 50, 130), prompt)
            for _ in range(chance.integers(0, 3))
        ]
        look = replace(frame, id=str(minute), captured_at=frame.captured_at + timedelta(minutes=minute))
        scene = advance(scene, look, found(*seen), places, TrackingOptions()).scene
        assert len(scene.tracks) <= 8
        assert all(len(track.presence.stays) <= 1 and len(track.presence.anchors) <= 1 for track in scene.tracks)
        assert max(map(len, (scene.totals.objects, scene.totals.entered, scene.totals.crossed))) <= MAX_COUNTERS
        if minute % 500 == 499:
            sizes.append(len(to_bytes(Remembered(scene))))
    assert len(scene.totals.objects) == MAX_COUNTERS  # it would have grown
    assert max(sizes[-5:]) < 1.5 * max(sizes[5:10])
