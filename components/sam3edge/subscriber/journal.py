"""What a listener has taken over from the broker and not finished, and what it has finished: on disk, so that a kill
loses and repeats nothing.

SQLite with a write-ahead log and ``synchronous=FULL``: what a method did is on the medium when it returns
(https://www.sqlite.org/pragma.html#pragma_synchronous). The file has one owner at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.reassembly import DEFAULT_BOUNDS, key_of

_APPLICATION = int.from_bytes(b"s3eL", "big")
"""Says whose file it is, https://www.sqlite.org/fileformat2.html#application_id."""

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE open (seq INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE INDEX open_key ON open (key)",
    "CREATE TABLE finished (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_TABLES = {"open", "finished"}
_HEADER, _MAGIC, _APPLICATION_AT = 100, b"SQLite format 3\0", 68


class Journal(Protocol):
    """What a listener remembers. Keys are those of ``key_of``."""

    def finished(self) -> Sequence[str]:
        """Keys of messages that are finished, the newest last."""

    def open(self) -> Sequence[DeviceMessage]:
        """Messages that were added and neither finished nor dropped, in the order in which they were added."""

    def add(self, messages: Sequence[DeviceMessage]) -> None:
        """Take messages over."""

    def settle(self, finished: Iterable[str], dropped: Iterable[str]) -> None:
        """Forget all messages of these keys; the first are known as finished from now on."""

    def close(self) -> None:
        """Release the file."""


class NoJournal:
    """For a listener that may forget: nothing is kept."""

    def finished(self) -> Sequence[str]:
        """None."""
        return ()

    def open(self) -> Sequence[DeviceMessage]:
        """None."""
        return ()

    def add(self, messages: Sequence[DeviceMessage]) -> None:
        """Nothing happens."""

    def settle(self, finished: Iterable[str], dropped: Iterable[str]) -> None:
        """Nothing happens."""

    def close(self) -> None:
        """Nothing happens."""


class DiskJournal:
    """See ``Journal``. For one thread at a time.

    Args:
        path: the file; its folder is made.
        remembered: keys that are known as finished, at most.

    Raises:
        SettingsError: it cannot be opened, another process owns it, or it is not a journal.
    """

    def __init__(self, path: Path, remembered: int = DEFAULT_BOUNDS.remembered) -> None:
        self._path = path
        self._remembered = remembered
        try:
            _require_ours(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            if "locked" in str(error):
                raise SettingsError(
                    f"{path} belongs to another listener; expected a folder for each of them"
                ) from error
            raise SettingsError(f"{path} cannot be used as the journal of a listener: {error}") from error

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == 0 and not tables:
            self._db.execute("BEGIN EXCLUSIVE")
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute("COMMIT")  # before there is a write-ahead log: the file itself is to say whose it is
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"expected version {_VERSION}, got {version}")
        elif not tables >= _TABLES:
            raise sqlite3.DatabaseError(f"expected the tables {' and '.join(sorted(_TABLES))}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")  # takes the lock, which is kept
        self._db.execute("COMMIT")

    def finished(self) -> Sequence[str]:
        """See ``Journal``."""
        with self._translated():
            return [key for (key,) in self._db.execute("SELECT key FROM finished ORDER BY seq")]

    def open(self) -> Sequence[DeviceMessage]:
        """See ``Journal``."""
        with self._translated():
            return [json.loads(body) for (body,) in self._db.execute("SELECT body FROM open ORDER BY seq")]

    def add(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Journal``.

        Raises:
            SubscriptionError: the disk is full or fails; nothing was added.
        """
        with self._transaction():
            rows = [(key_of(message), to_json(message)) for message in messages]
            self._db.executemany("INSERT INTO open (key, body) VALUES (?, ?)", rows)

    def settle(self, finished: Iterable[str], dropped: Iterable[str]) -> None:
        """See ``Journal``.

        Raises:
            SubscriptionError: the disk is full or fails; nothing was changed.
        """
        done, gone = [(key,) for key in finished], [(key,) for key in dropped]
        with self._transaction():
            self._db.executemany("DELETE FROM open WHERE key = ?", done + gone)
            self._db.executemany("INSERT OR IGNORE INTO finished (key) VALUES (?)", done)
            self._db.execute(
                "DELETE FROM finished WHERE seq <= (SELECT max(seq) FROM finished) - ?", (self._remembered,)
            )

    def close(self) -> None:
        """See ``Journal``."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._db.execute("BEGIN")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite has rolled back by itself after some errors
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SubscriptionError(f"{self._path} cannot be read or written: {error}") from error


def _require_ours(path: Path) -> None:
    """By the file's first bytes: SQLite itself would finish what another program had begun."""
    if not path.exists():
        return
    with path.open("rb") as stream:
        header = stream.read(_HEADER)
    ours = _APPLICATION.to_bytes(4, "big")
    if header and not (header.startswith(_MAGIC) and header[_APPLICATION_AT : _APPLICATION_AT + 4] == ours):
        raise sqlite3.DatabaseError("expected a journal, got another file, which stays as it is")
