"""From devices' messages to windows: nothing twice, frames whole, errors under the model that ran."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.messages.errors import bundle_refused, component_error, frame_error
from sam3edge.core.messages.status import model_activated
from sam3edge.core.types import Message, ModelInfo
from sam3edge_pipeline.rollout.observations import MAX_PROMPTS, Observation, ObservationError, read_observation
from sam3edge_pipeline.rollout.windows import COUNT_BINS, aggregate, same_hours
from support.canaries import NEW, OLD, detections_messages

START = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)


RECEIVED = START.timestamp() + 30 * 86_400


def read(*bodies: Any) -> list[Observation]:
    return [one for body in bodies if (one := read_observation(body, RECEIVED)) is not None]


def body(message: Message, at: datetime = START) -> dict[str, Any]:
    return {**json.loads(message.payload), "time": at.isoformat(timespec="milliseconds")}


def test_a_frame_is_counted_under_its_device_camera_model_and_time() -> None:
    bodies = [
        *detections_messages(START, 0, ["scratch", "scratch", "dent"]),
        *detections_messages(START + timedelta(seconds=599), 1, []),
        *detections_messages(START + timedelta(seconds=600), 2, ["dent"]),
        *detections_messages(START, 3, ["dent"], camera="camera-1"),
        *detections_messages(START, 4, ["dent"], digest=NEW),
    ]
    found = aggregate(read(*bodies))
    assert [(w.camera, w.digest, w.frames) for w in found.windows] == [
        ("camera-0", OLD, 2),
        ("camera-0", OLD, 1),
        ("camera-0", NEW, 1),
        ("camera-1", OLD, 1),
    ]
    first = found.windows[0]
    scratch, dent = first.tallies["scratch @0.5"], first.tallies["dent @0.5"]
    assert (scratch.asked, scratch.present, scratch.objects, scratch.counts[:3]) == (2, 1, 2, (1, 0, 1))
    assert (dent.asked, dent.present, dent.objects) == (2, 1, 1)
    assert scratch.scores[16] == 2
    assert scratch.score_sum == pytest.approx(1.6)
    assert first.latency == pytest.approx((2, 2 * math.log(80), 2 * math.log(80) ** 2))


@given(order=st.permutations(list(range(12))), again=st.lists(st.integers(0, 11), max_size=20))
def test_order_and_repetitions_change_nothing(order: list[int], again: list[int]) -> None:
    observations = [
        one
        for number in range(12)
        for one in read(*detections_messages(START + timedelta(minutes=number), number, ["dent"] * (number % 3)))
    ]
    shuffled = [observations[i] for i in (*order, *again)]
    assert aggregate(shuffled) == aggregate(observations)


def test_a_frame_in_parts_is_counted_once_and_only_when_it_is_whole() -> None:
    parts = detections_messages(START, 0, ["dent"] * 40, max_bytes=4000)
    assert len(parts) > 3
    whole = aggregate(read(*parts))
    assert [(w.frames, w.tallies["dent @0.5"].objects) for w in whole.windows] == [(1, 40)]
    assert whole.windows[0].tallies["dent @0.5"].counts[COUNT_BINS - 1] == 1
    lacking = aggregate(read(*parts[1:]))
    assert (lacking.windows, lacking.incomplete) == ((), 1)


def test_errors_belong_to_the_model_that_ran() -> None:
    device = "line-7"
    info = ModelInfo("demo", "2.0.0", NEW, "fp32", "CPUExecutionProvider")
    bad = frame_error(device, FrameError("broken", frame_id="f1", name="a.jpg"), "t")
    other = component_error(device, RuntimeError("engine"), "t")
    found = aggregate(
        read(
            body(bad, START - timedelta(hours=1)),  # nobody knows yet what runs
            *detections_messages(START, 0, []),
            {**body(bad, START + timedelta(minutes=1)), "id": "another"},
            body(model_activated(device, "t", info), START + timedelta(minutes=2)),
            body(other, START + timedelta(minutes=3)),
            body(other, START + timedelta(minutes=3)),
        )
    )
    assert [(w.camera, w.digest, w.frames, w.errors) for w in found.windows] == [
        ("", OLD, 0, 1),
        ("", NEW, 0, 1),
        ("camera-0", OLD, 1, 0),
    ]


def test_a_refused_bundle_is_reported_with_its_device() -> None:
    refused = bundle_refused("line-7", SettingsError("no"), "t")
    found = aggregate(read(body(refused)))
    assert found.refused == {"line-7": START.timestamp()}
    assert found.windows == ()


def test_too_many_observations_are_left_out_and_it_is_said() -> None:
    observations = [one for n in range(5) for one in read(*detections_messages(START, n, []))]
    bounded = aggregate(observations, most=3)
    assert bounded.truncated
    assert sum(window.frames for window in bounded.windows) == 3
    assert not aggregate(observations, most=5).truncated


def test_what_the_cloud_found_is_not_the_devices_model() -> None:
    [message] = detections_messages(START, 0, ["dent"])
    assert read_observation({**message, "origin": {"by": "cloud"}}, RECEIVED) is None
    assert read_observation({**message, "origin": {"by": "device"}}, RECEIVED) is not None


def test_another_threshold_is_another_question() -> None:
    [message] = detections_messages(START, 0, ["dent"])
    message["prompts"] = [{**one, "threshold": 0.3} for one in message["prompts"]]
    [one] = read(message)
    assert set(one.prompts) == {"scratch @0.3", "dent @0.3"}
    assert set(one.scores) == {"dent @0.3"}


@pytest.mark.parametrize("kind", ["snapshot", "command_response", "ping"])
def test_other_messages_say_nothing(kind: str) -> None:
    assert read_observation({"message_type": kind}, RECEIVED) is None


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        "text",
        {},
        {"message_type": "detections"},
        {"message_type": "error", "id": "x", "device": "d", "time": "yesterday", "kind": "frame"},
    ],
)
def test_what_is_no_message_is_refused(damaged: Any) -> None:
    with pytest.raises(ObservationError, match="expected a message of a device"):
        read_observation(damaged, RECEIVED)


def test_more_prompts_than_a_segmenter_takes_are_of_no_device_of_ours() -> None:
    [message] = detections_messages(START, 0, [], prompts=[f"prompt {n}" for n in range(MAX_PROMPTS)])
    [one] = read(message)
    assert len(one.prompts) == MAX_PROMPTS
    with pytest.raises(ObservationError, match="prompts"):
        read({**message, "prompts": [*message["prompts"], {"text": "another", "threshold": 0.5}]})


def test_windows_of_other_hours_are_left_out() -> None:
    def hour(number: int, digest: str, day: int) -> Observation:
        at = START + timedelta(days=day, hours=number)
        [one] = read(*detections_messages(at, number, [], digest=digest))
        return one

    before = aggregate([hour(n, OLD, -1) for n in range(6)]).windows
    after = aggregate([hour(n, NEW, 0) for n in (1, 2)]).windows
    assert [(w.start - before[0].start) // 3600 for w in same_hours(before, after)] == [1, 2]
