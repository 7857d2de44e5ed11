"""GeoPackages, one after the other: detections are collected in a hidden file, and become a GeoPackage together."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sam3edge.core.messages.topics import DETECTIONS
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.reassembly import key_of
from sam3edge.subscriber.sinks.files import require_folder
from sam3edge.subscriber.sinks.ndjson import NdjsonFile

MAX_BYTES = 64 << 20
SECONDS = 3600.0

WriteGeoPackage = Callable[[Path, Iterable[DeviceMessage]], None]
"""Writes the features of messages into a new file, whole or not at all; one that is there is replaced. A feature that
the file cannot hold is left out. Raises Sam3EdgeError when the file cannot be written."""


class GeoPackages:
    """Files ``detections-<time>-<digest>.gpkg`` with all that was collected until there was enough, an hour had passed,
    or the sink was closed.

    Args:
        folder: it is made with its first file.
        max_bytes: of messages that are collected for a file.
        seconds: that are waited before a file is written.
        clock: seconds, monotonic.

    Raises:
        SettingsError: the folder cannot be made, read or written.
    """

    topics: Mapping[str, int] = {DETECTIONS: 1}

    def __init__(
        self,
        folder: Path,
        write_geopackage: WriteGeoPackage,
        max_bytes: int = MAX_BYTES,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = require_folder(folder)
        self._write_geopackage = write_geopackage
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock
        # .1 is what becomes a GeoPackage now, .2 what has become the last one: it still says what was written
        self._collected = NdjsonFile(self._folder / ".collected.ndjson", (DETECTIONS,), files=3)
        self._since = clock()
        self._begun = False

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``."""
        if not self._begun:
            self._begun = True
            self._convert()
        if self._collected.size >= self._max_bytes or self._clock() - self._since >= self._seconds:
            self._finish()
        self._collected.write(messages)

    def close(self) -> None:
        """See ``Sink``."""
        try:
            if self._begun:
                self._finish()
        finally:
            self._collected.close()

    def _finish(self) -> None:
        self._since = self._clock()
        if self._collected.size:
            self._collected.rotate()
            self._convert()

    def _convert(self) -> None:
        """Whatever is being converted when a process ends is converted again by the next one, to the same name."""
        source = self._collected.rotated(1)
        if source.exists():
            self._write_geopackage(self._folder / _name(source), _messages(source))
            source.replace(self._collected.rotated(2))


def _messages(source: Path) -> Iterator[DeviceMessage]:
    with source.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


def _name(source: Path) -> str:
    """By what is in it first, so that it is the same every time."""
    first = next(_messages(source))
    time = re.sub(r"[^0-9T]", "", first["time"])[:15]
    return f"detections-{time}-{key_of(first)[:8]}.gpkg"
