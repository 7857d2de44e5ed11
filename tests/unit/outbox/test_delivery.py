from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sam3edge.core.errors import ConnectionLost, DeliveryStuck, PublishError, PublishRejected
from sam3edge.core.ports import Publisher
from sam3edge.core.types import Message
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.limits import OutboxOptions, ReplayOptions
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions
from sam3edge.publishers.fake import FakePublisher, Fate
from support.outbox_samples import message, unflushed
from support.samples import Lost

QUICK = DeliveryOptions(in_flight=4, first_pause=0.005, longest_pause=0.02, replay_pause=0.0, flush_after=0.01)
Start = Callable[..., Delivery]


@pytest.fixture
def lost() -> Lost:
    return Lost()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = unflushed(Outbox(tmp_path / "outbox.db"))
    yield outbox
    outbox.close()


@pytest.fixture
def start(outbox: Outbox, lost: Lost) -> Iterator[Start]:
    started: list[Delivery] = []

    def start_(publisher: Publisher, options: DeliveryOptions = QUICK) -> Delivery:
        delivery = Delivery(outbox, publisher, options, on_lost=lost)
        delivery.start()
        started.append(delivery)
        return delivery

    yield start_
    for delivery in started:
        delivery.close()


def ids(messages: Iterable[Message]) -> list[str]:
    return [m.id for m in messages]


def eventually(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def test_everything_is_delivered_once_and_remembered(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher()
    outbox.put([message(n) for n in range(20)])
    delivery = start(publisher)
    for n in range(20, 40):
        outbox.put([message(n)])
    assert delivery.drain(30)
    assert Counter(ids(publisher.accepted)) == Counter(str(n) for n in range(40))
    statistics = delivery.statistics()
    assert (statistics.delivered, statistics.queued, statistics.queued_bytes, statistics.retried) == (40, 0, 0, 0)
    assert statistics.last_error == ""
    delivery.close()
    outbox.close()
    with_file = Outbox(outbox._path)
    assert with_file.queued == 0
    with_file.close()


def test_one_at_a_time_keeps_the_order(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher()
    outbox.put([message(n) for n in range(30)])
    assert start(publisher, DeliveryOptions(in_flight=1)).drain(30)
    assert ids(publisher.accepted) == [str(n) for n in range(30)]


def test_no_more_than_allowed_are_in_flight(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher(delay=0.01)
    outbox.put([message(n) for n in range(60)])
    assert start(publisher).drain(30)
    assert publisher.most_in_flight == QUICK.in_flight


def test_failures_are_retried_until_they_succeed(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher([PublishError(f"busy {n}") for n in range(15)])
    outbox.put([message(n) for n in range(5)])
    delivery = start(publisher)
    assert delivery.drain(30)
    assert set(ids(publisher.accepted)) == {"0", "1", "2", "3", "4"}
    statistics = delivery.statistics()
    assert statistics.retried == 15
    assert statistics.last_error.startswith("busy")
    assert statistics.delivered == 5


class Picky:
    """Refuses messages with a certain payload, whatever happens."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.accepted: list[str] = []
        self.refusals = 0

    def publish(self, message: Message) -> None:
        if message.id.startswith(self.refused):
            self.refusals += 1
            raise PublishError(f"{message.id} is refused")
        self.accepted.append(message.id)

    def close(self) -> None:
        pass


def test_messages_that_always_fail_starve_nobody(outbox: Outbox, start: Start) -> None:
    publisher = Picky("bad")
    outbox.put([message(f"bad-{n}") for n in range(3 * QUICK.in_flight)])
    outbox.put([message(n) for n in range(100)])
    delivery = start(publisher)
    eventually(lambda: len(set(publisher.accepted)) == 100)
    eventually(lambda: delivery.statistics().queued == 3 * QUICK.in_flight)
    outbox.put([message("late")])
    eventually(lambda: "late" in publisher.accepted)
    eventually(lambda: publisher.refusals > 30)


def test_new_messages_do_not_starve_those_that_failed(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher([PublishError("busy")], delay=0.001)
    outbox.put([message(n) for n in range(300)])
    assert start(publisher).drain(30)
    assert ids(publisher.accepted).index("0") < 150


def test_an_outage_is_probed_and_not_hammered(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher()
    publisher.outage = PublishError("offline")
    outbox.put([message(n) for n in range(500)])
    options = DeliveryOptions(in_flight=4, first_pause=0.05, longest_pause=0.1, replay_pause=0.0)
    begin = time.monotonic()
    delivery = start(publisher, options)
    eventually(lambda: len(publisher.attempts) > 4)
    time.sleep(0.5)
    attempts = len(publisher.attempts)
    # each message of those in flight is tried after a pause of 25 ms or more; unpaused it would be thousands
    assert attempts < 20 + 80 * (time.monotonic() - begin)
    assert delivery.statistics().queued == 500
    publisher.outage = None
    assert delivery.drain(30)
    assert set(ids(publisher.accepted)) == {str(n) for n in range(500)}


def test_bytes_in_flight_are_bounded_and_a_large_message_goes_alone(outbox: Outbox, start: Start) -> None:
    class Weighing(FakePublisher):
        heaviest = 0

        def publish(self, message: Message) -> None:
            with lock:
                held.append(len(message.payload))
                self.heaviest = max(self.heaviest, sum(held) if len(held) > 1 else 0)
            time.sleep(0.003)
            super().publish(message)
            with lock:
                held.remove(len(message.payload))

    lock, held, publisher = threading.Lock(), list[int](), Weighing()
    outbox.put([message(n, size=700) for n in range(40)] + [message("large", size=5000)])
    outbox.put([message(100 + n, size=700) for n in range(40)])
    options = replace(QUICK, in_flight=8, in_flight_bytes=2_200)
    assert start(publisher, options).drain(30)
    assert len(publisher.accepted) == 81
    assert 1400 <= publisher.heaviest <= 2200


class Tight:
    """Takes messages of at most ``room`` bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.accepted: list[Message] = []

    def publish(self, message: Message) -> None:
        if len(message.payload) > self.room:
            raise PublishError("MQTTNoMemory")
        self.accepted.append(message)

    def close(self) -> None:
        pass


def halves(message: Message, max_bytes: int) -> list[Message]:
    middle = len(message.payload) // 2
    halves = message.payload[:middle], message.payload[middle:]
    return [Message(f"{message.id}/{n}", message.topic, half) for n, half in enumerate(halves)]


def test_what_is_too_large_for_now_is_split_until_it_passes(outbox: Outbox, lost: Lost) -> None:
    publisher = Tight(2000)
    delivery = Delivery(outbox, publisher, replace(QUICK, split_after=3), on_lost=lost, split=halves)
    delivery.start()
    outbox.put([message("large", size=6500)])
    number = 0
    while outbox.queued or number < 10:  # smaller ones keep passing
        number += 1
        outbox.put([message(number, size=1500)])
        assert number < 5000
        time.sleep(0.005)
    assert delivery.drain(30)
    delivery.close()
    pieces = {m.id: m.payload for m in publisher.accepted if m.id.startswith("large")}  # some may be repeated
    assert len(pieces) == 4
    assert b"".join(pieces[name] for name in sorted(pieces)) == message("large", size=6500).payload
    assert delivery.statistics().split == 3


class Forbidding:
    """Refuses what is on some topic, for what it is."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.refusals = 0

    def publish(self, message: Message) -> None:
        if message.topic == "old":
            self.refusals += 1
            raise PublishRejected("access is denied")
        self.accepted.append(message.id)

    def close(self) -> None:
        pass


def test_poison_is_set_aside_reported_and_costs_nothing_else(outbox: Outbox, lost: Lost) -> None:
    publisher, told = Forbidding(), list[tuple[str, str]]()
    delivery = Delivery(
        outbox, publisher, QUICK, on_lost=lost, report=lambda error, m: told.append((type(error).__name__, m.id))
    )
    outbox.put([message(f"bad-{n}", topic="old") for n in range(10)] + [message(n) for n in range(50)])
    delivery.start()
    assert delivery.drain(30)
    delivery.close()
    assert sorted(publisher.accepted, key=int) == [str(n) for n in range(50)]
    assert publisher.refusals == 10  # each once: nobody tries on
    assert sorted(told) == [("PublishRejected", f"bad-{n}") for n in range(10)]
    statistics = delivery.statistics()
    assert (statistics.rejected, statistics.queued, statistics.delivered) == (10, 0, 50)
    assert statistics.last_error == "access is denied"


def test_a_message_that_is_refused_for_long_is_reported_once_and_tried_on(outbox: Outbox, lost: Lost) -> None:
    publisher, told = Picky("bad"), list[PublishError]()
    delivery = Delivery(
        outbox,
        publisher,
        replace(QUICK, stuck_after=0.05),
        on_lost=lost,
        report=lambda error, m: told.append(error),
    )
    delivery.start()
    outbox.put([message("bad-1"), message("good")])
    eventually(lambda: bool(told))
    assert isinstance(told[0], DeliveryStuck)
    assert "bad-1" in str(told[0])
    assert "is refused" in str(told[0])
    refusals = publisher.refusals
    eventually(lambda: publisher.refusals > refusals + 3)
    assert delivery.statistics().refused_s >= 0.05
    publisher.refused = "nothing"
    assert delivery.drain(30)
    eventually(lambda: delivery.statistics().refused_s == 0.0)
    assert len(told) == 1
    delivery.close()


class TestReplay:
    def test_at_every_start(self, outbox: Outbox, start: Start) -> None:
        outbox.put([message(n) for n in range(3)])
        first = start(FakePublisher())
        assert first.drain(30)
        first.close()
        publisher = FakePublisher()
        outbox.put([message(3)])
        second = start(publisher, DeliveryOptions(in_flight=1))
        eventually(lambda: len(publisher.accepted) == 4)
        assert ids(publisher.accepted) == ["3", "0", "1", "2"]  # what was never delivered goes first
        assert second.drain(30)
        assert (second.statistics().replayed, second.statistics().delivered) == (3, 1)

    def test_after_an_error_spell_what_was_accepted_and_lost_arrives(self, outbox: Outbox, start: Start) -> None:
        script: list[Fate | PublishError] = (
            [Fate.ACCEPTED] * 10 + [Fate.LOST] * 5 + [PublishError("the broker died")] * 6
        )
        publisher = FakePublisher(script)
        outbox.put([message(n) for n in range(20)])
        delivery = start(publisher)
        eventually(lambda: len(set(ids(publisher.accepted))) == 20)
        assert delivery.drain(30)
        assert delivery.statistics().delivered == 20
        eventually(lambda: delivery.statistics().replayed >= 15)

    def test_what_was_lost_is_kept_although_the_replay_has_to_wait(self, tmp_path: Path, lost: Lost) -> None:
        outbox = unflushed(Outbox(tmp_path / "small.db", OutboxOptions(replay=ReplayOptions(messages=10))))
        script: list[Fate | PublishError] = [Fate.ACCEPTED] * 5 + [Fate.LOST] * 5 + [PublishError("the broker died")]
        publisher = FakePublisher(script)
        outbox.put([message(n) for n in range(200)])
        options = DeliveryOptions(in_flight=1, first_pause=0.005, longest_pause=0.02, replay_pause=0.5, flush_count=5)
        delivery = Delivery(outbox, publisher, options, on_lost=lost)
        delivery.start()
        eventually(lambda: set(ids(publisher.accepted)) == {str(n) for n in range(200)})
        delivery.close()
        outbox.close()
        fates = ids(publisher.accepted)
        assert fates.index("7") > fates.index("150")  # a long time after the window had moved on

    def test_a_replay_that_fails_is_tried_again(self, outbox: Outbox, start: Start) -> None:
        outbox.put([message(n) for n in range(3)])
        first = start(FakePublisher([Fate.LOST] * 3))
        assert first.drain(30)
        first.close()
        publisher = FakePublisher([PublishError("not yet")] * 9)
        second = start(publisher)
        eventually(lambda: len(set(ids(publisher.accepted))) == 3)
        assert second.statistics().delivered == 0

    def test_only_the_window(self, tmp_path: Path, lost: Lost) -> None:
        outbox = unflushed(Outbox(tmp_path / "small.db", OutboxOptions(replay=ReplayOptions(messages=2))))
        outbox.put([message(n) for n in range(6)])
        options = DeliveryOptions(in_flight=1)
        first = Delivery(outbox, FakePublisher(), options, on_lost=lost)
        first.start()
        assert first.drain(30)
        first.close()
        publisher = FakePublisher()
        second = Delivery(outbox, publisher, options, on_lost=lost)
        second.start()
        eventually(lambda: len(publisher.accepted) == 2)
        time.sleep(0.05)
        second.close()
        outbox.close()
        assert ids(publisher.accepted) == ["4", "5"]


class TestLostConnection:
    def test_ends_delivery_and_is_reported_once(self, outbox: Outbox, start: Start, lost: Lost) -> None:
        publisher = FakePublisher([Fate.ACCEPTED, ConnectionLost("the nucleus is gone")], delay=0.005)
        outbox.put([message(n) for n in range(20)])
        delivery = start(publisher)
        assert lost.happened.wait(10)
        assert not delivery.drain(30)
        delivery.close()
        attempts = len(publisher.attempts)
        time.sleep(0.05)
        assert len(publisher.attempts) == attempts
        assert [type(error) for error in lost] == [ConnectionLost]
        assert outbox.queued == 20 - len(publisher.accepted)

    def test_what_was_acknowledged_before_is_written(self, outbox: Outbox, start: Start, lost: Lost) -> None:
        publisher = FakePublisher([Fate.ACCEPTED, Fate.ACCEPTED, ConnectionLost("gone")])
        outbox.put([message(n) for n in range(3)])
        delivery = start(publisher, DeliveryOptions(in_flight=1, flush_after=60))
        assert lost.happened.wait(10)
        delivery.close()
        assert outbox.unwritten == 0
        assert outbox.queued == 1

    def test_a_defect_in_the_publisher_ends_the_program_too(
        self, outbox: Outbox, start: Start, lost: Lost, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(FakePublisher):
            def publish(self, message: Message) -> None:
                raise KeyError("a defect")

        outbox.put([message(1)])
        start(Broken())
        assert lost.happened.wait(10)
        assert isinstance(lost[0], KeyError)
        assert "a defect" in caplog.text

    def test_so_does_a_database_that_fails(self, outbox: Outbox, start: Start, lost: Lost) -> None:
        start(FakePublisher())
        outbox._storage._database._connection.execute("PRAGMA query_only = ON")
        outbox._acknowledged[1] = 1.0
        assert lost.happened.wait(10)
        assert isinstance(lost[0], PublishError)
        outbox._storage._database._connection.execute("PRAGMA query_only = OFF")


class TestEnding:
    def test_drain_gives_up_after_its_time(self, outbox: Outbox, start: Start) -> None:
        publisher = FakePublisher()
        publisher.outage = PublishError("offline")
        outbox.put([message(1)])
        delivery = start(publisher)
        begin = time.monotonic()
        assert not delivery.drain(0.1)
        assert 0.1 <= time.monotonic() - begin < 30

    def test_close_waits_for_what_is_in_flight(self, outbox: Outbox, start: Start, lost: Lost) -> None:
        publisher = FakePublisher(delay=0.1)
        outbox.put([message(n) for n in range(50)])
        delivery = start(publisher)
        eventually(lambda: delivery.statistics().in_flight == QUICK.in_flight)
        delivery.close()
        delivery.close()
        assert len(publisher.accepted) == QUICK.in_flight
        assert outbox.queued == 50 - QUICK.in_flight
        assert outbox.unwritten == 0
        assert lost == []

    def test_close_does_not_wait_for_ever(self, outbox: Outbox, start: Start, lost: Lost) -> None:
        free = threading.Event()

        class Stuck(FakePublisher):
            def publish(self, message: Message) -> None:
                free.wait(90)

        outbox.put([message(1)])
        delivery = start(Stuck())
        eventually(lambda: delivery.statistics().in_flight == 1)
        begin = time.monotonic()
        delivery.close(timeout=0.2)
        assert time.monotonic() - begin < 60  # of the 90 that the publisher is stuck
        outbox.close()
        free.set()
        for thread in delivery._threads:
            thread.join(10)
        assert lost == []

    def test_no_thread_is_left(self, outbox: Outbox, start: Start) -> None:
        delivery = start(FakePublisher())
        delivery.close()
        assert not any(thread.is_alive() for thread in delivery._threads)

    def test_nothing_spins_while_there_is_nothing_to_do(
        self, outbox: Outbox, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rounds, patience = [0], Delivery._patience

        def counted(delivery: Delivery) -> float:
            rounds[0] += 1
            return patience(delivery)

        monkeypatch.setattr(Delivery, "_patience", counted)
        publisher = FakePublisher(delay=0.4)
        outbox.put([message(n) for n in range(5)])
        begin, before = time.monotonic(), time.process_time()
        assert start(publisher).drain(30)
        time.sleep(0.3)
        elapsed = time.monotonic() - begin
        assert 0 < rounds[0] < 50 + 50 * elapsed  # thousands a second when it spins
        assert time.process_time() - before < elapsed / 2  # the workers spin neither


def test_statistics_show_an_outage(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher()
    publisher.outage = PublishError("offline")
    outbox.put([message(n) for n in range(3)])
    delivery = start(publisher)
    eventually(lambda: delivery.statistics().retried > 3)
    statistics = delivery.statistics()
    assert statistics.queued == 3
    assert statistics.queued_bytes > 300
    assert statistics.last_error == "offline"
    assert statistics.oldest_age_s > 0
    assert statistics.delivered == 0


def test_an_outage_does_not_fill_the_log(outbox: Outbox, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    publisher = FakePublisher()
    publisher.outage = PublishError("offline")
    outbox.put([message(n) for n in range(3)])
    delivery = start(publisher)
    eventually(lambda: delivery.statistics().retried > 10)
    assert [record.levelname for record in caplog.records if "offline" in record.getMessage()] == ["WARNING"]


def test_a_superseded_message_is_not_sent_any_more(outbox: Outbox, start: Start) -> None:
    publisher = FakePublisher()
    publisher.outage = PublishError("offline")
    delivery = start(publisher)
    for n in range(5):
        outbox.put([message(f"beat-{n}", topic="t/status", supersedes="status")])
        time.sleep(0.02)
    publisher.outage = None
    assert delivery.drain(30)
    assert set(ids(publisher.accepted)) == {"beat-4"}
