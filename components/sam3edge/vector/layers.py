"""What goes together into a layer, in formats whose layers have one reference system and one kind of geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import shapely
from shapely.geometry import GeometryCollection, MultiLineString, MultiPoint, MultiPolygon
from shapely.geometry.base import BaseGeometry

from sam3edge.vector.rows import Row

Kind: TypeAlias = Literal["MultiPolygon", "MultiLineString", "MultiPoint", "GeometryCollection"]

WGS84 = "EPSG:4326"

EARTH = "Detections, in degrees of WGS 84"
PIXELS = "Detections without a place on Earth: pixels of their frames, origin top left, y down; no reference system"

_KINDS: Mapping[str, Kind] = {
    "Polygon": "MultiPolygon",
    "MultiPolygon": "MultiPolygon",
    "LineString": "MultiLineString",
    "MultiLineString": "MultiLineString",
    "Point": "MultiPoint",
    "MultiPoint": "MultiPoint",
    "GeometryCollection": "GeometryCollection",
}
_MULTIPLE: Mapping[Kind, Callable[..., BaseGeometry]] = {
    "MultiPolygon": MultiPolygon,
    "MultiLineString": MultiLineString,
    "MultiPoint": MultiPoint,
    "GeometryCollection": GeometryCollection,
}
_SUFFIX: Mapping[Kind, str] = {
    "MultiPolygon": "",
    "MultiLineString": "_lines",
    "MultiPoint": "_points",
    "GeometryCollection": "_collections",
}


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """One of a file's layers. They order as a person wants them: places before pixels, areas first.

    Attributes:
        in_pixels: its features have no place on Earth, perhaps not even an outline.
        suffix: by kind of geometry, and whether it has heights.
        kind: of its geometries; single ones become multiple ones.
        has_z: whether they have heights.
    """

    in_pixels: bool
    suffix: str
    kind: Kind
    has_z: bool

    @property
    def name(self) -> str:
        """``detections`` for areas on Earth."""
        return "detections" + self.marks

    @property
    def marks(self) -> str:
        """What its name has more than that of areas on Earth."""
        return self.suffix + ("_pixels" if self.in_pixels else "")

    @property
    def crs(self) -> str | None:
        """None for pixels."""
        return None if self.in_pixels else WGS84

    @property
    def description(self) -> str:
        """What a person must know of it."""
        return PIXELS if self.in_pixels else EARTH

    @property
    def geometry_type(self) -> str:
        """As GDAL calls it."""
        return f"{self.kind} Z" if self.has_z else self.kind


def layer_of(row: Row) -> Layer:
    """Where a row belongs: to the places if it has one, else to the pixels."""
    geometry = row.outline if row.place is None else row.place
    kind: Kind = "MultiPolygon" if geometry is None else _KINDS[geometry.geom_type]
    has_z = geometry is not None and bool(shapely.has_z(geometry))
    return Layer(row.place is None, _SUFFIX[kind] + ("_z" if has_z else ""), kind, has_z)


AREAS = Layer(False, "", "MultiPolygon", False)
"""The layer of a file without features."""


def by_layer(rows: Iterable[Row]) -> Mapping[Layer, list[Row]]:
    """Rows by where they belong, in the order in which they come."""
    found: dict[Layer, list[Row]] = {}
    for row in rows:
        found.setdefault(layer_of(row), []).append(row)
    return found


def geometries_of(layer: Layer, rows: Iterable[Row]) -> list[BaseGeometry | None]:
    """The rows' geometries as the layer has them; None where a row has none."""
    return [_multiple(row.outline if layer.in_pixels else row.place, layer.kind) for row in rows]


def _multiple(geometry: BaseGeometry | None, kind: Kind) -> BaseGeometry | None:
    if geometry is None or geometry.geom_type == kind:
        return geometry
    return _MULTIPLE[kind]() if geometry.is_empty else _MULTIPLE[kind]([geometry])
