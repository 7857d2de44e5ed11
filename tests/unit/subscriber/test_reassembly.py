"""Parts and pieces of frames, in any order and repeated, against messages as devices write them."""

from __future__ import annotations

import itertools
from typing import Any

import jsonschema
import pytest

from sam3edge.core.messages.detections import divide
from sam3edge.core.messages.schemas import schema
from sam3edge.subscriber.reassembly import MAX_PIECES, WAITING_SECONDS, Bounds, Reassembly, key_of
from support.device_messages import PARTS, WHOLE, body, messages, of_frame, scores


def is_the_whole(message: Any) -> bool:
    """As if it had fitted into one message, but for the time."""
    jsonschema.Draft202012Validator(schema("detections")).validate(message)
    return {**message, "time": ""} == {**WHOLE, "time": ""}


def test_the_samples_are_what_they_are_meant_to_be() -> None:
    assert len(PARTS) >= 3
    assert WHOLE["part"]["count"] == 1


def test_a_frame_in_one_part_is_there_at_once_and_once() -> None:
    reassembly = Reassembly()
    assert not reassembly.knows(WHOLE)
    assert reassembly.take(WHOLE) == WHOLE
    assert reassembly.knows(WHOLE)
    assert reassembly.take(WHOLE) is None
    assert reassembly.repetitions == 1


def test_parts_in_any_order_with_repetitions_give_the_frame_once_as_if_it_had_been_one() -> None:
    for order in itertools.islice(itertools.permutations(PARTS), 60):
        reassembly = Reassembly()
        given = [reassembly.take(one) for one in [*order, *reversed(order)]]
        [frame] = [one for one in given if one is not None]
        assert given.index(frame) == len(PARTS) - 1
        assert is_the_whole(frame)
        assert reassembly.repetitions == len(PARTS)


def test_pieces_of_unequal_depth_are_a_whole_in_any_order() -> None:
    [message] = messages(12, 131_072)
    halves = divide(message, len(message.payload) * 2 // 3)
    pieces = [halves[0], *divide(halves[1], len(halves[1].payload) * 2 // 3)]
    assert len({body(one)["part"]["pieces"] for one in pieces}) == 2
    for order in itertools.permutations(pieces):
        reassembly = Reassembly()
        given = [reassembly.take(body(one)) for one in order]
        assert [one is None for one in given] == [True] * (len(pieces) - 1) + [False]
        assert is_the_whole(given[-1])


def test_a_part_that_comes_whole_and_in_pieces_counts_once() -> None:
    [message] = messages(12, 131_072)
    pieces = [body(one) for one in divide(message, len(message.payload) * 2 // 3)]
    first_pieces = Reassembly()
    assert first_pieces.take(pieces[0]) is None
    assert is_the_whole(first_pieces.take(body(message)))
    assert first_pieces.take(pieces[1]) is None

    two = [{**one, "part": {**one["part"], "count": 2}} for one in (body(message), *pieces)]
    whole_first = Reassembly()
    assert [whole_first.take(one) for one in two] == [None] * len(two)
    other = {**body(message), "id": "other", "part": {"index": 1, "count": 2}, "features": []}
    assert is_the_whole(whole_first.take(other))


def test_frames_of_several_devices_and_cameras_do_not_mix() -> None:
    reassembly = Reassembly()
    mixed = [
        {**one, "id": f"{device}/{source}/{one['id']}", "device": device, "source": source}
        for one in PARTS
        for device in ("line-7", "line-8")
        for source in ("left", "right")
    ]
    frames = [frame for one in mixed if (frame := reassembly.take(one)) is not None]
    assert {(frame["device"], frame["source"]) for frame in frames} == {
        (device, source) for device in ("line-7", "line-8") for source in ("left", "right")
    }
    assert all(scores(frame["features"]) == scores(WHOLE["features"]) for frame in frames)


def test_keys_do_not_depend_on_where_names_are_divided() -> None:
    keys = {
        key_of({**WHOLE, "device": device, "source": source, "frame": {"id": frame}})
        for device, source, frame in [("a", "b/c", "d"), ("a", "b", "c/d"), ("a,b", "c", "d"), ('a","b', "c", "d")]
    }
    assert len(keys) == 4


def test_a_frame_that_was_made_anew_in_fewer_parts_is_complete_without_the_old_ones() -> None:
    reassembly = Reassembly()
    assert [reassembly.take(one) for one in PARTS[:2]] == [None, None]
    assert reassembly.take(WHOLE) == WHOLE


def test_what_waits_is_bounded_in_frames_and_what_was_dropped_may_come_again() -> None:
    reassembly = Reassembly(Bounds(waiting=2))
    for number in range(4):
        assert reassembly.take(of_frame(PARTS[0], f"frame-{number}")) is None
    assert reassembly.dropped == 2
    assert reassembly.take_dropped() == [key_of(of_frame(PARTS[0], f"frame-{number}")) for number in (0, 1)]
    assert reassembly.take_dropped() == []
    assert reassembly.take(of_frame(PARTS[1], "frame-3")) is None
    replayed = [reassembly.take(of_frame(one, "frame-0")) for one in PARTS]  # as an outbox does after an incident
    assert replayed[-1] is not None
    assert scores(replayed[-1]["features"]) == scores(WHOLE["features"])


def test_what_waits_is_bounded_in_bytes() -> None:
    reassembly = Reassembly(Bounds(waiting_bytes=1000))
    for number in range(9):
        assert reassembly.take(of_frame(PARTS[0], f"frame-{number}"), 300) is None
    assert reassembly.dropped == 6
    for one in PARTS[1:]:
        last = reassembly.take(of_frame(one, "frame-8"), 100)
    assert last is not None
    for number in range(9, 12):  # the room that it took is free again
        assert reassembly.take(of_frame(PARTS[0], f"frame-{number}"), 300) is None
    assert reassembly.dropped == 6 + 2


def test_frames_of_one_device_do_not_take_the_room_of_others() -> None:
    for bounds in (Bounds(waiting=10), Bounds(waiting_bytes=10_000)):
        reassembly = Reassembly(bounds)
        for part in PARTS[:-1]:
            assert reassembly.take(part, 1000) is None
        for number in range(100):
            assert reassembly.take(of_frame(PARTS[0], f"frame-{number}", device="evil"), 1000) is None
        assert reassembly.dropped > 80
        assert reassembly.take(PARTS[-1], 1000) is not None


def piece(number: int, pieces: int) -> dict[str, Any]:
    message = of_frame({**WHOLE, "features": []}, "p")
    return {**message, "id": f"{number}/{pieces}", "part": {"index": 0, "count": 1, "piece": number, "pieces": pieces}}


def test_pieces_of_a_part_are_bounded_and_a_frame_with_more_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    reassembly = Reassembly()
    for number in range(MAX_PIECES):
        assert reassembly.take(piece(number, 9999), 10) is None
    assert reassembly.take_dropped() == []
    assert reassembly.take(piece(MAX_PIECES, 9999), 10) is None
    assert reassembly.take_dropped() == [key_of(piece(0, 1))]
    assert reassembly._size == 0
    assert reassembly.incomplete == 1
    assert "more than 512 pieces" in caplog.text
    assert reassembly.take(piece(0, 1)) is not None
    for number in range(MAX_PIECES - 1):
        assert reassembly.take(of_frame(piece(number, MAX_PIECES), "q")) is None
    assert reassembly.take(of_frame(piece(MAX_PIECES - 1, MAX_PIECES), "q")) is not None


def test_what_is_remembered_is_bounded() -> None:
    reassembly = Reassembly(Bounds(remembered=2), known=[key_of(of_frame(WHOLE, "older"))])
    assert reassembly.knows(of_frame(WHOLE, "older"))
    for number in range(3):
        assert reassembly.take(of_frame(WHOLE, f"frame-{number}")) is not None
    assert [reassembly.knows(of_frame(WHOLE, f"frame-{number}")) for number in range(3)] == [False, True, True]


def test_messages_of_other_kinds_are_whole_and_repetitions_are_known_by_their_id() -> None:
    reassembly = Reassembly()
    event = {"id": "x", "message_type": "event", "device": "line-7"}
    assert reassembly.take(event) == event
    assert reassembly.take({**event, "time": "later"}) is None
    assert reassembly.take({**event, "id": "y"}) is not None


def test_no_device_can_take_the_place_of_another_ones_message_nor_a_kind_of_another() -> None:
    reassembly = Reassembly()
    named = {"id": "x", "message_type": "event", "device": "line-9"}
    others = [{**named, "device": "evil"}, {**named, "device": "evil", "message_type": "status"}]
    others += [{**named, "message_type": "status"}, {**WHOLE, "device": "event", "source": "line-9"}]
    assert all(reassembly.take(one) is not None for one in others)
    assert reassembly.take(named) == named
    assert reassembly.repetitions == 0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_parts_that_do_not_come_are_said_once_and_waited_for_on(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    reassembly = Reassembly(Bounds(waiting=2), clock=clock)
    for part in PARTS[:-1]:
        reassembly.take(of_frame(part, "slow"))
    clock.now = WAITING_SECONDS / 2
    reassembly.take(of_frame(PARTS[0], "later"))
    clock.now = WAITING_SECONDS - 1
    reassembly.report_overdue()
    assert (reassembly.incomplete, caplog.messages) == (0, [])
    clock.now = WAITING_SECONDS + 1
    for _ in range(2):
        reassembly.report_overdue()
    [said] = caplog.messages
    assert "the frame 'slow' of 'line-7' is incomplete" in said
    assert reassembly.incomplete == 1
    assert reassembly.take(of_frame(PARTS[-1], "slow")) is not None
    assert reassembly.incomplete == 0
    for name in ("a", "b"):
        reassembly.take(of_frame(PARTS[0], name))
    assert caplog.messages[1:] == ["dropped the frame 'later' of 'line-7': parts of it did not come"]
    assert reassembly.incomplete == 1
