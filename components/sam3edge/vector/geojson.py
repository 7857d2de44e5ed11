"""GeoJSON (RFC 7946): one FeatureCollection, a line a feature, with OversightML's properties as they were.

Attributes are added to the properties under the names that they have in other formats. Features without a place keep
their outline in ``imageGeometry``, for GeoJSON has no coordinates but those on Earth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from shapely.geometry import mapping

from sam3edge.core.messages.envelope import timestamp, to_json
from sam3edge.vector.rows import Row
from sam3edge.vector.style import Labels, write_sidecar

BEGINNING = b'{"type":"FeatureCollection","generator":"sam3edge convert","features":[\n'
"""By which our own files are known when detections are looked for."""


class GeoJson:
    """A ``Format``. It holds no feature in memory."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._labels = Labels()
        self._file = self._path.open("wb")
        self._between = BEGINNING

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        for row in rows:
            self._file.write(self._between + to_json(_feature(row)))
            self._between = b",\n"
        self._labels.see(rows)

    def finish(self) -> None:
        """See ``Format``."""
        start = b"" if self._between == b",\n" else self._between
        self._file.write(start + b"\n]}\n")
        self._file.close()
        write_sidecar(self._path, self._labels, "MultiPolygon")

    def abandon(self) -> None:
        """See ``Format``."""
        self._file.close()


def _feature(row: Row) -> Mapping[str, Any]:
    known = {name: timestamp(v) if isinstance(v, datetime) else v for name, v in row.values.items() if name != "other"}
    place = row.feature.get("geometry")
    if place is None and row.place is not None:
        place = mapping(row.place)
    head = {name: row.feature[name] for name in ("id", "bbox") if row.feature.get(name) is not None}
    return {
        "type": "Feature",
        **head,
        "geometry": place,
        "properties": {**(row.feature.get("properties") or {}), **known},
    }
