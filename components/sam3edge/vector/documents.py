"""Detections in files: GeoJSON documents, and lines of them, as devices publish and ``sam3edge detect`` writes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sam3edge.core.errors import VectorFileError
from sam3edge.vector.geojson import BEGINNING
from sam3edge.vector.rows import features_of

_log = logging.getLogger(__name__)

DOCUMENTS = frozenset({".geojson", ".json"})
LINES = frozenset({".ndjson", ".jsonl", ".geojsonl", ".geojsons"})
"""Suffixes, in lower case, of files that hold one document, and of those that hold one a line."""

MAX_DOCUMENT = 256 << 20
"""Bytes of a document, which is read whole."""

MAX_REMEMBERED = 200_000
"""Messages whose repetition is recognised: a device that starts again sends its last hundred once more."""

OnRefused = Callable[[str], None]
"""Called with the reason for what is left out."""


def files_in(paths: Iterable[Path], out: Path) -> list[Path]:
    """The files that were named, and those of folders that were, at any depth, by name.

    Args:
        out: what is written from them; in a folder it is left out, as are COCO's documents and what ``GeoJson`` wrote,
            which holds the features of others once more.

    Raises:
        VectorFileError: a path is not there, or a folder holds no such file.
    """
    return [file for path in paths for file in _files_in(path, out)]


class Messages:
    """The features of files, with what their messages say of all of them. What is bad costs nothing but itself.

    Args:
        on_refused: is told of it.

    Attributes:
        repeated: messages that were read before and are left out.
        passed_over: messages that are not of detections.
    """

    def __init__(self, on_refused: OnRefused) -> None:
        self.repeated = 0
        self.passed_over = 0
        self._on_refused = on_refused
        self._seen: dict[tuple[str, str], None] = {}

    def features(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Those of one file; a feature may be anything but is an element of a collection."""
        for place, document in self._documents(path):
            if not isinstance(document, Mapping):
                self._on_refused(f"{place}: expected a GeoJSON object, got {type(document).__name__}")
            elif document.get("message_type", "detections") != "detections":
                self.passed_over += 1
            elif document.get("type") == "Feature":
                yield document
            elif not isinstance(document.get("features"), list):
                self._on_refused(
                    f"{place}: expected a FeatureCollection or a Feature, got {document.get('type')!r:.40}"
                )
            elif self._is_repetition(document):
                self.repeated += 1
            else:
                yield from features_of(document)

    def _documents(self, path: Path) -> Iterator[tuple[str, Any]]:
        """With where each is, for error messages."""
        if path.suffix.lower() in LINES:
            yield from self._lines(path)
            return
        try:
            with path.open("rb") as file:
                data = file.read(MAX_DOCUMENT + 1)
            if len(data) > MAX_DOCUMENT:
                self._on_refused(
                    f"{path}: expected at most {MAX_DOCUMENT} bytes, which are read at once; write a feature a line "
                    "into a file that ends in .geojsonl, as ogr2ogr -f GeoJSONSeq does"
                )
                return
            yield str(path), json.loads(data)
        except OSError as error:
            self._on_refused(f"{path} cannot be read: {error.strerror}")
        except (ValueError, RecursionError) as error:
            self._on_refused(f"{path} is not JSON: {error}; documents in lines end in {', '.join(sorted(LINES))}")

    def _lines(self, path: Path) -> Iterator[tuple[str, Any]]:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(MAX_DOCUMENT), b""), 1):
                    text = line.strip().lstrip(b"\x1e")  # RFC 8142 has one before each
                    if not text:
                        continue
                    try:
                        yield f"{path}, line {number}", json.loads(text)
                    except (ValueError, RecursionError) as error:
                        self._on_refused(f"{path}, line {number} is not JSON: {error}")
        except OSError as error:
            self._on_refused(f"{path} cannot be read: {error.strerror}")

    def _is_repetition(self, message: Mapping[str, Any]) -> bool:
        """Whether a message of this id was here. One of other prompts is another: a second run of ``sam3edge detect``
        may have asked for them."""
        if not isinstance(message.get("id"), str) or "message_type" not in message:
            return False
        key = message["id"], json.dumps(message.get("prompts"))
        known = key in self._seen
        self._seen[key] = None
        if len(self._seen) > MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return known


def _files_in(path: Path, out: Path) -> list[Path]:
    if not path.exists():
        raise VectorFileError(f"{path} is not there")
    if not path.is_dir():
        return [path]
    written = out.resolve()
    candidates = sorted(file for file in path.rglob("*") if _holds_detections(file) and file.resolve() != written)
    found = [file for file in candidates if not _was_converted(file)]
    if not found:
        ends = ", ".join(sorted(DOCUMENTS | LINES))
        raise VectorFileError(
            f"{path} holds no detections: none of its files ends in {ends}, but for those that sam3edge convert wrote, "
            "which are taken where they are named themselves"
        )
    return found


def _holds_detections(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith((*DOCUMENTS, *LINES)) and not name.endswith(".coco.json") and file.is_file()


def _was_converted(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            known = stream.read(len(BEGINNING)) == BEGINNING
    except OSError:  # is told when it is read
        return False
    if known:
        _log.warning("%s was written by sam3edge convert and is left out; name it itself if it is meant", file)
    return known
