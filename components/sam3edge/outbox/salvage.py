"""What can still be read of an outbox that SQLite calls damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sam3edge.outbox.table import Row, all_rows


def salvage(path: Path) -> list[Row]:
    """The sound rows, from both ends up to the damage, in the order of the queue."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return []
    try:
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        found: dict[int, Row] = {}
        for ascending in (True, False):
            _collect(connection, ascending, found)
    finally:
        connection.close()
    return [found[seq] for seq in sorted(found)]


def _collect(connection: sqlite3.Connection, ascending: bool, found: dict[int, Row]) -> None:
    try:
        for row in all_rows(connection, ascending):
            if row.seq in found:
                return
            if row.is_sound:
                found[row.seq] = row
    except (sqlite3.Error, ValueError, OverflowError):
        return  # as far as it goes from this end
