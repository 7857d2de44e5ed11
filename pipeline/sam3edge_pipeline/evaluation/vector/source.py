"""Vector files of any format that GDAL reads, and GeoParquet, in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError

from sam3edge.core.errors import VectorFileError
from sam3edge.vector.layers import AREAS

BATCH = 4096
"""Features that are read at once."""

OURS = AREAS.name
"""The layer of places in our own files."""

PARQUET = frozenset({".parquet", ".geoparquet"})


@dataclass(frozen=True, slots=True)
class VectorSource:
    """Where areas come from.

    Attributes:
        path: a file, or a folder that is a data set.
        layer: which of several; empty where there is one, or ours among them.
        crs: where the file names none, as PROJ reads it; empty where it does.
    """

    path: Path
    layer: str = ""
    crs: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VectorTable:
    """An open layer.

    Attributes:
        name: of the file, and of the layer where there are several.
        crs: of its geometries.
        batches: geometries as WKB (None for null), and attributes by name.
    """

    name: str
    crs: CRS
    batches: Iterator[tuple[npt.NDArray[np.object_], dict[str, list[Any]]]]


@contextmanager
def open_vector(source: VectorSource, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[VectorTable]:
    """Open a layer to read these attributes of it.

    Args:
        optional: attributes that are read where they are there.

    Raises:
        VectorFileError: it cannot be read, has no such layer or attribute, or no reference system.
    """
    path = source.path
    if not path.exists():
        raise VectorFileError(f"{path} is not there")
    reader = _parquet if path.suffix.lower() in PARQUET else _gdal
    try:
        with reader(source, columns, optional) as table:
            yield table
    except (DataSourceError, DataLayerError, pa.ArrowException, OSError) as error:
        raise VectorFileError(f"{path.name} cannot be read as vector data: {error}") from error


@contextmanager
def _gdal(source: VectorSource, columns: Sequence[str], optional: Sequence[str]) -> Iterator[VectorTable]:
    layer, several = _layer_of(source)
    info = pyogrio.read_info(source.path, layer=layer)
    known = tuple(map(str, info["fields"]))
    columns = _wanted(columns, optional, known, source.path)
    name = f"{source.path.name}, layer {layer}" if several else source.path.name
    crs = _crs_of(info["crs"] or source.crs, name)
    with pyogrio.open_arrow(source.path, layer=layer, columns=list(columns), batch_size=BATCH, use_pyarrow=True) as (
        meta,
        reader,
    ):
        geometry = meta["geometry_name"] or "wkb_geometry"
        yield VectorTable(name, crs, (_batch(one, geometry, columns) for one in reader))


@contextmanager
def _parquet(source: VectorSource, columns: Sequence[str], optional: Sequence[str]) -> Iterator[VectorTable]:
    with pq.ParquetFile(source.path) as file:
        geo = (file.metadata.metadata or {}).get(b"geo")
        if geo is None:
            raise VectorFileError(f"{source.path.name} is Parquet without the metadata of GeoParquet")
        geometry, others, named = _geometries_of(geo, source.path)
        known = tuple(name for name in file.schema_arrow.names if name not in others)
        columns = _wanted(columns, optional, known, source.path)
        crs = _crs_of(source.crs if named is None else named, source.path.name)
        batches = file.iter_batches(BATCH, columns=[geometry, *columns])
        yield VectorTable(source.path.name, crs, (_batch(one, geometry, columns) for one in batches))


def _geometries_of(geo: bytes, path: Path) -> tuple[str, Sequence[str], Any]:
    """The column to read, all columns of geometries, and the reference system of the one: GeoParquet's default where
    nothing is said, None where it is said that there is none."""
    try:
        document = json.loads(geo)
        geometry = str(document["primary_column"])
        described = document["columns"][geometry]
        encoding, crs = described["encoding"], described.get("crs", "OGC:CRS84")
        names = list(document["columns"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VectorFileError(f"{path.name} has not the metadata of GeoParquet: {error!r}") from error
    if encoding != "WKB":
        raise VectorFileError(f"expected geometries as WKB in {path.name}, got {encoding}")
    return geometry, names, crs


def _batch(batch: Any, geometry: str, columns: Sequence[str]) -> tuple[npt.NDArray[np.object_], dict[str, list[Any]]]:
    binary = np.array([*batch.column(geometry).to_pylist(), None], object)[:-1]
    return binary, {name: batch.column(name).to_pylist() for name in columns}


def _layer_of(source: VectorSource) -> tuple[str, bool]:
    """The layer's name, and whether there are others."""
    with_geometry = [str(name) for name, kind in pyogrio.list_layers(source.path) if kind is not None]
    if source.layer:
        if source.layer not in with_geometry:
            raise VectorFileError(
                f"{source.path.name} has no layer {source.layer!r} with geometries; it has {', '.join(with_geometry)}"
            )
        return source.layer, len(with_geometry) > 1
    if not with_geometry:
        raise VectorFileError(f"{source.path.name} has no layer with geometries")
    if len(with_geometry) == 1:
        return with_geometry[0], False
    if OURS in with_geometry:
        return OURS, True
    raise VectorFileError(f"{source.path.name} has several layers, say which: {', '.join(with_geometry)}")


def _wanted(columns: Sequence[str], optional: Sequence[str], known: Sequence[str], path: Path) -> list[str]:
    absent = [name for name in columns if name not in known]
    if absent:
        raise VectorFileError(
            f"{path.name} has no attribute {', '.join(map(repr, absent))}; it has {', '.join(known) or 'none'}"
        )
    return [*columns, *(name for name in optional if name in known)]


def _crs_of(crs: Any, name: str) -> CRS:
    if not crs:
        raise VectorFileError(
            f"{name} names no reference system; write it by ogr2ogr -a_srs EPSG:..., or say the truth's by --truth-crs"
        )
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise VectorFileError(f"PROJ does not know the reference system of {name}, {str(crs)[:80]}") from error
    if known.is_engineering or known.name.startswith("Undefined"):
        raise VectorFileError(f"{name} is in {known.name}, such as pixels; expected coordinates on Earth")
    return known
