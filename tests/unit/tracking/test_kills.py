"""Killed at any moment, the component loses no event and tells none twice.

The flow runs as it does on the device, over an outbox that stores all or nothing and drops what it has; a kill is an
exception that nothing catches, before or after a write of the state, before or after a put. Then everything is built
anew from what is on the disk.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import FrameError
from sam3edge.core.flow import DetectionOptions, Flow, Outlining
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.topics import Topics
from sam3edge.core.ports import EndOfSource, Engine, SourceTraits
from sam3edge.core.types import Frame, Message
from sam3edge.engines.fake import FakeEngine
from sam3edge.segmenter.status import Statistics
from sam3edge.tracking import stage as stage_module
from sam3edge.tracking.places import Line, Places, RelativeToFrame, Zone
from sam3edge.tracking.stage import EventChannel, TrackObjects
from sam3edge.tracking.state import Remembered, write
from sam3edge.tracking.tracker import TrackingOptions
from support.moving_scenes import PERSON, Moment, crowd, film

SEQUENCE = film(crowd(5, 5, 16), [float(t) for t in range(18)], 5)
PLACES = Places(
    (Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), RelativeToFrame(), dwell_seconds=3),),
    (Line("middle", (0.5, 0), (0.5, 1), RelativeToFrame()),),
)


@pytest.fixture(autouse=True, scope="module")
def _no_power_cuts() -> Iterator[None]:
    """A killed process leaves what it has written to the system: nothing need be on the medium here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Fate:
    """Decides, at each place where the process may be killed, whether it is: by the number of the passage."""

    at: frozenset[int] = frozenset()
    passed: int = 0

    def passes(self) -> None:
        self.passed += 1
        if self.passed in self.at:
            raise Killed


@dataclass
class Device:
    """What outlives a kill: the state's file, the outbox, and which frames of the source are done."""

    file: Path
    waits: bool
    fate: Fate
    stored: dict[str, Message] = field(default_factory=dict)
    repeated: list[Message] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    worked_on: set[str] = field(default_factory=set)

    def put(self, messages: Sequence[Message]) -> None:
        self.worked_on |= {json.loads(m.payload)["frame"]["id"] for m in messages if m.topic == "p/detections"}
        self.fate.passes()
        for message in messages:
            if message.id in self.stored:
                self.repeated.append(message)
            else:
                self.stored[message.id] = message
        self.fate.passes()

    def wait_for_room(self, timeout: float) -> bool:
        return True

    def write(self, remembered: Remembered, file: Path) -> None:
        self.fate.passes()
        write(remembered, file)
        self.worked_on.add(remembered.scene.frame_id)
        self.fate.passes()

    def events(self) -> list[dict[str, Any]]:
        bodies = [json.loads(m.payload) for m in self.stored.values() if m.topic == "p/events"]
        return [body for body in bodies if body["message_type"] == "event"]


class Frames:
    """Files wait until they are done; a camera's frames pass by."""

    backlog = unfinished = 0

    def __init__(self, device: Device, moments: Sequence[Moment]) -> None:
        self._device = device
        self._moments = moments
        self.traits = SourceTraits(device.waits)
        self._given: set[str] = set()

    def next(self, timeout: float) -> Frame | None:
        for moment in self._moments:
            if moment.frame.id not in self._device.done | self._given:
                self._given.add(moment.frame.id)
                if not self._device.waits:
                    self._device.done.add(moment.frame.id)
                return moment.frame
        raise EndOfSource

    def done(self, frame: Frame) -> None:
        self._device.fate.passes()
        self._device.done.add(frame.id)

    def reject(self, error: FrameError) -> None:
        raise AssertionError(error)

    def close(self) -> None: ...


class Script:
    """A detector that finds what the sequence says."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self._found = {moment.frame.id: moment.detections for moment in moments}

    def detect(self, frame: Frame, options: DetectionOptions, engine: Callable[[], Engine]) -> Outlining:
        return lambda: self._found[frame.id]


def run(device: Device, moments: Sequence[Moment], monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the source has ended, started again after every kill."""
    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "write", device.write)
        while True:
            channel = EventChannel("line-7", "p/events", 50_000)
            stage = TrackObjects(channel, device.file, TrackingOptions(), lambda: PLACES)
            flow = Flow(
                "line-7", Frames(device, moments), OpenGate(), FakeEngine, lambda: DetectionOptions((PERSON,)), device,
                Topics("p"), Statistics(), Script(moments), [stage],
            )  # fmt: skip
            try:
                flow.run(threading.Event())
            except Killed:
                continue
            return


def content(events: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By id, without the time at which a message was made."""
    return {event["id"]: {name: value for name, value in event.items() if name != "time"} for event in events}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Device:
    device = Device(tmp_path_factory.mktemp("plain") / "tracks.json", True, Fate())
    run(device, SEQUENCE, pytest.MonkeyPatch())
    return device


def test_the_sequence_has_events_of_every_kind(undisturbed: Device) -> None:
    events = undisturbed.events()
    kinds = {reason["kind"] for event in events for reason in event["reasons"]}
    assert {event["type"] for event in events} == {"new", "update", "end"}
    assert {"zone_entered", "zone_left", "line_crossed", "dwelt"} <= kinds
    assert len(events) > 10


PASSAGES = 6 * len(SEQUENCE)
"""More than there are: two at the state, two at the outbox and one at the source for every frame."""

KILLS = st.frozensets(st.integers(1, PASSAGES), min_size=1, max_size=12)
FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(kills=KILLS)
def test_files_lead_to_the_same_events_whenever_the_process_was_killed(
    kills: frozenset[int], undisturbed: Device, tmp_path_factory: pytest.TempPathFactory
) -> None:
    device = Device(tmp_path_factory.mktemp("killed") / "tracks.json", True, Fate(kills))
    run(device, SEQUENCE, pytest.MonkeyPatch())
    assert content(device.events()) == content(undisturbed.events())
    for message in device.repeated:  # what was said again was the same
        assert json.loads(message.payload)["id"] in device.stored


@FEW
@given(kills=KILLS)
def test_a_cameras_events_are_those_of_the_frames_that_it_has_worked_on(
    kills: frozenset[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Frames that were lost to a kill are as if the camera had not taken them; of those whose state was written no
    event is missing, and none is different."""
    folder = tmp_path_factory.mktemp("camera")
    device = Device(folder / "killed.json", False, Fate(kills))
    run(device, SEQUENCE, pytest.MonkeyPatch())
    plain = Device(folder / "plain.json", True, Fate())
    run(plain, [m for m in SEQUENCE if m.frame.id in device.worked_on], pytest.MonkeyPatch())
    said, expected = content(device.events()), content(plain.events())
    waiting = {i for i in expected if i not in said}
    assert {i: e for i, e in expected.items() if i not in waiting} == said
    assert all(expected[i]["frame"]["id"] == SEQUENCE[-1].frame.id for i in waiting)  # the next frame will say them


@pytest.mark.parametrize("waits", [True, False])
def test_killed_at_every_passage_once(
    waits: bool, undisturbed: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short piece of the sequence, with one kill at each place where there can be one."""
    piece = SEQUENCE[8:12]
    for passage in range(1, 6 * len(piece)):
        device = Device(tmp_path / f"{passage}.json", waits, Fate(frozenset({passage})))
        run(device, piece, monkeypatch)
        plain = Device(tmp_path / f"{passage}-plain.json", True, Fate())
        run(plain, piece if waits else [m for m in piece if m.frame.id in device.worked_on], monkeypatch)
        said, expected = content(device.events()), content(plain.events())
        missing = {i for i in expected if i not in said}
        assert {i: expected[i] for i in expected if i not in missing} == said
        assert all(expected[i]["frame"]["id"] == piece[-1].frame.id for i in missing)  # the next frame will say them
        assert not (waits and missing)


def test_what_waits_in_the_file_is_said_with_the_next_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the write and the put at each camera frame that has an event: with the next frame it is there."""
    plain = Device(tmp_path / "plain.json", True, Fate())
    run(plain, SEQUENCE, monkeypatch)
    frames = {event["frame"]["id"] for event in plain.events()} - {SEQUENCE[-1].frame.id}
    assert frames
    for number, moment in enumerate(SEQUENCE[:-1]):
        if moment.frame.id in frames:
            device = Device(tmp_path / f"{number}.json", False, Fate())
            run(device, SEQUENCE[:number], monkeypatch)
            device.fate = Fate(frozenset({3}))  # the put, after two passages at the state
            run(device, SEQUENCE[: number + 1], monkeypatch)
            assert not [event for event in device.events() if event["frame"]["id"] == moment.frame.id]
            device.fate = Fate()
            run(device, SEQUENCE[: number + 2], monkeypatch)
            here = {i for i, event in content(plain.events()).items() if event["frame"]["id"] == moment.frame.id}
            assert here <= content(device.events()).keys()
