"""What was found in tiles, kept in a file, so that a run that was ended goes on where it was.

An SQLite database: what is kept of a tile is kept whole or not at all, whenever the process or the computer stops. One
file may serve several runs; each finds its own by its key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import shapely

from sam3edge.core.errors import SettingsError
from sam3edge.durable import make_folder
from sam3edge.rasters.grid import Tile
from sam3edge.rasters.joining import Part

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tiles (
  run TEXT, look INTEGER, row INTEGER, "column" INTEGER, found TEXT NOT NULL, PRIMARY KEY (run, look, row, "column")
) WITHOUT ROWID
"""


_DIGITS = 16
"""Of the digest before what is kept of a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in one tile.

    Attributes:
        parts: in pixels of the look's grid.
        unsupported_prompts: as in ``EngineOutput``.
    """

    parts: Sequence[Part]
    unsupported_prompts: Mapping[str, str]


class Checkpoint:
    """An opened checkpoint. Used by one thread."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database, self._path = database, path
        self._is_damaged = False

    def found(self, run: str, look: int, tile: Tile) -> Found | None:
        """What was kept of a tile; None where nothing was, or where it is damaged: then the tile is looked at again.

        Raises:
            SettingsError: the file cannot be read.
        """
        query = 'SELECT found FROM tiles WHERE run = ? AND look = ? AND row = ? AND "column" = ?'
        with self._in_words():
            row = self._database.execute(query, (run, look, *tile)).fetchone()
        if row is None:
            return None
        found = _read(row[0])
        if found is None and not self._is_damaged:
            self._is_damaged = True  # is said once, not for each tile
            _log.warning("%s is damaged; tiles of which it keeps nothing of use are looked at again", self._path)
        return found

    def keep(self, run: str, look: int, tile: Tile, found: Found) -> None:
        """Keep what was found in a tile.

        Raises:
            SettingsError: it cannot be written.
        """
        with self._in_words(), self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?)", (run, look, *tile, _written(found))
            )

    def remove(self) -> None:
        """It is not needed any more: remove the file, which nothing can be kept in then.

        Raises:
            SettingsError: that is not possible.
        """
        with self._in_words():
            self._database.close()
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        with _in_words(self._path):
            yield


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """The checkpoint in this file, which is made with its folder if it is not there.

    Raises:
        SettingsError: it is another file, or cannot be written.
    """
    with _in_words(path):
        make_folder(path.absolute().parent)
        database = sqlite3.connect(path, timeout=10.0)
    with closing(database):
        with _in_words(path):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_SCHEMA)
        yield Checkpoint(database, path)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        # of sqlite3's errors this one is of the file, its subclasses are of the disk, permissions and other programs
        is_damaged = type(error) is sqlite3.DatabaseError
        what_to_do = (
            "name another, or remove it if it was one"
            if is_damaged
            else "see that there is room, that it may be written and is no other program's, and start again: what it "
            "keeps is not lost"
        )
        raise SettingsError(f"the checkpoint {path} cannot be used: {error}; {what_to_do}") from error


def _written(found: Found) -> str:
    """The numbers of outlines bit by bit, so that what is put together of them is the same again; and before them a
    digest, by which damage is known."""
    parts = [[part.prompt, part.score, shapely.to_wkb(part.outline, hex=True)] for part in found.parts]
    document = json.dumps({"parts": parts, "unsupported_prompts": dict(found.unsupported_prompts)})
    return _digest(document) + document


def _read(written: object) -> Found | None:
    """None if it is damaged."""
    digest, document = str(written)[:_DIGITS], str(written)[_DIGITS:]
    if digest != _digest(document):
        return None
    kept = json.loads(document)
    parts = [Part(prompt, score, shapely.from_wkb(outline)) for prompt, score, outline in kept["parts"]]
    return Found(parts, kept["unsupported_prompts"])


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
