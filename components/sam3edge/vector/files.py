"""Features into a file, in the format that its name ends in.

    .gpkg                 GeoPackage, with the style in it
    .fgb                  FlatGeobuf
    .parquet .geoparquet  GeoParquet
    .geojson              GeoJSON
    .coco.json            COCO instances

Features are those of detections messages, with what their message says of all of them (``rows.features_of``). A file
gets its name when it is whole: until then it grows in a hidden folder beside its place, which goes with an error, or
with the next writer of the same file where a process was killed.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pyarrow as pa
from pyogrio.errors import DataLayerError, DataSourceError

from sam3edge.core.errors import VectorFileError
from sam3edge.durable import make_folder, move_file, sync_tree
from sam3edge.vector.coco import Coco, labeled_row_of
from sam3edge.vector.drafts import Draft
from sam3edge.vector.flatgeobuf import FlatGeobuf
from sam3edge.vector.geojson import GeoJson
from sam3edge.vector.geopackage import GeoPackage
from sam3edge.vector.geoparquet import StyledGeoParquet
from sam3edge.vector.rows import Row, row_of
from sam3edge.vector.style import is_anothers_style

_log = logging.getLogger(__name__)

MAX_ROWS, MAX_BYTES = 4096, 16 << 20
"""Rows, and bytes of their geometries, that are in memory before they are written."""

_FAILURES = (OSError, DataSourceError, DataLayerError, pa.ArrowException, sqlite3.Error)


class Format(Protocol):
    """Writes rows into files of one format, in a folder of its own. Used by one thread."""

    def write(self, rows: list[Row]) -> None:
        """Write these rows, one or more."""

    def finish(self) -> None:
        """Make the files whole and close them; nothing else is in the folder then."""

    def abandon(self) -> None:
        """Close what is open; the files are given up. What is raised here is passed over."""


@dataclass(frozen=True, slots=True)
class FormatKind:
    """What a file name's end means.

    Attributes:
        open: begins a file of this name in a folder.
        row_of: reads a feature for it.
    """

    open: Callable[[Path, str], Format]
    row_of: Callable[[Mapping[str, Any]], Row] = row_of


FORMATS: Mapping[str, FormatKind] = {
    ".gpkg": FormatKind(GeoPackage),
    ".fgb": FormatKind(FlatGeobuf),
    ".parquet": FormatKind(StyledGeoParquet),
    ".geoparquet": FormatKind(StyledGeoParquet),
    ".geojson": FormatKind(GeoJson),
    ".coco.json": FormatKind(Coco, labeled_row_of),
}


def write_features(path: Path, features: Iterable[Mapping[str, Any]]) -> int:
    """Write a file, whole or not at all; one of this name is replaced.

    Args:
        path: its end says the format, see above.
        features: GeoJSON features; they are not kept in memory.

    Returns:
        How many there were.

    Raises:
        VectorFileError: an unknown format, or it could not be written.
        FeatureRefused: one of them is not a feature, or not one for this format.
    """
    with FeatureWriter(path) as writer:
        writer.write(features)
    return writer.count


class FeatureWriter:
    """A file that features come into little by little. It gets its name when it is closed.

    As a context it is closed at the end, and given up when an exception leaves it.

    Args:
        path: its folder is made.
        kind: its format; by default what its end says.

    Attributes:
        count: features so far.
        files: what was written, sidecars included; empty before ``close``.

    Raises:
        VectorFileError: an unknown format, or nothing can be written there.
    """

    def __init__(self, path: Path, kind: FormatKind | None = None) -> None:
        kind = kind or format_of(path)
        self.count = 0
        self.files: tuple[Path, ...] = ()
        self._path = path
        self._row_of = kind.row_of
        self._rows: list[Row] = []
        self._bytes = 0
        with self._in_words():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            make_folder(path.parent)
            self._draft = Draft(path)
            try:
                self._format = kind.open(self._draft.folder, path.name)
            except _FAILURES:
                self._draft.remove()
                raise

    def write(self, features: Iterable[Mapping[str, Any]]) -> None:
        """Add features.

        Raises:
            FeatureRefused: one cannot be written. Those before it are in the file, and more can be written.
            VectorFileError: the disk is full, or the like; the writer is of no more use.
        """
        for feature in features:
            row = self._row_of(feature)
            self._rows.append(row)
            self._bytes += row.bytes
            self.count += 1
            if len(self._rows) >= MAX_ROWS or self._bytes >= MAX_BYTES:
                self._flush()

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            VectorFileError: it could not be; what was there before is still there.
        """
        try:
            with self._in_words():
                self._flush()
                self._format.finish()
                sync_tree(self._draft.folder)
                self.files = tuple(reversed([target for file in self._finished() if (target := self._placed(file))]))
        except VectorFileError:
            self.abort()
            raise
        self._draft.remove()

    def abort(self) -> None:
        """Give the file up; what was there before is still there."""
        with suppress(*_FAILURES):
            self._format.abandon()
        self._draft.remove()

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def _flush(self) -> None:
        if self._rows:
            with self._in_words():
                self._format.write(self._rows)
            self._rows, self._bytes = [], 0

    def _finished(self) -> list[Path]:
        """The file itself comes last: who sees it sees its style, too."""
        return sorted(self._draft.files(), key=lambda file: file.name == self._path.name)

    def _placed(self, file: Path) -> Path | None:
        """Where a file is now; None for a style that gave way to somebody's own."""
        target = self._path.with_name(file.name)
        if is_anothers_style(target):
            _log.warning("%s is a style of your own and is left as it is", target)
            return None
        move_file(file, target)
        return target

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            reason = getattr(error, "strerror", None) or error
            raise VectorFileError(f"{self._path} cannot be written: {reason}; nothing of it is left") from error


def format_of(path: Path) -> FormatKind:
    """By the end of a file's name, in lower or upper case.

    Raises:
        VectorFileError: it is none of ``FORMATS``.
    """
    for end, kind in FORMATS.items():
        if path.name.lower().endswith(end) and len(path.name) > len(end):
            return kind
    raise VectorFileError(f"expected a file that ends in {', '.join(FORMATS)}, got {path.name}")
