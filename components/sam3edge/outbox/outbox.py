"""The durable outbox: what was put here is delivered, whatever happens to the process, the nucleus or the broker.

A message is *queued* when ``put`` has returned, *held* while ``Delivery`` sends it, *delivered* once it was
acknowledged, and kept for a while after that in the trailing *window*, because a nucleus may have accepted a message
and lost it. Delivery is at least once: a message keeps its id, and consumers drop repetitions by it. A message that was
refused for what it is is *rejected*: set aside, within an eighth of the quota, until ``restore``.

**Damage** costs what is damaged: a row whose checksum is wrong is taken out, and of a file that SQLite cannot read
everything that can still be read goes into a new one.

**Threads.** One connection and one lock: every method may be called by any thread, and runs alone. SQLite serialises
writers anyhow, the transactions are short, and a writer thread of its own would only move the waiting to a queue.

**Acknowledgements** are collected in memory and written with the next ``put``, or by ``flush``. When they are lost in a
crash, their messages are sent a second time, which consumers have to expect in any case.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3edge.core.errors import MessageTooLarge, OutboxFull
from sam3edge.core.types import Message
from sam3edge.outbox import table
from sam3edge.outbox.database import DiskFull
from sam3edge.outbox.limits import Block, OutboxOptions, Overflow
from sam3edge.outbox.storage import Storage
from sam3edge.outbox.table import Entry, QueuedMessage, Row

logger = logging.getLogger(__name__)

_DISK_FULL_PAUSE = 1.0  # a full disk does not tell when it has room again, so whoever waits tries this often


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """A snapshot; counters start at 0 with the process.

    Attributes:
        queued: undelivered messages, those being sent included.
        queued_bytes: what they count against ``max_bytes``.
        evicted: dropped for want of room.
        expired: dropped for their age.
        rejected: messages that are set aside.
        set_aside: databases and rows that were found damaged and taken out.
        oldest_age_s: how long the oldest undelivered message has been waiting; 0 when there is none.
    """

    queued: int
    queued_bytes: int
    evicted: int
    expired: int
    rejected: int
    set_aside: int
    oldest_age_s: float


class Outbox:
    """A bounded queue of messages in one SQLite file, owned by one process.

    Args:
        path: the database file; its folder is created.
        options: bounds.
        overflow: what a full outbox does: ``Block`` (default) or ``DropOldest``.
        clock: seconds since 1970; replaced by tests.

    Raises:
        SettingsError: another process owns the file, or it cannot be created.
    """

    def __init__(
        self,
        path: Path,
        options: OutboxOptions | None = None,
        *,
        overflow: Overflow | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._options = options or OutboxOptions()
        self._overflow: Overflow = overflow or Block()
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._on_put: Callable[[], None] = lambda: None
        self._evicted = self._expired = 0
        self._next_seq = 1  # never repeats within a process, even when the database is replaced
        self._cursor = 0  # everything up to here was handed out by ``take``
        self._ahead: set[int] = set()  # handed out by ``take_smallest``, and behind the cursor's place
        self._held: dict[int, int] = {}  # undelivered and being sent: seq -> bytes
        self._replaying: set[int] = set()  # delivered, to be acknowledged once more
        self._acknowledged: dict[int, float] = {}  # seq -> time, not written yet
        self._wanted = 0  # bytes of the last frame
        self._disk_full = False
        self._closed = False
        self._storage = Storage(path, self._options.file_bytes, self._replaced)
        self._recount()

    # -- whoever has messages ------------------------------------------------------------------------------------

    def put(self, messages: Sequence[Message]) -> None:
        """Accept all messages of one frame, or none; when this returns they survive a power cut.

        A message whose id already exists, queued or in the window, is ignored. An undelivered message with the same
        ``supersedes`` is replaced; the new one takes its place in the queue unless that was being sent already.

        Raises:
            OutboxFull: no room now; ``wait_for_room`` and try again.
            MessageTooLarge: no room ever.
            PublishError: the database failed for another reason.
        """
        frame = {message.id: message for message in messages}
        size = sum(map(table.disk_bytes, frame.values()))
        if size > self._options.max_bytes:
            raise MessageTooLarge(
                f"{len(frame)} messages of one frame take {size} bytes, the whole outbox {self._options.max_bytes}: "
                "raise its max_bytes, or segment fewer prompts at once."
            )
        with self._changed:
            self._wanted = size
            self._store(frame)
        self._on_put()

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until the frame that was refused last may fit.

        Returns:
            Whether it is worth trying again; False after ``timeout`` seconds.
        """
        with self._changed:
            if self._disk_full:
                self._changed.wait(min(timeout, _DISK_FULL_PAUSE))
                return True
            return self._changed.wait_for(lambda: self._wanted <= self._room, timeout)

    # -- Delivery ------------------------------------------------------------------------------------------------

    def on_put(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called after every ``put``, by the thread that put."""
        self._on_put = callback

    def take(self, limit: int) -> list[QueuedMessage]:
        """Hold the next messages that were not taken since the outbox was opened, oldest first."""
        with self._changed:
            messages: list[QueuedMessage] = []
            while len(messages) < limit:
                rows = self._storage.run(lambda db: table.queued_after(db, self._cursor, limit - len(messages)))
                if not rows:
                    break
                for row in rows:
                    self._cursor = row.seq
                    message = None if row.seq in self._ahead else self._sound(row)
                    self._ahead.discard(row.seq)
                    if message is not None:
                        self._held[message.seq] = message.cost
                        messages.append(message)
            return messages

    def take_smallest(self) -> QueuedMessage | None:
        """Hold the smallest undelivered message that is not held, whether it was taken before or not."""
        with self._changed:
            taken = {*self._held, *self._acknowledged}
            row = self._storage.run(lambda db: table.smallest(db, taken))
            message = None if row is None else self._sound(row)
            if message is None:
                return None
            if message.seq > self._cursor:
                self._ahead.add(message.seq)
            self._held[message.seq] = message.cost
            return message

    def release(self, seq: int) -> None:
        """It was not delivered, and rests for a while: it may be evicted, replaced or expire until ``retake``."""
        with self._changed:
            self._held.pop(seq, None)

    def retake(self, seq: int) -> QueuedMessage | None:
        """Hold a released message, or one that is to be replayed, again.

        Returns:
            The message, or None when it has left meanwhile.
        """
        with self._changed:
            message = self.peek(seq)
            if message is None:
                self._replaying.discard(seq)
            elif seq not in self._replaying:
                self._held[seq] = message.cost
            return message

    def peek(self, seq: int) -> QueuedMessage | None:
        """A message, or None when it has left meanwhile."""
        with self._changed:
            row = self._storage.run(lambda db: table.row_at(db, seq))
            return None if row is None else self._sound(row)

    def reject(self, seq: int) -> None:
        """It was refused for what it is, and is set aside until ``restore``; the oldest such give way."""

        def write(db: sqlite3.Connection) -> list[Entry]:
            table.reject(db, seq, self._clock())
            room, old = self._options.max_bytes // 8, []
            for entry in table.rejected(db):
                room -= entry.cost
                if room < 0:
                    old.append(entry)
            table.delete(db, old)
            return old

        with self._changed:
            dropped = self._storage.run_freeing(write)
            cost = self._held.pop(seq, None)
            if cost is not None:
                self._queued -= 1
                self._queued_bytes -= cost
            self._evicted += len(dropped)
            self._changed.notify_all()
        if dropped:
            logger.warning("%d messages that were refused for what they are were dropped for newer ones", len(dropped))

    def restore(self) -> None:
        """Queue what was set aside again, behind everything else."""
        with self._changed:
            rows = self._storage.run(lambda db: table.restore(db, self._next_seq))
            self._next_seq += len(rows)
            self._queued += len(rows)
            self._queued_bytes += sum(entry.cost for entry in rows)

    def replace(self, seq: int, messages: Sequence[Message]) -> None:
        """Queue these in place of a released message, behind everything else; those that already exist stay.

        Raises:
            OutboxFull: the disk is full; the message stays.
        """

        def write(db: sqlite3.Connection) -> tuple[list[Entry], list[Entry]]:
            whole = [entry for entry in table.undelivered(db) if entry.seq == seq]
            table.delete(db, whole)
            present = table.places(db, tuple(message.id for message in messages))
            fresh = [message for message in messages if message.id not in present]
            now = self._clock()
            return whole, [table.insert(db, self._next_seq + n, m, now) for n, m in enumerate(fresh)]

        with self._changed:
            whole, added = self._storage.run(write)
            self._forget(whole)
            self._count(added)

    def replay(self) -> list[int]:
        """Keep what is in the window now, beyond the window's bounds, until each message was acknowledged again.

        Returns:
            Places for ``retake``, in the order of the queue; those that are being replayed already are left out.
        """
        with self._changed:
            window = {entry.seq for entry in self._storage.run(table.delivered)} | set(self._acknowledged)
            places = sorted(window - self._replaying)
            self._replaying.update(places)
            return places

    def acknowledge(self, seq: int) -> None:
        """It was delivered. Written with the next ``put`` or ``flush``."""
        with self._changed:
            cost = self._held.pop(seq, None)
            if cost is not None:
                self._queued -= 1
                self._queued_bytes -= cost
                self._changed.notify_all()
            elif seq not in self._replaying:
                return  # replaced while it was being sent
            self._replaying.discard(seq)
            self._acknowledged[seq] = self._clock()

    def flush(self) -> None:
        """Write acknowledgements, prune the window, drop what is too old, give free pages back; on a full disk with the
        help of the reserve.

        Raises:
            OutboxFull: the disk is full; nothing was written, the acknowledgements wait on.
        """

        def write(db: sqlite3.Connection) -> list[Entry]:
            self._write_acknowledgements(db)
            return self._expire(db)

        with self._changed:
            expired = self._storage.run_freeing(write)
            self._acknowledged.clear()
            self._forget(expired)
            self._expired += len(expired)
            self._storage.shrink()
        if expired:
            logger.warning("%d messages were dropped: not delivered for %s s", len(expired), self._options.max_age)

    @property
    def unwritten(self) -> int:
        """Acknowledgements that wait for ``flush``."""
        with self._changed:
            return len(self._acknowledged)

    @property
    def queued(self) -> int:
        """Undelivered messages, those being sent included."""
        with self._changed:
            return self._queued

    def statistics(self) -> OutboxStatistics:
        """Its present state."""

        def oldest(db: sqlite3.Connection) -> float | None:
            return next((e.moment for e in table.undelivered(db) if e.seq not in self._acknowledged), None)

        with self._changed:
            since = self._storage.run(oldest)
            return OutboxStatistics(
                queued=self._queued,
                queued_bytes=self._queued_bytes,
                evicted=self._evicted,
                expired=self._expired,
                rejected=self._storage.run(table.count_rejected),
                set_aside=self._storage.set_aside,
                oldest_age_s=0.0 if since is None else max(0.0, self._clock() - since),
            )

    def close(self) -> None:
        """Write what was acknowledged and give the file free. Idempotent."""
        with self._changed:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._storage.close()

    # -- inside, under the lock ----------------------------------------------------------------------------------

    def _sound(self, row: Row) -> QueuedMessage | None:
        """The message of a row; None of a damaged one, which is taken out."""
        if row.is_sound:
            return row.queued()
        self._storage.drop_damaged(row)
        self._held.pop(row.seq, None)
        self._replaying.discard(row.seq)
        if row.delivered_at is None and row.rejected_at is None:
            self._queued -= 1
            self._queued_bytes -= row.cost
        self._changed.notify_all()
        return None

    def _replaced(self) -> None:
        """What can be read of a damaged file is in a new one, and is sent again."""
        self._held.clear()
        self._ahead.clear()
        self._replaying.clear()
        self._acknowledged.clear()
        self._cursor = 0
        self._recount()

    def _recount(self) -> None:
        self._queued, self._queued_bytes, last = self._storage.run(table.totals)
        self._next_seq = max(self._next_seq, last + 1)

    @property
    def _room(self) -> int:
        return self._options.max_bytes - self._queued_bytes

    def _store(self, frame: Mapping[str, Message]) -> None:
        try:
            self._storage.require_reserve()
            added, replaced, evicted = self._storage.run(lambda db: self._insert(db, frame, at_least=0))
        except DiskFull as full:
            self._disk_full = True
            try:  # whoever may evict as much finds room inside of the file, which then need not grow
                added, replaced, evicted = self._storage.run_freeing(
                    lambda db: self._insert(db, frame, at_least=self._wanted)
                )
            except OutboxFull:
                raise full from None
        self._acknowledged.clear()
        self._disk_full = False
        self._forget([*replaced, *evicted])
        self._count(added)
        if evicted:
            self._evicted += len(evicted)
            logger.warning("the outbox is full: the oldest %d messages were dropped", len(evicted))

    def _insert(
        self, db: sqlite3.Connection, frame: Mapping[str, Message], at_least: int
    ) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """What was added, what it replaced, and what had to leave (``at_least`` bytes, if anything is added)."""
        self._write_acknowledgements(db)
        present = table.places(db, tuple(frame))
        fresh = [message for message in frame.values() if message.id not in present]
        replaced: list[Entry] = []
        places: dict[str, int] = {}
        for key in {message.supersedes for message in fresh if message.supersedes}:
            before = table.superseded(db, key)
            replaced += before
            places.update((key, entry.seq) for entry in before if entry.seq > self._cursor)
        room = self._room + sum(entry.cost for entry in replaced)
        missing = max(sum(map(table.disk_bytes, fresh)) - room, at_least if fresh else 0)
        evicted: list[Entry] = []
        if missing > 0:
            spared = {*present.values(), *(entry.seq for entry in replaced), *self._held}
            evicted = self._overflow.victims((e for e in table.undelivered(db) if e.seq not in spared), missing)
        table.delete(db, [*replaced, *evicted])
        behind = iter(range(self._next_seq, self._next_seq + len(fresh)))
        now = self._clock()
        added = [
            table.insert(db, places.pop(m.supersedes) if m.supersedes in places else next(behind), m, now)
            for m in fresh
        ]
        return added, replaced, evicted

    def _count(self, added: Sequence[Entry]) -> None:
        self._queued += len(added)
        self._queued_bytes += sum(entry.cost for entry in added)
        self._next_seq = max([self._next_seq, *(entry.seq + 1 for entry in added)])

    def _forget(self, gone: Sequence[Entry]) -> None:
        for entry in gone:
            self._held.pop(entry.seq, None)
            self._queued -= 1
            self._queued_bytes -= entry.cost
        if gone:
            self._changed.notify_all()

    def _write_acknowledgements(self, db: sqlite3.Connection) -> None:
        """Write them, and prune the window."""
        if not self._acknowledged:
            return
        table.mark_delivered(db, self._acknowledged)
        window, max_bytes = self._options.replay, self._options.max_bytes // 4
        delivered = [entry for entry in table.delivered(db) if entry.seq not in self._replaying]
        size = 0
        for index, entry in enumerate(delivered):
            size += entry.cost
            too_old = entry.moment < delivered[0].moment - window.seconds
            if index >= window.messages or size > max_bytes or too_old:
                table.delete(db, delivered[index:])
                break

    def _expire(self, db: sqlite3.Connection) -> list[Entry]:
        if self._options.max_age is None:
            return []
        limit = self._clock() - self._options.max_age
        expired = []
        for entry in table.undelivered(db):
            if entry.moment >= limit:
                break
            if entry.seq not in self._held:
                expired.append(entry)
        table.delete(db, expired)
        return expired
