"""GeoPackage (OGC 12-128): a SQLite file with a layer for each kind of geometry, and the style that QGIS loads with it.

The style is in the table ``layer_styles``, as QGIS itself keeps it (``QgsOgrProvider`` in
``src/core/providers/ogr/qgsogrprovider.cpp``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sam3edge.vector.gdal import append
from sam3edge.vector.layers import AREAS, Layer, by_layer, geometries_of
from sam3edge.vector.rows import Row
from sam3edge.vector.style import Labels, qml
from sam3edge.vector.table import record_batch

GEOMETRY = "geom"

_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
  styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
  ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_CONTENTS = "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', ?)"
_STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
  styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, ?, 'labels', ?, '', 1, 'A colour for each label', '')
"""


class GeoPackage:
    """A ``Format``. It holds no feature in memory once that is written."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self._layers: dict[Layer, Labels] = {}

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        for layer, members in by_layer(rows).items():
            self._append(layer, members)

    def finish(self) -> None:
        """See ``Format``."""
        if not self._layers:
            self._append(AREAS, ())
        styles = [(layer.name, GEOMETRY, qml(labels, layer.kind)) for layer, labels in self._layers.items()]
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute(_STYLES)
            database.execute(_CONTENTS, ("layer_styles",))
            database.executemany(_STYLE, styles)

    def abandon(self) -> None:
        """See ``Format``."""

    def _append(self, layer: Layer, rows: Sequence[Row]) -> None:
        batch = record_batch(rows, {GEOMETRY: geometries_of(layer, rows)})
        options = {"IDENTIFIER": layer.name, "DESCRIPTION": layer.description}
        if layer.crs is None:
            options["SRID"] = "-1"  # the specification's "undefined Cartesian"
        new = None if layer in self._layers else options
        append(self._path, "GPKG", layer.name, layer.geometry_type, layer.crs, batch, GEOMETRY, new)
        self._layers.setdefault(layer, Labels()).see(rows)
