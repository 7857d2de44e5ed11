"""The detection stage that joins detections into tracks and tells what happens to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sam3edge.core.gate import Gate
from sam3edge.core.matching import box_iou, pair_best_first
from sam3edge.core.messages.events import Noticed, counts, track_event
from sam3edge.core.messages.status import TrackingMember
from sam3edge.core.types import Detection, Detections, Frame, JsonValue, Message
from sam3edge.tracking.counters import Tally, tally
from sam3edge.tracking.places import Places
from sam3edge.tracking.state import Remembered, read, write
from sam3edge.tracking.track import Track
from sam3edge.tracking.tracker import Change, Scene, Step, TrackingOptions, advance, wants_look

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventChannel:
    """Where events go.

    Attributes:
        device: the thing's name.
        topic: for events and counts.
        max_payload: bytes of one message.
    """

    device: str
    topic: str
    max_payload: int


class TrackObjects:
    """A ``DetectionStage`` that says of every detection which track it is (``track_id``) and, where it has a place on
    Earth, how it moves (``speed_mps``, ``heading_deg``), and adds events and counts to the frame's messages. Frames by
    one thread, ``summary`` by any.

    What a frame leads to is on the disk before it is said. A frame that comes again, as a file does after a kill, leads
    to the same; where it does not come again, its events come with the next frame.

    Args:
        file: where the scene is kept over restarts.
        places: zones and lines at present; asked for every frame.
    """

    def __init__(
        self, channel: EventChannel, file: Path, options: TrackingOptions, places: Callable[[], Places]
    ) -> None:
        self._channel = channel
        self._file = file
        self._options = options
        self._places = places
        self._remembered = read(file)
        self._resumed = True  # whether what is remembered may not have been said
        self._told: Tally | None = None
        self._lock = threading.Lock()
        self._summary: TrackingMember = {"tracks": 0, "events": 0, "untracked": 0, "unwritten": 0}

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``."""
        scene = self._remembered.scene
        if frame.id == scene.frame_id:
            owners: Mapping[int, Track] = dict(_recognised(scene, detections.detections))
            events = self._remembered.events
            self._remember(self._remembered)  # the process before may have been killed before it was on the medium
        else:
            step = advance(scene, frame, detections, self._places(), self._options)
            waiting = self._remembered.events if self._resumed else ()
            events = (*waiting, *(self._event(frame, change) for change in step.changes))
            owners = step.owners
            self._remember(Remembered(step.scene, events))
            self._count(step, len(detections.detections))
        said = (*detections.messages, *events, *self._counts(frame))
        self._resumed = False
        return replace(detections, detections=tuple(_marked(detections.detections, owners)), messages=said)

    def wants_look(self, frame: Frame) -> bool:
        """Whether a frame decides something though nothing in it may have moved."""
        return wants_look(self._remembered.scene, frame, self._places(), self._options)

    def summary(self) -> TrackingMember:
        """For the heartbeat."""
        with self._lock:
            return {**self._summary}

    def _remember(self, now: Remembered) -> None:
        """Write the scene down, also an empty one: who comes in next is known by when nobody was there. A disk that
        refuses is told of in the heartbeat, and tried again with the next frame."""
        self._remembered = now
        try:
            write(now, self._file)
        except OSError as error:
            with self._lock:
                first = self._summary["unwritten"] == 0
                self._summary["unwritten"] += 1
            if first:
                logger.error("the tracks cannot be written: after a kill, some get other identifiers: %s", error)

    def _count(self, step: Step, found: int) -> None:
        with self._lock:
            self._summary["tracks"] = sum(track.announced for track in step.scene.tracks)
            self._summary["events"] += len(step.changes)
            self._summary["untracked"] += found - len(step.owners)

    def _event(self, frame: Frame, change: Change) -> Message:
        at = frame.captured_at.timestamp() if change.ended_at is None else change.ended_at
        return track_event(
            self._channel.topic,
            self._noticed(frame),
            change.kind,
            change.reasons,
            change.before.view(at),
            change.after.view(at, change.ended_at),
            self._channel.max_payload,
        )

    def _counts(self, frame: Frame) -> Iterator[Message]:
        """The numbers, if they are others than those that were told last."""
        scene = self._remembered.scene
        now = tally(scene.tracks, scene.totals)
        if now != self._told and (self._told is not None or now.objects):
            topic, most = self._channel.topic, self._channel.max_payload
            yield counts(topic, self._noticed(frame), now.objects, now.zones, now.lines, most)
        self._told = now

    def _noticed(self, frame: Frame) -> Noticed:
        return Noticed(self._channel.device, frame.source, frame.id, frame.name, frame.captured_at)


class AttentiveGate:
    """A ``Gate`` that also admits what another holds back, as long as the tracks wait for something.

    Args:
        gate: of the source.
        tracking: the stage that the frames come to.
    """

    def __init__(self, gate: Gate, tracking: TrackObjects) -> None:
        self._gate = gate
        self._tracking = tracking

    def admit(self, frame: Frame) -> bool:
        """See ``Gate``."""
        return self._gate.admit(frame) or self._tracking.wants_look(frame)


def _recognised(scene: Scene, detections: tuple[Detection, ...]) -> Iterator[tuple[int, Track]]:
    """Which detections of the last frame, which has come again, are which of its tracks."""
    tracks = [track for track in scene.tracks if track.seen == scene.time and track.missing_since is None]
    overlaps = box_iou([track.box for track in tracks], [d.box for d in detections])
    for row, track in enumerate(tracks):
        for column, detection in enumerate(detections):
            if detection.prompt.text != track.prompt:
                overlaps[row, column] = 0.0
    for row, column in pair_best_first(overlaps):
        yield column, tracks[row]


def _marked(detections: tuple[Detection, ...], owners: Mapping[int, Track]) -> Iterator[Detection]:
    for number, detection in enumerate(detections):
        track = owners.get(number)
        marked = {} if track is None else _properties(track)
        yield replace(detection, properties={**detection.properties, **marked}) if marked else detection


def _properties(track: Track) -> dict[str, JsonValue]:
    """What a feature says of its track."""
    said: dict[str, JsonValue] = {"track_id": track.id}
    if track.ground is not None and (speed := track.ground.speed) is not None:
        said["speed_mps"] = round(speed, 2)
        if (heading := track.ground.heading) is not None:
            said["heading_deg"] = round(heading, 1)
    return said
