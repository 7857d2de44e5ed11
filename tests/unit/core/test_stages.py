"""Detection stages: what they add is published. ``Largest`` is the example of ``docs/adding.md``."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from sam3edge.core.errors import FrameError
from sam3edge.core.flow import DetectionOptions, Flow
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.messages.topics import Topics
from sam3edge.core.stages import DetectionStage
from sam3edge.core.types import Detections, Frame, Message, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.segmenter.status import Statistics
from sam3edge.sources.fake import ListSource
from support.samples import MODEL, detection, frame, red_square, wobbly


class Largest:
    """Says of each detection whether it is the largest of its frame."""

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        most = max((d.area for d in detections.detections), default=0.0)
        marked = (replace(d, properties={**d.properties, "largest": d.area == most}) for d in detections.detections)
        return replace(detections, detections=tuple(marked))


class Refusing:
    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        raise FrameError("expected a level camera, got a tilt of 40 degrees", frame_id=frame.id, name=frame.name)


class DropAll:
    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        return replace(detections, detections=())


class Kept:
    """An outbox in memory."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, messages: list[Message]) -> None:
        self.messages += messages

    def wait_for_room(self, timeout: float) -> bool:
        return True


def published(*stages: DetectionStage) -> list[Message]:
    outbox = Kept()
    Flow(
        "line-7",
        ListSource([frame(red_square())]),
        OpenGate(),
        FakeEngine,
        lambda: DetectionOptions((Prompt("red"),)),
        outbox,
        Topics("p"),
        Statistics(),
        stages=stages,
    ).run(threading.Event())
    return outbox.messages


def features(message: Message) -> list[dict[str, object]]:
    return [feature["properties"] for feature in json.loads(message.payload)["features"]]


def test_what_a_stage_adds_is_in_the_message() -> None:
    [message] = published(Largest())
    [properties] = features(message)
    assert properties["largest"] is True
    assert properties["label"] == "red"


def test_stages_work_in_their_order() -> None:
    [nothing_is_left] = published(DropAll(), Largest())
    assert features(nothing_is_left) == []


def test_a_stage_may_refuse_a_frame() -> None:
    [message] = published(Refusing())
    assert message.topic == "p/errors"
    assert "tilt of 40 degrees" in json.loads(message.payload)["reason"]


def test_a_property_may_not_replace_what_every_feature_has() -> None:
    claimed = replace(detection(wobbly(8, 30)), properties={"score": 1.0})
    result = frame_result("line-7", frame(red_square()), (Prompt("red"),), Detections(MODEL, (claimed,), {}))
    with pytest.raises(ValueError, match="a name of its own, got score"):
        encode(result, "detections", 100_000, 4.0)


class Announcing:
    """Has something to say beside the detections."""

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        said = (*detections.messages, Message("announced", "p/events", b"{}"))
        return replace(detections, messages=said)


class Claiming:
    """Claims a standard property, so that the detections cannot be written."""

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        claimed = (replace(d, properties={"score": 1.0}) for d in detections.detections)
        return replace(detections, detections=tuple(claimed))


def test_what_a_stage_says_is_stored_with_the_frames_messages() -> None:
    assert [message.topic for message in published(Announcing())] == ["p/detections", "p/events"]


def test_what_a_stage_says_is_stored_when_the_detections_cannot_be_sent() -> None:
    assert [message.topic for message in published(Announcing(), Claiming())] == ["p/events", "p/errors"]
