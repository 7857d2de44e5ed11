"""Rows as Arrow's record batches, which GDAL and Parquet take whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import shapely
from shapely.geometry.base import BaseGeometry

from sam3edge.vector.rows import COLUMNS, Row

_TYPES = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64(), "time": pa.timestamp("ms", "UTC")}


def schema(*geometries: str) -> Any:
    """The ``pyarrow.Schema`` of all columns, and of these geometry columns as WKB."""
    columns = [pa.field(name, _TYPES[kind]) for name, kind in COLUMNS.items()]
    return pa.schema([*columns, *(pa.field(name, pa.binary()) for name in geometries)])


def record_batch(rows: Sequence[Row], geometries: Mapping[str, Sequence[BaseGeometry | None]]) -> Any:
    """A ``pyarrow.RecordBatch`` of ``schema``.

    Args:
        geometries: by column, one a row.
    """
    whole = schema(*geometries)
    columns = [pa.array([row.values.get(name) for row in rows], whole.field(name).type) for name in COLUMNS]
    binary = [pa.array(shapely.to_wkb(list(given)), pa.binary()) for given in geometries.values()]
    return pa.RecordBatch.from_arrays([*columns, *binary], schema=whole)
