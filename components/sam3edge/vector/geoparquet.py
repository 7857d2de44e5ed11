"""GeoParquet 1.1 (https://geoparquet.org/releases/v1.1.0): one table, places and outlines a column each.

``geometry`` is in degrees of WGS 84, longitude first, and ``image_geometry`` in pixels of the frame, origin top left,
y down, without a reference system. Readers that show one column show ``geometry``, or ``image_geometry`` where no
feature has a place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely
from shapely.geometry.base import BaseGeometry

from sam3edge.vector.layers import EARTH, PIXELS
from sam3edge.vector.rows import Row
from sam3edge.vector.style import Labels, write_sidecar
from sam3edge.vector.table import record_batch, schema

PLACE, OUTLINE = "geometry", "image_geometry"


class GeoParquet:
    """A ``Format``. Each ``write`` is a row group; none stays in memory.

    Args:
        metadata: of the schema of Arrow, by key.
    """

    def __init__(self, folder: Path, name: str, metadata: Mapping[str, str] | None = None) -> None:
        self._path = folder / name
        self._columns = {PLACE: _Column(), OUTLINE: _Column()}
        whole = schema(PLACE, OUTLINE).with_metadata(metadata)
        self._writer: Any = pq.ParquetWriter(self._path, whole, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        geometries = {PLACE: [row.place for row in rows], OUTLINE: [row.outline for row in rows]}
        for name, given in geometries.items():
            self._columns[name].see(given)
        self._writer.write_batch(record_batch(rows, geometries))

    def finish(self) -> None:
        """See ``Format``."""
        primary = OUTLINE if self._columns[OUTLINE].types and not self._columns[PLACE].types else PLACE
        described = {PLACE: EARTH, OUTLINE: PIXELS}
        self._writer.add_key_value_metadata({"geo": _geo(primary, self._columns), "sam3edge": json.dumps(described)})
        self._writer.close()

    def abandon(self) -> None:
        """See ``Format``."""
        self._writer.close()


class GeoParquetShard(GeoParquet):
    """One of a folder that is read as one table. What holds for every shard is in the schema of Arrow, too, where
    GeoPandas looks for a folder's ``geo``: without kinds of geometry and bounds, which the specification allows."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name, {"geo": _geo(PLACE, {PLACE: _Column(), OUTLINE: _Column()})})


class StyledGeoParquet(GeoParquet):
    """With its style beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self._labels = Labels()

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        self._labels.see(rows)
        super().write(rows)

    def finish(self) -> None:
        """See ``Format``."""
        super().finish()
        write_sidecar(self._path, self._labels, "MultiPolygon")


class _Column:
    """What the metadata say of a geometry column."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self._bounds = np.full(4, np.nan)

    def see(self, geometries: Sequence[BaseGeometry | None]) -> None:
        for geometry in geometries:
            if geometry is not None:
                self.types.add(geometry.geom_type + (" Z" if shapely.has_z(geometry) else ""))
        west, south, east, north = shapely.total_bounds(np.array([*geometries, None], object))
        low, high = np.fmin(self._bounds[:2], [west, south]), np.fmax(self._bounds[2:], [east, north])
        self._bounds = np.concatenate([low, high])

    def said(self) -> dict[str, Any]:
        box = {"bbox": self._bounds.tolist()} if np.isfinite(self._bounds).all() else {}
        return {"encoding": "WKB", "geometry_types": sorted(self.types), **box}


def _geo(primary: str, columns: Mapping[str, _Column]) -> str:
    """GeoParquet's metadata of a file."""
    said = {PLACE: columns[PLACE].said(), OUTLINE: {**columns[OUTLINE].said(), "crs": None}}
    return json.dumps({"version": "1.1.0", "primary_column": primary, "columns": said})
