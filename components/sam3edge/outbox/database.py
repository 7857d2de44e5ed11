"""The SQLite file under the outbox: how it is opened, owned, bounded and replaced when it is damaged.

* **Durability.** Write-ahead log with ``synchronous=FULL``: every commit is flushed to the medium before it returns.
  With ``NORMAL`` a power cut may take the last commits back although the file stays consistent, and by then the source
  has forgotten the frame. https://www.sqlite.org/pragma.html#pragma_synchronous
* **One owner.** ``locking_mode=EXCLUSIVE`` is set before the first access, so the lock is held until the process ends
  (the kernel releases it even after SIGKILL) and no shared-memory file is needed. A second owner is refused. To look
  into the file of a running component, copy it first.
* **Bounded.** ``max_page_count`` is the last line behind the outbox's own accounting, and free pages are given back to
  the file system step by step (``auto_vacuum=INCREMENTAL``). Pages are of 1 KiB because rows of 2 KiB waste half of
  larger ones.
* **Damage.** A file that SQLite cannot read is renamed to ``<name>.damaged`` (the one before is overwritten, so that
  damage that repeats cannot fill the disk).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sam3edge.core.errors import OutboxFull, PublishError, SettingsError
from sam3edge.durable import make_folder
from sam3edge.outbox import table

PAGE_BYTES = 1024
_LOCK_SECONDS = 1.0  # a predecessor that is being stopped may still hold the file for a moment
_JOURNAL_BYTES = 1 << 20
_VACUUM_PAGES = 2048
_DAMAGE = (
    "malformed",
    "not a database",
    "no such table",
    "no such column",
    "no such index",
    "unsupported file format",
    "SQL logic error",
    "datatype mismatch",
    "UNIQUE constraint failed",  # between a row and an index that does not know it
)
"""Texts by which SQLite says that the file is not what it was; a schema that has changed is damage, too."""


class DatabaseDamaged(Exception):
    """SQLite cannot read the file."""


class DiskFull(OutboxFull):
    """The file system, or the page bound, has no room left."""


class Database:
    """One connection, to be used by one thread at a time.

    Args:
        path: the file; its folder is created.
        max_bytes: the file never grows beyond this; the write-ahead log beside it takes about 1 MiB more, or what the
            largest transaction writes.

    Raises:
        SettingsError: another process owns the file, or it cannot be created.
        DatabaseDamaged: the file is not an outbox, or damaged; ``set_aside`` and open again.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        try:
            make_folder(path.parent)
            # Used under the outbox's lock by whichever thread comes; transactions are written out, hence no
            # isolation_level.
            self._connection = sqlite3.connect(
                path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.OperationalError) as error:
            raise SettingsError(f"The outbox {path} cannot be created: {error}") from error
        try:
            self._prepare(max_bytes)
        except PublishError as error:
            self._connection.close()
            if "readonly" in str(error) and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
                raise DatabaseDamaged(
                    str(error)
                ) from error  # by a flipped bit of its format, for nothing else forbids it
            raise
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, max_bytes: int) -> None:
        execute = self._connection.execute
        self._connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # checksums find damage
        with _translated():
            execute("PRAGMA locking_mode = EXCLUSIVE")
            execute(f"PRAGMA page_size = {PAGE_BYTES}")
            execute("PRAGMA auto_vacuum = INCREMENTAL")
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = FULL")
            execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
            execute(f"PRAGMA max_page_count = {max(max_bytes // PAGE_BYTES, 64)}")
            (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DatabaseDamaged(str(verdict))
            (version,) = execute("PRAGMA user_version").fetchone()
            (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version == 0 and tables == 0:
                with self.transaction() as db:
                    for statement in table.SCHEMA:
                        db.execute(statement)
            elif version != table.VERSION:
                raise DatabaseDamaged(f"expected an outbox of version {table.VERSION}, got version {version}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; durable when it ends without an error.

        Raises:
            DiskFull: nothing was written.
            DatabaseDamaged: SQLite cannot read the file.
            PublishError: any other failure of the file (an I/O error, a read-only file system).
        """
        with _translated():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                    self._connection.execute("ROLLBACK")
                raise

    def shrink(self) -> None:
        """Give a part of the free pages back, if they are worth it."""
        with _translated():
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            if free > _VACUUM_PAGES and 4 * free > pages:
                # ``execute`` would give back a single page: it stops at the first step, for there is nothing to fetch.
                self._connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._connection.close()


def set_aside(path: Path) -> Path:
    """Rename a closed database and its log out of the way, and return the new name.

    Raises:
        SettingsError: the folder does not allow it.
    """
    aside = path.with_name(path.name + ".damaged")
    try:
        path.replace(aside)
        logger = path.with_name(path.name + "-wal")
        if logger.exists():
            logger.replace(aside.with_name(aside.name + "-wal"))
    except OSError as error:
        raise SettingsError(f"The damaged outbox {path} cannot be renamed: {error}") from error
    return aside


@contextmanager
def _translated() -> Iterator[None]:
    """Map what SQLite raises. By message, because Python 3.10 gives no error codes; the texts are those of
    ``sqlite3_errstr`` and have been the same since SQLite 3.
    """
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "disk is full" in text:
            raise DiskFull(
                f"The disk under the outbox is full ({text}): free space, or lower its max_bytes."
            ) from error
        if "locked" in text:
            raise SettingsError(
                "The outbox belongs to another process. Expected one owner: give every component its own folder, or "
                "wait until the process before has ended."
            ) from error
        if any(sign in text for sign in _DAMAGE):
            raise DatabaseDamaged(text) from error
        raise PublishError(f"The outbox's database failed: {text}. Look at the disk and its permissions.") from error
