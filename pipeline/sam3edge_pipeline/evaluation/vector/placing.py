"""Geometries of any reference system as areas in pixels of a raster: repaired, reprojected, clipped, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from shapely import affinity
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.polygons import areas_only
from sam3edge.geo.globe import on_globe
from sam3edge_pipeline.evaluation.vector.grid import Grid

Geometries: TypeAlias = npt.NDArray[np.object_]
"""object [n] of shapely's geometries, None where there is none."""

STEPS = 200
"""An edge is divided so that none is longer than this part of the raster, before it is reprojected: what is straight in
one reference system is not in another, by the square of this."""

MARGIN = 0.01
"""Of the raster's size, beyond its edges, so that what is clipped before it is reprojected is not clipped too early."""

MAX_COORDINATE = 1e12
"""Of whatever unit: beyond it no reference system has places, and GEOS's arithmetic overflows."""

EDGE_POINTS = 64
"""Of the raster's outline, a side."""


@dataclass(frozen=True, slots=True)
class PlacingCounts:
    """What became of geometries.

    Attributes:
        read: all of them.
        empty: null, or without points.
        unreadable: of kinds that GEOS does not know, or with coordinates that are not numbers or beyond
            ``MAX_COORDINATE``.
        not_areas: points and lines.
        repaired: crossed themselves, or the like; they are used as ``make_valid`` has them.
        outside: of the raster; they are not used.
        clipped: at the raster's edge.
        inside: areas that are used, repaired and clipped ones included.
    """

    read: int = 0
    empty: int = 0
    unreadable: int = 0
    not_areas: int = 0
    repaired: int = 0
    outside: int = 0
    clipped: int = 0
    inside: int = 0

    def __add__(self, other: PlacingCounts) -> PlacingCounts:
        pairs = zip(_counts(self), _counts(other), strict=True)
        return PlacingCounts(*(one + another for one, another in pairs))


def _counts(counts: PlacingCounts) -> tuple[int, ...]:
    c = counts
    return c.read, c.empty, c.unreadable, c.not_areas, c.repaired, c.outside, c.clipped, c.inside


class Placer:
    """Places geometries of one reference system on a raster.

    Args:
        grid: the raster.
        crs: of the geometries.
    """

    def __init__(self, grid: Grid, crs: CRS) -> None:
        self._frame = shapely.box(0, 0, grid.width, grid.height)
        self._to_grid = None if crs == grid.crs else Transformer.from_crs(crs, grid.crs, always_xy=True)
        self._grid = grid
        self._reach = _reach_of(grid, crs)

    def place(self, binary: npt.NDArray[np.object_]) -> tuple[Geometries, PlacingCounts]:
        """Areas of geometries.

        Args:
            binary: object [n], WKB, None for null.

        Returns:
            object [n]: valid areas in pixels of the raster, within it; None for those that are not used.
        """
        with np.errstate(invalid="ignore"):  # of coordinates that are not numbers
            geometries = shapely.force_2d(shapely.from_wkb(binary, on_invalid="ignore"))
        null = np.array([one is None for one in binary], bool)
        unreadable = ~null & (shapely.is_missing(geometries) | ~_is_on_a_map(geometries))
        geometries[unreadable] = None
        empty = null | (~unreadable & shapely.is_empty(geometries))
        flat = ~empty & ~unreadable & ~_has_areas(geometries)
        usable = ~empty & ~unreadable & ~flat
        broken = usable & ~shapely.is_valid(geometries)
        placed = np.full(len(geometries), None, object)
        clipped = np.zeros(len(geometries), bool)
        for number in np.flatnonzero(usable):
            area = self._area(geometries[number])
            if area is not None:
                placed[number] = shapely.intersection(area, self._frame) if not self._frame.covers(area) else area
                placed[number] = areas_only(placed[number])
                clipped[number] = not self._frame.covers(area)
        inside = np.array([one is not None and one.area > 0 for one in placed], bool)
        placed[~inside] = None
        counts = PlacingCounts(
            read=len(binary),
            empty=int(empty.sum()),
            unreadable=int(unreadable.sum()),
            not_areas=int(flat.sum()),
            repaired=int(broken.sum()),
            outside=int((usable & ~inside).sum()),
            clipped=int((clipped & inside).sum()),
            inside=int(inside.sum()),
        )
        return placed, counts

    def _area(self, geometry: BaseGeometry) -> Polygon | MultiPolygon | None:
        """In pixels, not yet clipped to the raster; None where it is far from it."""
        area = areas_only(geometry)
        if self._reach is not None and not self._reach.covers(area):
            if not self._reach.intersects(area):
                return None
            area = areas_only(shapely.intersection(area, self._reach))
        if area.is_empty:
            return None
        if self._to_grid is not None:
            longest = _diagonal(self._reach or area) / STEPS
            area = shapely.transform(shapely.segmentize(area, longest), self._reprojected)
            if not np.isfinite(area.bounds).all():
                return None
            area = areas_only(area)
        if self._grid.crs.is_geographic:
            [[middle, _]] = self._grid.to_crs(np.array([[self._grid.width / 2, self._grid.height / 2]]))
            area = _nearest_turn(area, float(middle))
        return areas_only(shapely.transform(area, self._grid.to_pixels))

    def _reprojected(self, at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        assert self._to_grid is not None
        return np.column_stack(self._to_grid.transform(at[:, 0], at[:, 1]))


def _is_on_a_map(geometries: Geometries) -> npt.NDArray[np.bool_]:
    coordinates, owner = shapely.get_coordinates(geometries, return_index=True)
    bad = ~(np.abs(coordinates) <= MAX_COORDINATE).all(axis=1)
    on_a_map = np.ones(len(geometries), bool)
    on_a_map[owner[bad]] = False
    return on_a_map


def _has_areas(geometries: Geometries) -> npt.NDArray[np.bool_]:
    return np.asarray(shapely.get_dimensions(geometries) == 2)  # of a collection, its largest


def _reach_of(grid: Grid, crs: CRS) -> Polygon | MultiPolygon | None:
    """The raster's surroundings in another reference system; None where that cannot show them."""
    steps = np.linspace(-MARGIN, 1 + MARGIN, EDGE_POINTS)
    x, y = steps * grid.width, steps * grid.height
    low, high = np.full(EDGE_POINTS, x[0]), np.full(EDGE_POINTS, x[-1])
    top, bottom = np.full(EDGE_POINTS, y[0]), np.full(EDGE_POINTS, y[-1])
    columns = np.concatenate([x, high, x[::-1], low])
    rows = np.concatenate([top, y, bottom, y[::-1]])
    there = Transformer.from_crs(grid.crs, crs, always_xy=True)
    ring = np.column_stack(there.transform(*grid.to_crs(np.column_stack([columns, rows])).T))
    if not np.isfinite(ring).all():
        return None
    try:
        reach = on_globe([[ring]]) if crs.is_geographic else areas_only(Polygon(ring))
    except ShapelyError:
        return None
    shapely.prepare(reach)
    return None if reach.is_empty else reach


def _nearest_turn(area: Polygon | MultiPolygon, middle: float) -> Polygon | MultiPolygon:
    """With longitudes as the raster counts them, which across the antimeridian go beyond 180: each part is moved by
    whole turns."""
    parts = shapely.get_parts(area)
    bounds = shapely.bounds(parts)
    turns = np.round((middle - (bounds[:, 0] + bounds[:, 2]) / 2) / 360.0)
    if not turns.any():
        return area
    moved = [affinity.translate(part, 360.0 * turn) for part, turn in zip(parts, turns, strict=True)]
    return areas_only(shapely.union_all(moved))


def _diagonal(area: BaseGeometry) -> float:
    west, south, east, north = area.bounds
    return float(np.hypot(east - west, north - south))
