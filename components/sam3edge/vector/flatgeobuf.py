"""FlatGeobuf (https://flatgeobuf.org): a file a layer, with a spatial index that readers use over HTTP.

The format is written in one go, with the index before the features. So the rows wait in files until there are no more;
GDAL then holds the index in memory, a box and a number for each feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from sam3edge.vector.gdal import append
from sam3edge.vector.layers import AREAS, Layer, by_layer, geometries_of
from sam3edge.vector.rows import Row
from sam3edge.vector.style import Labels, write_sidecar
from sam3edge.vector.table import record_batch, schema

GEOMETRY = "geometry"


class FlatGeobuf:
    """A ``Format``. The first layer has the name that was asked for, others have what they hold in theirs, too."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._waiting: dict[Layer, _Waiting] = {}

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        for layer, members in by_layer(rows).items():
            self._of(layer).write(layer, members)

    def finish(self) -> None:
        """See ``Format``."""
        if not self._waiting:
            self._of(AREAS)
        first, *others = sorted(self._waiting)
        self._write(first, self._path)
        for layer in others:
            self._write(layer, self._path.with_stem(self._path.stem + layer.marks))

    def abandon(self) -> None:
        """See ``Format``."""
        for waiting in self._waiting.values():
            waiting.close()

    def _of(self, layer: Layer) -> _Waiting:
        if layer not in self._waiting:
            self._waiting[layer] = _Waiting(self._path.with_name(f"{layer.name}.arrows"))
        return self._waiting[layer]

    def _write(self, layer: Layer, path: Path) -> None:
        waiting = self._waiting[layer]
        waiting.close()
        options = {
            "TITLE": layer.name,
            "DESCRIPTION": layer.description,
            "SPATIAL_INDEX": "NO" if waiting.nowhere else "YES",  # the index admits only what is somewhere
        }
        with pa.OSFile(str(waiting.path)) as file, pa.ipc.open_stream(file) as reader:
            append(path, "FlatGeobuf", layer.name, layer.geometry_type, layer.crs, reader, GEOMETRY, options)
        waiting.path.unlink()
        write_sidecar(path, waiting.labels, layer.kind)


class _Waiting:
    """The rows of a layer, in a file of Arrow's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.labels = Labels()
        self.nowhere = 0
        self._file = pa.OSFile(str(path), "wb")
        self._stream: Any = pa.ipc.new_stream(self._file, schema(GEOMETRY))

    def write(self, layer: Layer, rows: Sequence[Row]) -> None:
        geometries = geometries_of(layer, rows)
        self.nowhere += sum(geometry is None or geometry.is_empty for geometry in geometries)
        self.labels.see(rows)
        self._stream.write_batch(record_batch(rows, {GEOMETRY: geometries}))

    def close(self) -> None:
        with closing(self._file):
            self._stream.close()
