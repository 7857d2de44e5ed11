"""The outbox's database as something that does not end: damage is set aside, a full disk has a reserve."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sam3edge.core.errors import PublishError
from sam3edge.outbox import table
from sam3edge.outbox.database import Database, DatabaseDamaged, DiskFull, set_aside
from sam3edge.outbox.reserve import Reserve
from sam3edge.outbox.salvage import salvage
from sam3edge.outbox.table import Row

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Storage:
    """Runs transactions. Used by one thread at a time.

    Args:
        path: the database file; its folder is created.
        max_bytes: the file never grows beyond this.
        on_replaced: called when the file was found damaged while it was open, and what could be read of it is in a new
            one: no place in the queue means what it meant.

    Raises:
        SettingsError: another process owns the file, or it cannot be created.
        DiskFull: there is no room even to open it.

    Attributes:
        set_aside: files and rows that were found damaged and taken out.
    """

    def __init__(self, path: Path, max_bytes: int, on_replaced: Callable[[], None]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._on_replaced = on_replaced
        self._reserve = Reserve(path.with_name(path.name + ".reserve"))
        self._closed = False
        self.set_aside = 0
        try:
            self._fill([])
        except DatabaseDamaged as error:
            self._fill(self._save(error))

    def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction, on a new database if the one at hand turns out to be damaged.

        Args:
            operation: changes nothing in memory: it may be rolled back, or run twice.

        Raises:
            DiskFull: nothing was written.
            PublishError: the storage is closed, or any other failure of the file.
        """
        if self._closed:
            raise PublishError(f"the outbox {self._path} is closed")
        try:
            with self._database.transaction() as db:
                return operation(db)
        except DatabaseDamaged as error:
            self._database.close()
            self._fill(self._save(error))
            self._on_replaced()
        with self._database.transaction() as db:
            return operation(db)

    def run_freeing(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """``run``, for what gives room back: on a full disk it may use up the reserve."""
        try:
            return self.run(operation)
        except DiskFull:
            if not self._reserve.release():
                raise
            return self.run(operation)

    def require_reserve(self) -> None:
        """Refuse to take room while there is no reserve.

        Raises:
            DiskFull: the disk has no room for it.
        """
        if not self._reserve.make():
            raise DiskFull("The disk under the outbox is full: free space, or lower its max_bytes.")

    def shrink(self) -> None:
        """Give free pages back and take the reserve again, if possible; damage shows in the next transaction."""
        with suppress(DatabaseDamaged, DiskFull):
            self._database.shrink()
        self._reserve.make()

    def drop_damaged(self, row: Row) -> None:
        """Take a row out whose checksum is wrong."""
        self.run(lambda db: table.delete(db, [table.Entry(row.seq, row.cost, row.created_at)]))
        self.set_aside += 1
        logger.error("a row of the outbox is damaged and taken out: its checksum is wrong; it was number %d", row.seq)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._closed = True
        self._database.close()

    def _fill(self, saved: Sequence[Row]) -> None:
        """Open the file, with rows that were saved from one before it; what was rejected is queued again."""
        self._database = self._open()
        with self._database.transaction() as db:
            for row in saved:
                table.insert_row(db, row)
            _, _, last = table.totals(db)
            table.restore(db, last + 1)
        self._reserve.make()

    def _open(self) -> Database:
        try:
            return Database(self._path, self._max_bytes)
        except DiskFull:  # SQLite has to write what it finds in its log
            if not self._reserve.release():
                raise
            return Database(self._path, self._max_bytes)

    def _save(self, error: DatabaseDamaged) -> list[Row]:
        aside = set_aside(self._path)
        self.set_aside += 1
        saved = salvage(aside)
        logger.error(
            "the outbox %s was damaged (%s): it is now %s; %d messages of it could be read and go into a new one",
            self._path,
            error,
            aside,
            len(saved),
        )
        return saved
