"""Geometries as a feature has them: in pixels, and on Earth; each exact, coarser, or as a hull."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping
from typing_extensions import TypedDict

from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Place

HULL_VERTICES = 24
"""A feature too large for a message of its own keeps a hull of about this many vertices."""

METRES_PER_DEGREE = 111_320.0
"""Of latitude; a degree of longitude has fewer, so that what is simplified by degrees never moves farther."""

WHOLE_TURN = 360.0

PlaceBounds: TypeAlias = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


class PixelGeometry(TypedDict):
    """GeoJSON geometry in pixels of the frame, origin top left; shells run counter-clockwise in (x, y) as written."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class WorldGeometry(TypedDict):
    """GeoJSON geometry as RFC 7946 has it: longitude, latitude in degrees of WGS 84, shells counter-clockwise, divided
    at the antimeridian."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


def pixel_geometry(outline: Polygon | MultiPolygon) -> PixelGeometry:
    """With one decimal."""
    mapped = mapping(outline)
    return {"type": mapped["type"], "coordinates": _rounded(mapped["coordinates"], 1)}


def world_geometry(area: Polygon | MultiPolygon) -> WorldGeometry:
    """With seven decimals, 11 mm."""
    mapped = mapping(area)
    return {"type": mapped["type"], "coordinates": _rounded(mapped["coordinates"], 7)}


def bbox_of(area: Polygon | MultiPolygon) -> PlaceBounds:
    """The narrowest one: west is greater than east where it crosses the antimeridian (RFC 7946, section 5.2)."""
    parts = shapely.get_parts(area)
    west, south, east, north = (float(v) for v in shapely.total_bounds(parts))
    bounds = shapely.bounds(parts)
    order = np.argsort(bounds[:, 0])
    starts, reached = bounds[order, 0], np.maximum.accumulate(bounds[order, 2])
    gaps = starts[1:] - reached[:-1]
    if not len(gaps) or gaps.max() <= west + WHOLE_TURN - east:
        return west, south, east, north
    widest = int(gaps.argmax())
    return float(starts[widest + 1]), south, float(reached[widest]), north


def coarser(place: Place, pixels: float) -> Polygon | MultiPolygon:
    """Its area with fewer vertices, which moves by at most this many pixels."""
    tolerance = pixels * place.pixel / METRES_PER_DEGREE
    simple = areas_only(shapely.simplify(place.geometry, tolerance, preserve_topology=True))
    return place.geometry if simple.is_empty else shapely.orient_polygons(simple)


def hull(outline: Polygon | MultiPolygon) -> Polygon:
    """The convex hull in pixels, simplified until it has about ``HULL_VERTICES`` vertices."""
    return _hull(outline, 1.0)


def world_hull(area: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """The same on Earth; of what lies on both sides of the antimeridian, one on each side."""
    sides = [area]
    west, _, east, _ = bbox_of(area)
    if west > east:
        parts = shapely.get_parts(area)
        before = shapely.bounds(parts)[:, 0] >= west
        sides = [MultiPolygon(list(parts[side])) for side in (before, ~before)]
    hulls = [_hull(side, shapely.convex_hull(side).length * 1e-3) for side in sides]
    return shapely.orient_polygons(hulls[0] if len(hulls) == 1 else MultiPolygon(hulls))


def _hull(outline: Polygon | MultiPolygon, tolerance: float) -> Polygon:
    convex = shapely.convex_hull(outline)
    while shapely.get_num_coordinates(convex) > HULL_VERTICES:
        convex = shapely.simplify(convex, tolerance)
        tolerance *= 2
    return convex if isinstance(convex, Polygon) and not convex.is_empty else shapely.box(*outline.bounds)


def _rounded(value: Any, decimals: int) -> Any:
    return round(value, decimals) if isinstance(value, float) else [_rounded(v, decimals) for v in value]
