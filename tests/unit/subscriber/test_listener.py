"""The flow of ``sam3edge listen``: what is journaled, when it is acknowledged, what ends it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber import complaints, reassembly
from sam3edge.subscriber.journal import DiskJournal, NoJournal
from sam3edge.subscriber.listener import BATCH, Listener
from sam3edge.subscriber.reading import MAX_PAYLOAD, DeviceMessage
from sam3edge.subscriber.reassembly import Bounds
from support.device_messages import PARTS, WHOLE, of_frame
from support.listener_rig import Feed, Memory, Running
from support.smart_home import EVENT, STATUS
from support.waiting import until

EMPTY = {**WHOLE, "features": []}


def test_topics_are_those_of_the_sinks_at_the_higher_qos() -> None:
    feed = Feed()
    Listener(feed, "factory/+/vision", NoJournal(), [Memory(detections=1, status=0), Memory(status=1, events=0)])
    assert feed.topics == {
        "factory/+/vision/detections": 1,
        "factory/+/vision/status": 1,
        "factory/+/vision/events": 0,
    }


def test_whole_messages_go_to_every_sink_once_and_everything_is_acknowledged() -> None:
    feed, sinks = Feed(), [Memory(), Memory()]
    running = Running(feed, sinks)
    given = [*PARTS, of_frame(WHOLE, "b"), *PARTS, EVENT, EVENT]
    for message in given:
        feed.send(message)
    feed.send(b"no JSON")
    feed.send(b" " * (MAX_PAYLOAD + 100))
    until(lambda: len(feed.acknowledged) == len(given) + 2)
    assert running.stop() is None
    for sink in sinks:
        assert [m["id"] for m in sink.written] == [WHOLE["id"], f"b-{WHOLE['id']}", EVENT["id"]]
    assert running.listener.statistics.refused == 2
    assert running.listener.statistics.repeated == len(PARTS) + 1


def test_a_message_is_acknowledged_when_it_is_on_the_disk_and_not_before(tmp_path: Path) -> None:
    feed, journal = Feed(), DiskJournal(tmp_path / "journal.db")

    class Full:
        """A journal that cannot be written."""

        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        def add(self, messages: Sequence[DeviceMessage]) -> None:
            raise SubscriptionError("the disk is full")

    running = Running(feed, [Memory()], Full())
    feed.send(PARTS[0])
    assert str(running.join()) == "the disk is full"
    assert feed.acknowledged == []
    journal.close()


def test_what_a_sink_could_not_write_is_written_by_the_next_listener(tmp_path: Path) -> None:
    feed, sink = Feed(), Memory()
    first, second = tmp_path / "journal.db", DiskJournal(tmp_path / "journal.db")
    sink.failure = SubscriptionError("no space left")
    running = Running(feed, [sink], second)
    feed.send(PARTS[0])
    feed.send(of_frame(WHOLE, "b"))
    assert str(running.join()) == "no space left"
    second.close()

    again, healthy, journal = Feed(), Memory(), DiskJournal(first)
    running = Running(again, [healthy], journal)
    for message in (of_frame(WHOLE, "b"), *PARTS[1:], *PARTS):  # the broker and the device repeat all of it
        again.send(message)
    until(lambda: len(healthy.written) == 2)
    assert running.stop() is None
    assert [m["id"] for m in healthy.written] == [f"b-{WHOLE['id']}", WHOLE["id"]]
    assert journal.open() == []
    journal.close()


def test_messages_that_no_broker_keeps_are_not_kept_here_either(tmp_path: Path) -> None:
    feed, sink, journal = Feed(), Memory(status=0), DiskJournal(tmp_path / "journal.db")
    sink.failure = SubscriptionError("failed")
    running = Running(feed, [sink], journal)
    feed.send(STATUS, qos=0)
    assert running.join() is sink.failure
    assert journal.open() == []
    journal.close()


def test_who_takes_what_is_said_now_is_not_given_what_was_kept(tmp_path: Path) -> None:
    """A heartbeat that the broker or the journal has kept is of a device that may be dead by now."""
    journal = DiskJournal(tmp_path / "journal.db")
    journal.add([{**STATUS, "id": "journaled"}])
    feed, now, lasting = Feed(), Memory(detections=1, status=0), Memory(status=1)
    running = Running(feed, [now, lasting], journal)
    feed.send({**STATUS, "id": "kept"}, retained=True)
    feed.send(of_frame(EMPTY, "kept"), retained=True)
    feed.send({**STATUS, "id": "said now"})
    until(lambda: len(lasting.written) == 4)
    assert running.stop() is None
    assert [m["id"] for m in now.written] == [f"kept-{WHOLE['id']}", "said now"]
    journal.close()


def test_a_frame_that_gives_way_to_others_leaves_the_journal(tmp_path: Path) -> None:
    feed, journal = Feed(), DiskJournal(tmp_path / "journal.db")
    running = Running(feed, [Memory()], journal, Bounds(waiting=2))
    for number in range(6):
        feed.send(of_frame(PARTS[0], str(number)))
    until(lambda: len(feed.acknowledged) == 6)
    running.stop()
    assert [m["frame"]["id"] for m in journal.open()] == ["4", "5"]
    journal.close()


def test_what_waits_is_taken_together_and_in_bounded_numbers() -> None:
    feed, sink = Feed(), Memory()
    sink.gate.clear()
    running = Running(feed, [sink])
    count = BATCH + BATCH // 2
    for number in range(count):
        feed.send(of_frame(EMPTY, str(number)))
    sink.gate.set()
    until(lambda: len(sink.written) == count)
    running.stop()
    assert [m["frame"]["id"] for m in sink.written] == [str(number) for number in range(count)]
    assert max(sink.batches) <= BATCH
    assert len(sink.batches) < count / 4


def test_a_source_that_is_faster_than_the_sinks_waits_for_them() -> None:
    feed, sink = Feed(), Memory()
    sink.gate.clear()
    running = Running(feed, [sink])
    sent: list[int] = []

    def send() -> None:
        for number in range(10 * BATCH):
            feed.send(of_frame(EMPTY, str(number)))
            sent.append(number)

    thread = threading.Thread(target=send)
    thread.start()
    until(lambda: len(sent) >= 2 * BATCH)
    assert len(sent) < 10 * BATCH
    sink.gate.set()
    thread.join(30)
    until(lambda: len(sink.written) == 10 * BATCH)
    running.stop()


def test_the_end_of_the_connection_is_the_end() -> None:
    feed = Feed()
    feed.failure = SubscriptionError("the broker refuses")
    assert Running(feed, [Memory()]).join() is feed.failure


@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 1])
def test_what_was_taken_over_before_is_finished_in_bounded_numbers(tmp_path: Path, count: int) -> None:
    journal = DiskJournal(tmp_path / "journal.db")
    journal.add([of_frame(EMPTY, str(number)) for number in range(count)])
    sink = Memory()
    running = Running(Feed(), [sink], journal)
    until(lambda: len(sink.written) == count)
    running.stop()
    assert max(sink.batches) <= BATCH
    assert journal.open() == []
    journal.close()


class Choosy(Memory):
    """A sink that one message is too much for, whatever is with it."""

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        if any(message["frame"]["id"] == "poison" for message in messages):
            raise OverflowError("\x1b[2J" + "too large " * 100)
        super().write(messages)


def test_what_a_sink_cannot_make_of_a_message_costs_this_message_there_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would be in the journal at every start."""
    journal = DiskJournal(tmp_path / "journal.db")
    journal.add([of_frame(EMPTY, name) for name in ("a", "poison", "b")])
    feed, choosy, other = Feed(), Choosy(), Memory()
    running = Running(feed, [choosy, other], journal)
    feed.send(of_frame(EMPTY, "c"))
    until(lambda: len(other.written) == 4)
    assert running.stop() is None
    assert [m["frame"]["id"] for m in choosy.written] == ["a", "b", "c"]
    assert [m["frame"]["id"] for m in other.written] == ["a", "poison", "b", "c"]
    assert running.listener.statistics.left_out == 1
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "Choosy left out 'poison-" in said
    assert "OverflowError: [2Jtoo large" in said
    assert len(said) < 500
    assert said.isprintable()
    assert journal.open() == []
    assert len(journal.finished()) == 4
    journal.close()


@pytest.mark.parametrize("failure", [SubscriptionError("full"), OSError(28, "full"), MemoryError("full")])
def test_what_is_no_messages_fault_ends_it(failure: Exception, tmp_path: Path) -> None:
    journal, feed, sink = DiskJournal(tmp_path / "journal.db"), Feed(), Memory()
    sink.failure = failure
    running = Running(feed, [sink], journal)
    feed.send(of_frame(EMPTY, "a"))
    assert running.join() is failure
    assert len(journal.open()) == 1
    journal.close()


def test_a_sink_that_fails_without_any_message_ends_it() -> None:
    class Broken(Memory):
        def write(self, messages: Sequence[DeviceMessage]) -> None:
            raise ValueError("broken")

    assert str(Running(Feed(), [Broken()]).join()) == "broken"


def test_parts_that_do_not_come_are_counted_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "WAITING_SECONDS", 0.0)
    feed = Feed()
    running = Running(feed, [Memory()])
    feed.send(PARTS[0])
    until(lambda: running.listener.statistics.incomplete == 1)
    assert running.stop() is None


def test_the_log_is_bounded_and_says_how_much_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed()
    running = Running(feed, [Choosy()])
    for number in range(500):
        feed.send(b"{}")
        feed.send(of_frame(EMPTY, "poison", source=f"s{number}"))
    until(lambda: running.listener.statistics.left_out == 500)
    assert len(caplog.messages) == 2 * complaints.LINES
    monkeypatch.setattr(complaints, "SECONDS", 0.0)
    until(lambda: len(caplog.messages) == 2 * complaints.LINES + 2)
    assert running.stop() is None
    assert caplog.messages[-2:] == [f"and {500 - complaints.LINES} more like these within 0 seconds"] * 2
