"""What has been done with which file, kept across restarts."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge.durable import make_folder
from sam3edge.sources.folder.listing import Stamp

logger = logging.getLogger(__name__)

_VERSION = 2
_LOCK_SECONDS = 2.0
_DAMAGE = ("malformed", "not a database", "no such", "unsupported file format", "SQL logic error", "readonly")
"""By which SQLite says that the file is not what it was; a flipped bit of its format makes it read-only."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settled (
    path BLOB PRIMARY KEY,      -- relative to the folder, in the bytes of the file system
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,
    frame_id TEXT NOT NULL,
    reason TEXT,                -- why it was rejected; null when it was done
    filed INTEGER NOT NULL,     -- 0 while the file still has to be moved or deleted
    unfinished INTEGER NOT NULL -- 1 when it was cut short, and only a copy goes to quarantine
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """A file with which nothing remains to be done but to put it away.

    Attributes:
        path: relative to the watched folder.
        stamp: of the version that was delivered.
        frame_id: under which it was delivered.
        reason: why it was rejected; None when its frame was done.
        unfinished: it was cut short, and stays where it is: a copy goes to quarantine.
    """

    path: str
    stamp: Stamp
    frame_id: str
    reason: str | None = None
    unfinished: bool = False


class Journal:
    """A table with one row for each file that was settled and still exists. Used by one thread at a time.

    SQLite in WAL mode with ``synchronous=FULL``: a row costs one fsync, which is little beside a segmentation, and
    outlives a power cut, which is how many devices are switched off. ``locking_mode=EXCLUSIVE`` keeps a second process
    from delivering the same folder twice, and needs no shared memory.

    When the disk is full or fails, rows are kept in memory, so that nothing is delivered twice while this process
    lives, and are written with the next one.

    Args:
        path: the file, on a local disk; created with its folder when missing. A damaged one is set aside.

    Raises:
        SettingsError: the file cannot be opened, or is in use by another process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: dict[str, tuple[Settled, bool]] = {}
        try:
            make_folder(path.parent)
            self._connection = _open_or_begin_anew(path)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"the journal {path} cannot be opened, or is in use: {error}") from error

    def settle(self, settled: Settled, *, filed: bool) -> None:
        """Remember that a file is settled, and whether it is already where it is to stay."""
        self._unwritten[settled.path] = (settled, filed)
        try:
            self._connection.executemany(
                "INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (os.fsencode(s.path), *s.stamp, s.frame_id, s.reason, filed, s.unfinished)
                    for s, filed in self._unwritten.values()
                ],
            )
            self._connection.commit()
        except sqlite3.Error as error:
            self._connection.rollback()
            logger.error("The journal %s cannot be written (%s); %d rows are kept in memory",
                       self._path, error, len(self._unwritten))  # fmt: skip
        else:
            self._unwritten.clear()

    def knows(self, path: str, stamp: Stamp) -> bool:
        """Whether the file in this version is settled, by its stamp."""
        settled = self._find(path)
        return settled is not None and settled.stamp == stamp

    def knows_id(self, path: str, frame_id: str) -> bool:
        """Whether the file in this version is settled, by its content."""
        settled = self._find(path)
        return settled is not None and settled.frame_id == frame_id

    def unfiled(self) -> list[Settled]:
        """What was settled but not put away before the last process ended."""
        try:
            rows = self._connection.execute("SELECT * FROM settled WHERE filed = 0").fetchall()
        except sqlite3.Error as error:
            logger.error("the journal %s cannot be read (%s); files may be repeated", self._path, error)
            return []
        return [settled for row in rows if (settled := _settled(row)) is not None]

    def paths(self) -> Iterator[str]:
        """Every file that has a row."""
        try:
            rows = self._connection.execute("SELECT path FROM settled").fetchall()
        except sqlite3.Error as error:
            logger.error("the journal %s cannot be read (%s); rows of missing files stay", self._path, error)
            return
        for (path,) in rows:
            if isinstance(path, bytes):
                yield os.fsdecode(path)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop the rows of files that are no longer there."""
        gone = [(os.fsencode(path),) for path in paths]
        for (path,) in gone:
            self._unwritten.pop(os.fsdecode(path), None)
        try:
            self._connection.executemany("DELETE FROM settled WHERE path = ?", gone)
            self._connection.commit()
        except sqlite3.Error as error:
            self._connection.rollback()
            logger.error("The journal %s cannot be written (%s); rows of missing files stay", self._path, error)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._connection.close()

    def _find(self, path: str) -> Settled | None:
        if path in self._unwritten:
            return self._unwritten[path][0]
        try:
            row = self._connection.execute("SELECT * FROM settled WHERE path = ?", (os.fsencode(path),)).fetchone()
        except sqlite3.Error as error:
            logger.error("The journal %s cannot be read (%s); %r may be repeated", self._path, error, path)
            return None
        return _settled(row) if row else None


def _open_or_begin_anew(path: Path) -> sqlite3.Connection:
    try:
        return _open(path)
    except sqlite3.OperationalError as error:
        if not any(sign in str(error) for sign in _DAMAGE):
            raise
        return _begin_anew(path, error)
    except sqlite3.DatabaseError as error:
        return _begin_anew(path, error)


def _begin_anew(path: Path, error: sqlite3.Error) -> sqlite3.Connection:
    aside = path.with_name(path.name + ".damaged")
    logger.error("The journal %s is damaged (%s); set aside as %s, files may be repeated", path, error, aside)
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, check_same_thread=False)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and version != _VERSION:
            raise sqlite3.DatabaseError(f"expected a journal of version {_VERSION}, got version {version}")
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _settled(row: tuple[Any, ...]) -> Settled | None:
    """None of a row that bit rot has damaged: its file may be repeated."""
    path, mtime_ns, size, frame_id, reason, _, unfinished = row
    types = ((path, bytes), (mtime_ns, int), (size, int), (frame_id, str), (reason, str | None))
    if not all(isinstance(value, kind) for value, kind in types):
        logger.error("a row of the journal is damaged: %r", path)
        return None
    return Settled(os.fsdecode(path), Stamp(mtime_ns, size), frame_id, reason, bool(unfinished))
