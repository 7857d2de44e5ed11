"""The stage among its neighbours: the gate, a disk that refuses, frames that come again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sam3edge.core.types import Frame
from sam3edge.tracking import stage as stage_module
from sam3edge.tracking.places import PixelsOfFrame, Places, Zone
from sam3edge.tracking.stage import AttentiveGate, EventChannel, TrackObjects
from sam3edge.tracking.state import Remembered, read
from sam3edge.tracking.tracker import TrackingOptions
from support.moving_scenes import detection_of, ellipse, found, frame_at

EVERYWHERE = Zone("hall", ((0, 0), (1280, 0), (1280, 720), (0, 720)), PixelsOfFrame(), dwell_seconds=30)
PERSON_AT_REST = detection_of(ellipse(400, 300, 60, 140))


class ClosedGate:
    """Nothing ever changes."""

    def admit(self, frame: Frame) -> bool:
        return False


def opened(file: Path, places: Places | None = None) -> TrackObjects:
    return TrackObjects(EventChannel("line-7", "t", 8000), file, TrackingOptions(), lambda: places or Places())


def test_a_gate_lets_frames_through_while_a_track_waits_for_them(tmp_path: Path) -> None:
    stage = opened(tmp_path / "tracks.json", Places((EVERYWHERE,)))
    gate = AttentiveGate(ClosedGate(), stage)
    admitted: list[float] = []
    stage(frame_at(0), found(PERSON_AT_REST))
    for second in range(1, 61):
        if gate.admit(frame_at(second)):
            admitted.append(second)
            stage(frame_at(second), found(PERSON_AT_REST))
    assert admitted == [1, 10, 30]  # to be sure; to have come to rest; to have stayed
    stage(frame_at(61), found())
    waited = []
    for second in range(62, 70):
        if gate.admit(frame_at(second)):
            waited.append(second)
            stage(frame_at(second), found())
    assert waited == [62, 63, 64]  # until it is gone for three seconds


def test_a_frame_that_comes_again_leads_to_the_same(tmp_path: Path) -> None:
    stage = opened(tmp_path / "tracks.json")
    stage(frame_at(0), found(PERSON_AT_REST))
    other = detection_of(ellipse(900, 300, 60, 140))
    first = stage(frame_at(1), found(PERSON_AT_REST, other))
    for again in (stage, opened(tmp_path / "tracks.json")):
        repeated = again(frame_at(1), found(other, PERSON_AT_REST))  # the order is the model's
        assert [d.properties for d in repeated.detections] == [d.properties for d in reversed(first.detections)]
        events = [message for message in repeated.messages if json.loads(message.payload)["message_type"] == "event"]
        assert events == [m for m in first.messages if json.loads(m.payload)["message_type"] == "event"]


def test_the_same_file_put_into_a_folder_again_later_is_another_look(tmp_path: Path) -> None:
    stage = opened(tmp_path / "tracks.json")
    ids = []
    for second in range(0, 600, 200):  # each is a gap from the one before
        for half in (0, 1):
            again = replace(frame_at(second + half), id=f"frame-{half}")
            ids += [message.id for message in stage(again, found(PERSON_AT_REST)).messages]
    assert len(ids) > 6
    assert len(set(ids)) == len(ids)


def test_who_comes_into_an_empty_scene_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Who is seen at the edge a second after nobody was there has just come in."""
    for second in range(5):
        opened(tmp_path / "restarted.json")(frame_at(second), found())
    stays = opened(tmp_path / "stays.json")
    for second in range(5):
        stays(frame_at(second), found())
    first, second = detection_of(ellipse(40, 300, 60, 140)), detection_of(ellipse(130, 300, 60, 140))
    for stage in (stays, opened(tmp_path / "restarted.json")):
        stage(frame_at(5), found(first))
        stage(frame_at(6), found(second, first))  # the other one comes in behind
    assert read(tmp_path / "restarted.json").scene == read(tmp_path / "stays.json").scene


def test_what_a_killed_process_has_written_is_written_again_before_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been killed before its file had its name on the medium."""
    for second in (0, 1):
        opened(tmp_path / "tracks.json")(frame_at(second), found(PERSON_AT_REST))
    before, written = read(tmp_path / "tracks.json"), []
    monkeypatch.setattr(stage_module, "write", lambda remembered, file: written.append(remembered))
    opened(tmp_path / "tracks.json")(frame_at(1), found(PERSON_AT_REST))
    assert before.events
    assert written == [before]


def test_a_disk_that_refuses_costs_no_events_while_the_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(remembered: Remembered, file: Path) -> None:
        raise OSError(28, os.strerror(28))

    stage = opened(tmp_path / "tracks.json")
    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "write", refuse)
        messages = [m for second in range(3) for m in stage(frame_at(second), found(PERSON_AT_REST)).messages]
    assert [json.loads(m.payload)["message_type"] for m in messages] == ["event", "counts"]
    assert stage.summary()["unwritten"] == 3
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
    stage(frame_at(3), found(PERSON_AT_REST))
    assert read(tmp_path / "tracks.json").scene.tracks[0].announced


def test_properties_of_other_stages_stay(tmp_path: Path) -> None:
    zoned = replace(PERSON_AT_REST, properties={"zones": ["hall"]})
    [marked] = opened(tmp_path / "tracks.json")(frame_at(0), found(zoned)).detections
    assert marked.properties.keys() == {"zones", "track_id"}
