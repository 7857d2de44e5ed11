"""The table of the outbox: what is asked of it, in SQL and nothing else.

A row is undelivered while ``delivered_at`` is NULL. ``seq`` is the place in the queue. Small columns come before the
payload, so that scans do not read payloads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sam3edge.core.types import Message

VERSION = 1
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
        payload BLOB NOT NULL
    )
    """,
    "CREATE INDEX delivered ON messages (delivered_at) WHERE delivered_at IS NOT NULL",
    "CREATE INDEX superseding ON messages (supersedes) WHERE supersedes != ''",
    f"PRAGMA user_version = {VERSION}",
)

_ROW_BYTES = 512


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


def disk_bytes(message: Message) -> int:
    """What a message takes on the medium: payload, names (two of them are indexed), row and the rounding to pages."""
    names = 2 * len(message.id) + 2 * len(message.supersedes) + len(message.topic)
    return len(message.payload) + names + _ROW_BYTES


def insert(db: sqlite3.Connection, seq: int, message: Message, now: float) -> Entry:
    """Queue a message."""
    entry = Entry(seq, disk_bytes(message), now)
    db.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
        (seq, message.id, message.topic, message.supersedes, entry.cost, now, message.payload),
    )
    return entry


def delete(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Forget rows."""
    db.executemany("DELETE FROM messages WHERE seq = ?", [(entry.seq,) for entry in entries])


def mark_delivered(db: sqlite3.Connection, moments: Mapping[int, float]) -> None:
    """Note when which row was delivered; rows that are gone are passed over."""
    db.executemany("UPDATE messages SET delivered_at = ? WHERE seq = ?", [(at, seq) for seq, at in moments.items()])


def totals(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Number and bytes of undelivered rows, and the highest place of all."""
    count, size = db.execute(
        "SELECT count(*), coalesce(sum(cost), 0) FROM messages WHERE delivered_at IS NULL"
    ).fetchone()
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
    return count, size, last


def places(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
    """Which of these messages are there, delivered or not, and where."""
    marks = ",".join("?" * len(ids))
    return dict(db.execute(f"SELECT id, seq FROM messages WHERE id IN ({marks})", tuple(ids)).fetchall())


def superseded(db: sqlite3.Connection, key: str) -> list[Entry]:
    """Undelivered rows that a message with this key replaces."""
    sql = "SELECT seq, cost, created_at FROM messages WHERE supersedes = ? AND delivered_at IS NULL"
    return [Entry(*row) for row in db.execute(sql, (key,)).fetchall()]


def undelivered(db: sqlite3.Connection) -> Iterator[Entry]:
    """In the order of the queue."""
    sql = "SELECT seq, cost, created_at FROM messages WHERE delivered_at IS NULL ORDER BY seq"
    return (Entry(*row) for row in db.execute(sql))


def delivered(db: sqlite3.Connection) -> list[Entry]:
    """The last one first."""
    sql = (
        "SELECT seq, cost, delivered_at FROM messages WHERE delivered_at IS NOT NULL"
        " ORDER BY delivered_at DESC, seq DESC"
    )
    return [Entry(*row) for row in db.execute(sql).fetchall()]


def queued_after(db: sqlite3.Connection, seq: int, limit: int) -> list[QueuedMessage]:
    """The next undelivered messages behind a place in the queue."""
    sql = (
        "SELECT seq, cost, id, topic, payload, supersedes FROM messages WHERE delivered_at IS NULL AND seq > ?"
        " ORDER BY seq LIMIT ?"
    )
    return [_message(*row) for row in db.execute(sql, (seq, limit)).fetchall()]


def message_at(db: sqlite3.Connection, seq: int) -> QueuedMessage | None:
    """The message in this place, delivered or not."""
    sql = "SELECT seq, cost, id, topic, payload, supersedes FROM messages WHERE seq = ?"
    row = db.execute(sql, (seq,)).fetchone()
    return None if row is None else _message(*row)


def _message(seq: int, cost: int, name: str, topic: str, payload: bytes, supersedes: str) -> QueuedMessage:
    return QueuedMessage(seq, cost, Message(id=name, topic=topic, payload=payload, supersedes=supersedes))
