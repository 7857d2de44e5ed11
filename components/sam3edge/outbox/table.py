"""The table of the outbox: what is asked of it, in SQL and nothing else.

A row is undelivered while ``delivered_at`` and ``rejected_at`` are NULL. ``seq`` is the place in the queue. Small
columns come before the payload, so that scans do not read payloads. Numbers are cast where they are read: a flipped bit
may have made them texts. What a row says is covered by ``checksum``.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sam3edge.core.types import Message

VERSION = 2
SCHEMA = (
    """
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        topic TEXT NOT NULL,
        supersedes TEXT NOT NULL,
        cost INTEGER NOT NULL,
        created_at REAL NOT NULL,
        delivered_at REAL,
        rejected_at REAL,
        checksum INTEGER NOT NULL,
        payload BLOB NOT NULL
    )
    """,
    "CREATE INDEX delivered ON messages (delivered_at) WHERE delivered_at IS NOT NULL",
    "CREATE INDEX rejected ON messages (rejected_at) WHERE rejected_at IS NOT NULL",
    "CREATE INDEX superseding ON messages (supersedes) WHERE supersedes != ''",
    f"PRAGMA user_version = {VERSION}",
)

_ROW_BYTES = 512
_WAITS = "delivered_at IS NULL AND rejected_at IS NULL"
_COLUMNS = (
    "seq, id, topic, supersedes, CAST(cost AS INTEGER), CAST(created_at AS REAL), CAST(delivered_at AS REAL),"
    " CAST(rejected_at AS REAL), checksum, payload"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row without its content.

    Attributes:
        seq: place in the queue.
        cost: bytes that it counts.
        moment: when it was delivered, or, if it was not, put; seconds since 1970.
    """

    seq: int
    cost: int
    moment: float


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message with its place in the queue."""

    seq: int
    cost: int
    message: Message


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read; its content may be damaged, and then be of any type. Times are seconds since 1970."""

    seq: int
    id: Any
    topic: Any
    supersedes: Any
    cost: int
    created_at: float
    delivered_at: float | None
    rejected_at: float | None
    checksum: Any
    payload: Any

    @property
    def is_sound(self) -> bool:
        """Whether it is what was written."""
        texts = isinstance(self.id, str) and isinstance(self.topic, str) and isinstance(self.supersedes, str)
        return texts and isinstance(self.payload, bytes) and self.checksum == _checksum(self._message())

    def queued(self) -> QueuedMessage:
        """The message, of a sound row."""
        return QueuedMessage(self.seq, self.cost, self._message())

    def _message(self) -> Message:
        return Message(id=self.id, topic=self.topic, payload=self.payload, supersedes=self.supersedes)


def disk_bytes(message: Message) -> int:
    """What a message takes on the medium: payload, names (two of them are indexed), row and the rounding to pages."""
    names = 2 * len(message.id) + 2 * len(message.supersedes) + len(message.topic)
    return len(message.payload) + names + _ROW_BYTES


def insert(db: sqlite3.Connection, seq: int, message: Message, now: float) -> Entry:
    """Queue a message."""
    entry = Entry(seq, disk_bytes(message), now)
    m = message
    insert_row(
        db, Row(seq, m.id, m.topic, m.supersedes, entry.cost, now, None, None, _checksum(message), message.payload)
    )
    return entry


def insert_row(db: sqlite3.Connection, row: Row) -> None:
    """Write a row as it is."""
    values = (
        row.seq,
        row.id,
        row.topic,
        row.supersedes,
        row.cost,
        row.created_at,
        row.delivered_at,
        row.rejected_at,
        row.checksum,
        row.payload,
    )
    db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def delete(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Forget rows."""
    db.executemany("DELETE FROM messages WHERE seq = ?", [(entry.seq,) for entry in entries])


def mark_delivered(db: sqlite3.Connection, moments: Mapping[int, float]) -> None:
    """Note when which row was delivered first; rows that are gone are passed over, and those that give way to a newer
    one of their kind are of no use any more."""
    db.executemany("DELETE FROM messages WHERE seq = ? AND supersedes != ''", [(seq,) for seq in moments])
    db.executemany(
        "UPDATE messages SET delivered_at = coalesce(delivered_at, ?) WHERE seq = ?",
        [(at, seq) for seq, at in moments.items()],
    )


def reject(db: sqlite3.Connection, seq: int, now: float) -> None:
    """Set a row aside."""
    db.execute("UPDATE messages SET rejected_at = ? WHERE seq = ?", (now, seq))


def rejected(db: sqlite3.Connection) -> list[Entry]:
    """Those set aside, the last one first."""
    sql = (
        "SELECT seq, CAST(cost AS INTEGER), CAST(rejected_at AS REAL) FROM messages WHERE rejected_at IS NOT NULL"
        " ORDER BY rejected_at DESC, seq DESC"
    )
    return [Entry(*row) for row in db.execute(sql).fetchall()]


def count_rejected(db: sqlite3.Connection) -> int:
    """How many are set aside."""
    (count,) = db.execute("SELECT count(*) FROM messages WHERE rejected_at IS NOT NULL").fetchone()
    return int(count)


def restore(db: sqlite3.Connection, first: int) -> list[Entry]:
    """Queue those set aside again, in places from ``first`` on, which are free."""
    restored = []
    for place, entry in enumerate(reversed(rejected(db)), first):
        db.execute("UPDATE messages SET rejected_at = NULL, seq = ? WHERE seq = ?", (place, entry.seq))
        restored.append(Entry(place, entry.cost, entry.moment))
    return restored


def totals(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Number and bytes of undelivered rows, and the highest place of all."""
    count, size = db.execute(
        f"SELECT count(*), coalesce(sum(CAST(cost AS INTEGER)), 0) FROM messages WHERE {_WAITS}"
    ).fetchone()
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
    return count, size, last


def places(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
    """Which of these messages are there, delivered or not, and where."""
    marks = ",".join("?" * len(ids))
    return dict(db.execute(f"SELECT id, seq FROM messages WHERE id IN ({marks})", tuple(ids)).fetchall())


def superseded(db: sqlite3.Connection, key: str) -> list[Entry]:
    """Undelivered rows that a message with this key replaces."""
    sql = f"SELECT seq, CAST(cost AS INTEGER), CAST(created_at AS REAL) FROM messages WHERE supersedes = ? AND {_WAITS}"
    return [Entry(*row) for row in db.execute(sql, (key,)).fetchall()]


def undelivered(db: sqlite3.Connection) -> Iterator[Entry]:
    """In the order of the queue."""
    sql = f"SELECT seq, CAST(cost AS INTEGER), CAST(created_at AS REAL) FROM messages WHERE {_WAITS} ORDER BY seq"
    return (Entry(*row) for row in db.execute(sql))


def delivered(db: sqlite3.Connection) -> list[Entry]:
    """The last one first."""
    sql = (
        "SELECT seq, CAST(cost AS INTEGER), CAST(delivered_at AS REAL) FROM messages WHERE delivered_at IS NOT NULL"
        " ORDER BY delivered_at DESC, seq DESC"
    )
    return [Entry(*row) for row in db.execute(sql).fetchall()]


def queued_after(db: sqlite3.Connection, seq: int, limit: int) -> list[Row]:
    """The next undelivered rows behind a place in the queue."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE {_WAITS} AND seq > ? ORDER BY seq LIMIT ?"
    return [Row(*row) for row in db.execute(sql, (seq, limit)).fetchall()]


def smallest(db: sqlite3.Connection, without: Set[int]) -> Row | None:
    """The smallest undelivered row but for these, of equal ones the oldest."""
    sql = f"SELECT seq FROM messages WHERE {_WAITS} ORDER BY CAST(cost AS INTEGER), seq"
    seq = next((seq for (seq,) in db.execute(sql) if seq not in without), None)
    return None if seq is None else row_at(db, seq)


def row_at(db: sqlite3.Connection, seq: int) -> Row | None:
    """The row in this place, delivered or not."""
    row = db.execute(f"SELECT {_COLUMNS} FROM messages WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else Row(*row)


def all_rows(db: sqlite3.Connection, ascending: bool) -> Iterator[Row]:
    """All of them, in the order of the queue or against it."""
    order = "ASC" if ascending else "DESC"
    return (Row(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM messages ORDER BY seq {order}"))


def _checksum(message: Message) -> int:
    checksum = zlib.crc32(message.payload)
    for text in (message.id, message.topic, message.supersedes):
        checksum = zlib.crc32(text.encode("utf-8", "surrogateescape") + b"\0", checksum)
    return checksum
