"""From an outline in pixels to a place on Earth."""

from __future__ import annotations

import numpy as np
import shapely
from pyproj import Geod
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.georeference import Georeference, Points
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box, Place
from sam3edge.geo.equal_area import EqualAreaPlane
from sam3edge.geo.globe import on_globe
from sam3edge.geo.plane import wrapped

ELLIPSOID = Geod(ellps="WGS84")

STRAIGHT = 0.1
"""Pixels: an edge is divided until it is nowhere farther than this from where it was in the picture."""

MAX_DIVISIONS = 10
"""An edge becomes 1024 at most."""


def place_of(outline: Polygon | MultiPolygon, box: Box, georeference: Georeference) -> Place | None:
    """Where the object with this outline is.

    Args:
        outline: in pixels of the frame.
        box: x0, y0, x1, y1 around the object, in pixels.

    Returns:
        The place; None where no part of the object has one.
    """
    located = _with_place(outline, georeference)
    if located.is_empty:
        return None
    rings = [
        [georeference.to_world(densified(np.asarray(ring.coords), georeference)) for ring in (p.exterior, *p.interiors)]
        for p in shapely.get_parts(located)
    ]
    rings = [part for part in rings if all(np.isfinite(ring).all() for ring in part)]
    geometry = on_globe(rings) if rings else Polygon()
    if geometry.is_empty:
        return None
    area = abs(ELLIPSOID.geometry_area_perimeter(geometry)[0])
    centroid = _centroid(geometry)
    at = _standing_at(box, located) if georeference.stance == "side" else georeference.to_pixels(np.array([centroid]))
    [position] = georeference.to_world(at)
    accuracy, pixel = float(georeference.accuracy(at)[0]), footprint(georeference, at)
    if not np.isfinite([*position, *centroid, area, accuracy, pixel]).all():
        return None
    outside = max(0.0, 1.0 - located.area / outline.area)
    return Place(geometry, centroid, (float(position[0]), float(position[1])), area, accuracy, pixel, outside)


def densified(ring: Points, georeference: Georeference) -> Points:
    """The ring with more vertices, so that straight lines between their positions are where its edges are in the
    picture.

    Args:
        ring: [n, 2] pixels, the last point the first.
    """
    for _ in range(MAX_DIVISIONS):
        bent = _bend(ring, georeference) > STRAIGHT
        if not bent.any():
            break
        middles = (ring[:-1] + ring[1:]) / 2
        ring = np.insert(ring, np.flatnonzero(bent) + 1, middles[bent], axis=0)
    return ring


def footprint(georeference: Georeference, pixels: Points) -> float:
    """Metres on the ground of a step of one pixel from the first of these: aside or down, whichever is larger."""
    return max(steps(georeference, pixels))


def steps(georeference: Georeference, pixels: Points) -> tuple[float, float]:
    """Metres on the ground of a step of one pixel aside, and of one down, at the first of these."""
    around = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    left, right, above, below = georeference.to_world(pixels[0] + around)
    _, _, metres = ELLIPSOID.inv([left[0], above[0]], [left[1], above[1]], [right[0], below[0]], [right[1], below[1]])
    return float(metres[0]), float(metres[1])


def _with_place(outline: Polygon | MultiPolygon, georeference: Georeference) -> Polygon | MultiPolygon:
    x0, y0, x1, y1 = outline.bounds
    valid = georeference.valid((x0, y0, x1, y1))
    if valid.covers(outline):
        return outline
    return areas_only(shapely.intersection(outline, valid))


def _bend(ring: Points, georeference: Georeference) -> Points:
    """[n - 1], pixels: how far from each edge of the ring the straight line between the positions of its ends leads."""
    world, along = georeference.to_world(ring), np.diff(ring, axis=0)
    turn = np.column_stack([wrapped(np.diff(world[:, 0])), np.diff(world[:, 1])])
    length = np.hypot(along[:, 0], along[:, 1])
    length[length == 0] = np.inf
    farthest = np.zeros(len(along))
    for share in (0.25, 0.5, 0.75):
        between = world[:-1] + share * turn
        between[:, 0] = wrapped(between[:, 0])
        away = georeference.to_pixels(between) - ring[:-1]
        beside = np.abs(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0]) / length
        farthest = np.fmax(farthest, beside)
    return farthest


def _centroid(geometry: Polygon | MultiPolygon) -> tuple[float, float]:
    """Of the area on the ellipsoid, by an equal-area projection around its largest part."""
    parts = shapely.get_parts(geometry)
    middle = parts[int(np.argmax(shapely.area(parts)))].representative_point()
    plane = EqualAreaPlane(middle.x, middle.y)
    flat = shapely.transform(geometry, plane.to_plane)
    return plane.to_world(flat.centroid.x, flat.centroid.y)


def _standing_at(box: Box, located: Polygon | MultiPolygon) -> Points:
    """[1, 2], below the middle of the object, where it touches the ground; the lowest point that has a place."""
    return np.array([[(box[0] + box[2]) / 2, min(box[3], located.bounds[3])]])
