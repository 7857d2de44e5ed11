from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam3edge.core.errors import MessageTooLarge, OutboxFull, PublishError, SettingsError
from sam3edge.outbox.database import PAGE_BYTES, Database, DiskFull
from sam3edge.outbox.limits import Block, DropOldest, OutboxOptions, Overflow, ReplayOptions
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.reserve import RESERVE_BYTES, Reserve
from sam3edge.outbox.table import disk_bytes
from support.outbox_samples import Clock, message, unflushed

Open = Callable[..., Outbox]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_outbox(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    opened: list[Outbox] = []

    def open_(options: OutboxOptions | None = None, overflow: Overflow | None = None) -> Outbox:
        opened.append(Outbox(tmp_path / "out" / "outbox.db", options, overflow=overflow, clock=clock))
        return unflushed(opened[-1])

    yield open_
    for outbox in opened:
        outbox.close()


def ids(outbox: Outbox, limit: int = 100) -> list[str]:
    return [queued.message.id for queued in outbox.take(limit)]


def crash(outbox: Outbox) -> None:
    """Leave as SIGKILL does: nothing more is written."""
    outbox._storage._database.close()
    outbox._closed = True


def deliver(outbox: Outbox, count: int) -> None:
    for queued in outbox.take(count):
        outbox.acknowledge(queued.seq)
    outbox.flush()


def room_for(count: int) -> OutboxOptions:
    """An outbox that holds so many sample messages with an id of two characters."""
    return OutboxOptions(max_bytes=count * disk_bytes(message(10)))


def test_messages_come_in_order_and_whole(open_outbox: Open) -> None:
    outbox = open_outbox()
    sent = [message(1), message(2, supersedes="x"), message(3, size=300_000, topic="a/b")]
    outbox.put(sent[:2])
    outbox.put(sent[2:])
    assert [queued.message for queued in outbox.take(10)] == sent
    assert outbox.take(10) == []


def test_what_was_put_survives_a_crash(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([message(n) for n in range(5)])
    outbox.take(3)
    crash(outbox)
    again = open_outbox()
    assert again.queued == 5
    assert ids(again) == ["0", "1", "2", "3", "4"]


def test_unwritten_acknowledgements_are_forgotten_in_a_crash_and_written_on_close(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([message(1), message(2)])
    first = outbox.take(2)[0]
    outbox.acknowledge(first.seq)
    assert outbox.unwritten == 1
    crash(outbox)

    again = open_outbox()
    assert ids(again) == ["1", "2"]
    again.acknowledge(first.seq)
    again.close()
    assert ids(open_outbox()) == ["2"]


def test_put_writes_waiting_acknowledgements(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([message(1)])
    outbox.acknowledge(outbox.take(1)[0].seq)
    outbox.put([message(2)])
    assert outbox.unwritten == 0
    crash(outbox)
    assert ids(open_outbox()) == ["2"]


def test_an_empty_frame_is_nothing(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([])
    assert outbox.queued == 0


def test_a_frame_is_accepted_whole_or_not_at_all(open_outbox: Open) -> None:
    outbox = open_outbox(room_for(3))
    outbox.put([message(10), message(11)])
    with pytest.raises(OutboxFull):
        outbox.put([message(12), message(13)])
    outbox.put([message(14)])
    assert ids(outbox) == ["10", "11", "14"]


@pytest.mark.parametrize("delivered", [False, True])
def test_an_id_that_is_there_is_ignored(open_outbox: Open, delivered: bool) -> None:
    outbox = open_outbox()
    outbox.put([message(1)])
    if delivered:
        deliver(outbox, 1)
    outbox.put([message(1), message(2), message(2)])
    assert outbox.queued == (1 if delivered else 2)
    assert ids(outbox) == (["2"] if delivered else ["1", "2"])


def test_an_id_may_come_again_once_it_has_left_the_window(open_outbox: Open) -> None:
    outbox = open_outbox(OutboxOptions(replay=ReplayOptions(messages=1)))
    outbox.put([message(1), message(2)])
    deliver(outbox, 2)
    outbox.put([message(1)])
    assert ids(outbox) == ["1"]


class TestSuperseding:
    def test_takes_the_place_of_the_message_before(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message("beat-1", supersedes="status")])
        outbox.put([message(1)])
        outbox.put([message("beat-2", size=200, supersedes="status"), message(2)])
        assert outbox.queued == 3
        assert outbox.statistics().queued_bytes == sum(
            disk_bytes(m) for m in (message("beat-2", size=200, supersedes="status"), message(1), message(2))
        )
        assert ids(outbox) == ["beat-2", "1", "2"]

    def test_goes_to_the_end_when_the_one_before_is_being_sent(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message("beat-1", supersedes="status"), message(1)])
        (held,) = outbox.take(1)
        outbox.put([message("beat-2", supersedes="status")])
        outbox.acknowledge(held.seq)
        outbox.flush()
        assert outbox.queued == 2
        assert ids(outbox) == ["1", "beat-2"]

    def test_replaces_one_that_rests(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message("beat-1", supersedes="status")])
        (held,) = outbox.take(1)
        outbox.release(held.seq)
        outbox.put([message("beat-2", supersedes="status")])
        assert outbox.retake(held.seq) is None
        assert ids(outbox) == ["beat-2"]

    def test_leaves_delivered_messages_and_other_keys_alone(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message("beat-1", supersedes="status"), message("other", supersedes="availability")])
        held, _ = outbox.take(2)
        outbox.acknowledge(held.seq)
        outbox.put([message("beat-2", supersedes="status")])
        assert outbox.queued == 2
        assert outbox.replay() == []  # a delivered heartbeat is of no use to anybody later

    def test_fits_into_a_full_outbox(self, open_outbox: Open) -> None:
        first = message("beat-1", supersedes="status")
        outbox = open_outbox(OutboxOptions(max_bytes=disk_bytes(first)))
        outbox.put([first])
        outbox.put([message("beat-2", supersedes="status")])
        assert ids(outbox) == ["beat-2"]


class TestRelease:
    def test_a_released_message_is_not_taken_as_new_but_can_be_retaken(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(1), message(2)])
        first, _ = outbox.take(2)
        outbox.release(first.seq)
        assert outbox.take(10) == []
        assert outbox.retake(first.seq) == first
        outbox.acknowledge(first.seq)
        assert outbox.queued == 1


class TestWindow:
    def test_keeps_the_last_messages(self, open_outbox: Open) -> None:
        outbox = open_outbox(OutboxOptions(replay=ReplayOptions(messages=3)))
        outbox.put([message(n) for n in range(8)])
        deliver(outbox, 6)
        replayed = [outbox.retake(seq) for seq in outbox.replay()]
        assert [queued.message.id for queued in replayed if queued] == ["3", "4", "5"]
        assert outbox.queued == 2

    def test_counts_its_age_from_the_last_delivery(self, open_outbox: Open, clock: Clock) -> None:
        outbox = open_outbox(OutboxOptions(replay=ReplayOptions(seconds=60)))
        for name in range(3):
            outbox.put([message(name)])
            deliver(outbox, 1)
            clock.now += 40
        clock.now += 1_000_000
        crash(outbox)
        again = open_outbox(OutboxOptions(replay=ReplayOptions(seconds=60)))
        assert len(again.replay()) == 2

    def test_takes_at_most_a_quarter_of_the_quota(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(16))
        for name in range(10, 40):
            outbox.put([message(name)])
            deliver(outbox, 1)
        assert len(outbox.replay()) == 4

    def test_stays_until_the_replay_is_acknowledged(self, open_outbox: Open) -> None:
        outbox = open_outbox(OutboxOptions(replay=ReplayOptions(messages=2)))
        outbox.put([message(n) for n in range(6)])
        deliver(outbox, 2)
        replaying = outbox.replay()
        assert outbox.replay() == []
        deliver(outbox, 4)
        again = [outbox.retake(seq) for seq in replaying]
        assert [queued.message.id for queued in again if queued] == ["0", "1"]
        for queued in again:
            assert queued is not None
            outbox.acknowledge(queued.seq)
        outbox.flush()
        assert len(outbox.replay()) == 2
        assert outbox.queued == 0

    def test_can_be_switched_off(self, open_outbox: Open) -> None:
        outbox = open_outbox(OutboxOptions(replay=ReplayOptions(messages=0)))
        outbox.put([message(1)])
        deliver(outbox, 1)
        assert outbox.replay() == []


class TestOverflow:
    def test_holding_back_waits_for_room(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(2), Block())
        outbox.put([message(10), message(11)])
        with pytest.raises(OutboxFull, match="Wait for room"):
            outbox.put([message(12)])
        assert not outbox.wait_for_room(0.01)
        (held, _) = outbox.take(2)
        waiting = threading.Timer(0.05, outbox.acknowledge, (held.seq,))
        waiting.start()
        begin = time.monotonic()
        assert outbox.wait_for_room(30)
        assert time.monotonic() - begin < 25  # woken, not timed out
        waiting.join()
        outbox.put([message(12)])
        assert outbox.queued == 2
        assert outbox.statistics().evicted == 0

    def test_waiting_is_for_the_frame_that_was_refused(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(3))
        outbox.put([message(10), message(11)])
        with pytest.raises(OutboxFull):
            outbox.put([message(12), message(13)])
        assert not outbox.wait_for_room(0.01)

    def test_evicting_drops_the_oldest_and_counts(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(4), DropOldest())
        outbox.put([message(n) for n in range(10, 14)])
        outbox.put([message(20), message(21)])
        assert outbox.statistics().evicted == 2
        assert ids(outbox) == ["12", "13", "20", "21"]

    def test_evicting_spares_what_is_being_sent_and_what_belongs_to_the_frame(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(4), DropOldest())
        outbox.put([message(n) for n in range(10, 14)])
        (held,) = outbox.take(1)
        outbox.put([message(11), message(30)])  # 11 already exists
        outbox.acknowledge(held.seq)
        assert ids(outbox) == ["11", "13", "30"]
        assert outbox.statistics().evicted == 1

    def test_evicting_refuses_when_everything_is_being_sent(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(2), DropOldest())
        outbox.put([message(10), message(11)])
        outbox.take(2)
        with pytest.raises(OutboxFull, match="being sent"):
            outbox.put([message(12)])

    def test_a_resting_message_may_be_evicted(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(2), DropOldest())
        outbox.put([message(10), message(11)])
        (held,) = outbox.take(1)
        outbox.release(held.seq)
        outbox.put([message(12)])
        assert outbox.retake(held.seq) is None

    @pytest.mark.parametrize("overflow", [Block(), DropOldest()])
    def test_what_can_never_fit_is_a_clear_error(self, open_outbox: Open, overflow: Overflow) -> None:
        outbox = open_outbox(room_for(2), overflow)
        outbox.put([message(10)])
        with pytest.raises(MessageTooLarge, match="max_bytes") as caught:
            outbox.put([message(11, size=5000)])
        assert not isinstance(caught.value, OutboxFull)
        assert ids(outbox) == ["10"]


class TestAge:
    def test_without_a_bound_nothing_expires(self, open_outbox: Open, clock: Clock) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        clock.now += 1e9
        outbox.flush()
        assert outbox.statistics().oldest_age_s == pytest.approx(1e9)
        assert outbox.queued == 1

    def test_what_is_too_old_is_dropped_and_counted(self, open_outbox: Open, clock: Clock) -> None:
        outbox = open_outbox(OutboxOptions(max_age=60))
        outbox.put([message(1), message(2)])
        (held,) = outbox.take(1)
        clock.now += 61
        outbox.put([message(3)])
        outbox.flush()
        statistics = outbox.statistics()
        assert (statistics.expired, statistics.queued) == (1, 2)
        outbox.release(held.seq)
        outbox.flush()
        assert outbox.statistics().expired == 2
        assert ids(outbox) == ["3"]


class TestDisk:
    def test_every_commit_is_flushed_to_the_medium(self, tmp_path: Path) -> None:
        outbox = Outbox(tmp_path / "outbox.db")
        (level,) = outbox._storage._database._connection.execute("PRAGMA synchronous").fetchone()
        outbox.close()
        assert level == 2  # FULL

    @pytest.mark.parametrize("payload", [10, 500, 2_048, 9_000])
    def test_the_file_follows_the_quota(self, tmp_path: Path, payload: int) -> None:
        options = OutboxOptions(max_bytes=4 << 20, replay=ReplayOptions(messages=10_000))
        sizes = []
        outbox = unflushed(Outbox(tmp_path / "outbox.db", options, overflow=DropOldest()))
        number = 0
        while outbox.statistics().evicted < 50:
            frame = []
            for _ in range(50):
                number += 1
                name = hashlib.sha256(str(number).encode()).hexdigest()
                frame.append(message(name, size=payload, topic="a/" * 20))
            outbox.put(frame)
            for queued in outbox.take(5):
                outbox.acknowledge(queued.seq)
            sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
        assert max(sizes) <= options.file_bytes + RESERVE_BYTES + (2 << 20)
        # The accounting is honest: the quota is reached before the page bound, and most of it is used.
        assert outbox.statistics().queued_bytes > 0.9 * options.max_bytes
        assert max(sizes) <= 1.25 * options.max_bytes + RESERVE_BYTES + (3 << 20)
        outbox.close()

    def test_the_file_shrinks_when_it_was_emptied(self, tmp_path: Path) -> None:
        outbox = unflushed(Outbox(tmp_path / "outbox.db"))
        outbox.put([message(n, size=100_000) for n in range(200)])
        for _ in range(20):
            deliver(outbox, 10)
        for _ in range(20):
            outbox.flush()
        outbox.close()
        # 100 messages of 100 kB are the window.
        assert (tmp_path / "outbox.db").stat().st_size < 15_000_000

    def test_a_full_disk_holds_back_and_loses_nothing(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        limit_pages(outbox, 40)
        with pytest.raises(OutboxFull, match="disk"):
            outbox.put([message(2, size=100_000)])
        begin = time.monotonic()
        assert outbox.wait_for_room(30.0)  # a disk does not tell when it has room, so it is tried after a pause
        assert 0.5 < time.monotonic() - begin < 25  # of the 30 that it may wait
        limit_pages(outbox, 4000)
        outbox.put([message(2, size=100_000)])
        assert ids(outbox) == ["1", "2"]

    def test_on_a_full_disk_the_oldest_make_room(self, open_outbox: Open) -> None:
        outbox = open_outbox(None, DropOldest())
        outbox.put([message(n, size=20_000) for n in range(4)])
        (pages,) = outbox._storage._database._connection.execute("PRAGMA page_count").fetchone()
        limit_pages(outbox, pages)
        outbox.put([message(5, size=20_000)])
        assert outbox.statistics().evicted == 1
        assert ids(outbox) == ["1", "2", "3", "5"]

    def test_acknowledgements_wait_for_a_full_disk(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        outbox.acknowledge(outbox.take(1)[0].seq)
        connection = outbox._storage._database._connection
        outbox._storage._database._connection = FullDisk(connection)  # type: ignore[assignment]
        with pytest.raises(OutboxFull):
            outbox.flush()
        assert outbox.unwritten == 1
        assert len(outbox.replay()) == 1
        outbox._storage._database._connection = connection
        outbox.flush()
        assert outbox.unwritten == 0

    def test_any_other_failure_of_the_file_is_a_publish_error(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox._storage._database._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(PublishError, match="readonly") as caught:
            outbox.put([message(1)])
        assert not isinstance(caught.value, OutboxFull)


class FullDisk:
    """A connection on which every change fails, as long as a file is there."""

    def __init__(self, connection: sqlite3.Connection, while_there: Path | None = None) -> None:
        self._connection = connection
        self._while_there = while_there

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)  # type: ignore[arg-type]

    def executemany(self, sql: str, parameters: object) -> sqlite3.Cursor:
        if self._while_there is None or self._while_there.exists():
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.executemany(sql, parameters)  # type: ignore[arg-type]


def limit_pages(outbox: Outbox, pages: int) -> None:
    outbox._storage._database._connection.execute(f"PRAGMA max_page_count = {pages}")


class TestDamage:
    @pytest.mark.parametrize(
        "content",
        [b"this is not a database, whatever its name says" * 100, b"SQLite format 3\x00" + b"\xff" * 5000],
        ids=["text", "header"],
    )
    def test_a_file_that_is_no_outbox_is_set_aside(
        self, open_outbox: Open, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "out" / "outbox.db"
        path.parent.mkdir()
        path.write_bytes(content)
        outbox = open_outbox()
        assert outbox.statistics().set_aside == 1
        assert path.with_name("outbox.db.damaged").read_bytes() == content
        assert "damaged" in caplog.text
        outbox.put([message(1)])
        assert ids(outbox) == ["1"]

    def test_a_torn_page_is_found_at_the_start(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        outbox.put([message(n, size=3000) for n in range(50)])
        outbox.close()
        path = tmp_path / "out" / "outbox.db"
        content = bytearray(path.read_bytes())
        content[4 * PAGE_BYTES : 9 * PAGE_BYTES] = b"\xaa" * 5 * PAGE_BYTES
        path.write_bytes(content)
        again = open_outbox()
        assert again.statistics().set_aside == 1
        saved = ids(again)
        assert 30 <= len(saved) < 50  # what can be read from both ends
        assert saved == sorted(saved, key=int)

    def test_damage_while_running_does_not_stop_it(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        outbox.put([message(n, size=3000) for n in range(50)])
        (before,) = outbox.take(1)
        connection = outbox._storage._database._connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA cache_size = 0")
        path = tmp_path / "out" / "outbox.db"
        with path.open("r+b") as file:
            file.seek(2 * PAGE_BYTES)
            file.write(b"\xaa" * (path.stat().st_size - 2 * PAGE_BYTES))
        outbox.put([message("new")])
        assert outbox.statistics().set_aside == 1
        outbox.acknowledge(before.seq)  # from the database before: it must not count for the new one
        outbox.flush()
        assert ids(outbox) == ["new"]
        assert outbox.queued == 1

    def test_an_outbox_of_another_version_is_set_aside(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        outbox._storage._database._connection.execute("PRAGMA user_version = 99")
        outbox.close()
        again = open_outbox()
        assert again.statistics().set_aside == 1
        assert again.queued == 1  # of what it says as this version does, nothing is lost

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE messages SET id = CAST(x'ff' AS TEXT) WHERE seq = 2",
            "UPDATE messages SET topic = CAST(x'612fc3' AS TEXT) WHERE seq = 2",
            "UPDATE messages SET payload = x'00' WHERE seq = 2",
            "UPDATE messages SET payload = 'text' WHERE seq = 2",
            "UPDATE messages SET supersedes = 7 WHERE seq = 2",
            "UPDATE messages SET checksum = 'x' WHERE seq = 2",
        ],
    )
    @pytest.mark.parametrize("delivered", [False, True])
    def test_a_damaged_row_costs_itself_and_nothing_else(
        self, open_outbox: Open, change: str, delivered: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        outbox = open_outbox()
        outbox.put([message(n) for n in (1, 2, 3)])
        if delivered:
            deliver(outbox, 3)
        outbox._storage._database._connection.execute(change)
        if delivered:
            assert [queued.message.id for seq in outbox.replay() if (queued := outbox.retake(seq))] == ["1", "3"]
        else:
            assert ids(outbox) == ["1", "3"]
            assert outbox.queued == 2
        assert outbox.statistics().set_aside == 1
        assert "damaged" in caplog.text

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE messages SET cost = 'x' WHERE seq = 2",
            "UPDATE messages SET created_at = 'x' WHERE seq = 2",
            "UPDATE messages SET delivered_at = 'soon' WHERE seq = 2",
            "UPDATE messages SET rejected_at = x'' WHERE seq = 2",
        ],
    )
    def test_numbers_that_are_none_stop_nobody(self, open_outbox: Open, change: str) -> None:
        outbox = open_outbox(OutboxOptions(max_age=1000.0))
        outbox.put([message(n) for n in (1, 2, 3)])
        outbox._storage._database._connection.execute(change)
        outbox.statistics()
        outbox.flush()
        assert {"1", "3"} <= set(ids(outbox))
        outbox.put([message(4)])
        outbox.replay()
        outbox.flush()

    @pytest.mark.parametrize("seed", range(40))
    def test_flipped_bits_never_end_it(self, open_outbox: Open, tmp_path: Path, seed: int) -> None:
        outbox = open_outbox()
        outbox.put([message(n, size=700) for n in range(40)])
        deliver(outbox, 10)
        outbox.close()
        path, dice = tmp_path / "out" / "outbox.db", random.Random(seed)
        content = bytearray(path.read_bytes())
        for _ in range(dice.choice((1, 1, 5, 40))):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
        again = open_outbox()
        for n in range(3):
            again.put([message(f"new-{n}")])
            again.replay()
            again.statistics()
            again.flush()
        found = ids(again)
        assert {"new-0", "new-1", "new-2"} <= set(found)
        assert set(found) <= {str(n) for n in range(40)} | {"new-0", "new-1", "new-2"}


class TestRejected:
    def test_is_set_aside_and_nobody_waits_for_it(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(n) for n in range(3)])
        held, _ = outbox.take(2)
        outbox.reject(held.seq)
        assert (outbox.queued, outbox.statistics().rejected) == (2, 1)
        assert outbox.statistics().queued_bytes == 2 * disk_bytes(message(1))
        assert outbox.retake(held.seq) is not None  # kept
        outbox.put([message(0)])  # its id is known
        assert outbox.queued == 2

    def test_comes_back_at_the_next_start(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(n) for n in range(3)])
        outbox.reject(outbox.take(1)[0].seq)
        outbox.close()
        again = open_outbox()
        assert ids(again) == ["1", "2", "0"]
        assert again.queued == 3

    def test_and_when_it_is_asked_for(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.put([message(n) for n in range(3)])
        for queued in outbox.take(2):
            outbox.reject(queued.seq)
        assert ids(outbox) == ["2"]
        outbox.restore()
        assert (outbox.queued, outbox.statistics().rejected) == (3, 0)
        assert ids(outbox) == ["0", "1"]

    def test_takes_an_eighth_of_the_quota_at_most(self, open_outbox: Open) -> None:
        outbox = open_outbox(room_for(80))
        outbox.put([message(n + 10) for n in range(40)])
        for queued in outbox.take(40):
            outbox.reject(queued.seq)
        assert outbox.statistics().rejected == 10
        assert outbox.statistics().evicted == 30
        outbox.restore()
        assert ids(outbox) == [str(n) for n in range(40, 50)]


def test_parts_take_the_place_of_a_message(open_outbox: Open) -> None:
    outbox = open_outbox()
    outbox.put([message(n) for n in range(2)])
    (held,) = outbox.take(1)
    outbox.release(held.seq)
    outbox.replace(held.seq, [message("0a"), message("0b")])
    assert outbox.queued == 3
    assert outbox.statistics().queued_bytes == sum(disk_bytes(message(n)) for n in (1, "0a", "0b"))
    assert outbox.retake(held.seq) is None
    assert ids(outbox) == ["1", "0a", "0b"]


class TestReserve:
    def test_is_room_for_what_makes_room(self, tmp_path: Path) -> None:
        reserve = Reserve(tmp_path / "reserve", 100_000)
        assert not reserve.release()
        assert reserve.make()
        assert (tmp_path / "reserve").stat().st_size == 100_000
        assert Reserve(tmp_path / "reserve", 100_000).release()
        assert not (tmp_path / "reserve").exists()

    def test_what_gives_room_back_may_use_it(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        outbox.acknowledge(outbox.take(1)[0].seq)
        place = tmp_path / "out" / "outbox.db.reserve"
        assert place.exists()
        connection = outbox._storage._database._connection
        outbox._storage._database._connection = FullDisk(connection, place)  # type: ignore[assignment]
        outbox.flush()
        assert outbox.unwritten == 0
        outbox._storage._database._connection = connection

    def test_what_takes_room_may_not(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        place = tmp_path / "out" / "outbox.db.reserve"
        connection = outbox._storage._database._connection
        outbox._storage._database._connection = FullDisk(connection, place)  # type: ignore[assignment]
        with pytest.raises(OutboxFull, match="disk"):
            outbox.put([message(1)])
        outbox._storage._database._connection = connection

    def test_opening_may_use_it(self, open_outbox: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        outbox.close()
        place = tmp_path / "out" / "outbox.db.reserve"
        prepare = Database._prepare

        def without_room(database: Database, max_bytes: int) -> None:
            if place.exists():
                raise DiskFull("The disk is full.")
            prepare(database, max_bytes)

        monkeypatch.setattr(Database, "_prepare", without_room)
        assert open_outbox().queued == 1


class TestOwner:
    def test_only_one_in_this_process(self, open_outbox: Open) -> None:
        open_outbox()
        with pytest.raises(SettingsError, match="another process"):
            open_outbox()

    def test_only_one_process(self, open_outbox: Open, tmp_path: Path) -> None:
        outbox = open_outbox()
        outbox.put([message(1)])
        script = (
            "import sys; from pathlib import Path; from sam3edge.core.errors import SettingsError\n"
            "from sam3edge.outbox.outbox import Outbox\n"
            "try: Outbox(Path(sys.argv[1]))\n"
            "except SettingsError as error: sys.exit(str(error))"
        )
        path = tmp_path / "out" / "outbox.db"
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, env=environment()
        )
        assert done.returncode == 1
        assert "another process" in done.stderr
        assert ids(outbox) == ["1"]

    def test_a_folder_that_cannot_be_made_is_a_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(SettingsError, match="cannot be created"):
            Outbox(tmp_path / "file" / "outbox.db")

    def test_closing_is_idempotent_and_final(self, open_outbox: Open) -> None:
        outbox = open_outbox()
        outbox.close()
        outbox.close()
        with pytest.raises(PublishError, match="closed"):
            outbox.put([message(1)])


def environment() -> dict[str, str]:
    """The import path of this process, for a child."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def test_threads_may_share_it(open_outbox: Open) -> None:
    outbox = open_outbox(room_for(20))
    seen: list[str] = []

    def produce(first: int) -> None:
        for number in range(first, first + 20):
            while True:
                try:
                    outbox.put([message(number)])
                    break
                except OutboxFull:
                    outbox.wait_for_room(1)

    def consume() -> None:
        while len(seen) < 60:
            for queued in outbox.take(3):
                seen.append(queued.message.id)
                outbox.acknowledge(queued.seq)
            time.sleep(0.001)

    threads = [threading.Thread(target=produce, args=(n,)) for n in (100, 200, 300)]
    threads.append(threading.Thread(target=consume))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(str(n + k) for n in (100, 200, 300) for k in range(20))
    assert outbox.queued == 0


@pytest.mark.parametrize(
    "wrong",
    [{"max_bytes": 0}, {"max_age": 0.0}, {"replay": ReplayOptions(messages=-1)}, {"replay": ReplayOptions(seconds=-1)}],
)
def test_senseless_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        OutboxOptions(**wrong)  # type: ignore[arg-type]
