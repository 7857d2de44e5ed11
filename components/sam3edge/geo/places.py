"""From an outline in pixels to a place on Earth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Geod
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference, Points
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box, Place
from sam3edge.geo.equal_area import EqualAreaPlane, area_on_earth
from sam3edge.geo.globe import on_globe
from sam3edge.geo.plane import wrapped

ELLIPSOID = Geod(ellps="WGS84")

STRAIGHT = 0.1
"""Pixels: an edge is divided until it is nowhere farther than this from where it was in the picture."""

MAX_DIVISIONS = 10
"""An edge becomes 1024 at most."""

MAX_ADDED = 20_000
"""Vertices of a ring. What needs more is no picture of the Earth, but a damaged georeference."""

MAX_BENT = 64
"""Edges that may stay bent at the end, for a pole is on them; where more do, no line of the picture is one on Earth."""

SEAM = 1e-10
"""Share of the way to the middle of the frame by which outlines are drawn in: the right edge of a raster of all the
globe is its left one, and what ends there has to stay on its side."""

PIECES = 256
"""Edges are divided to this share of the object's extent before its area and its centre are taken, since what is
straight in degrees is bent on a plane: of an object of 1000 pixels both are off by less than a tenth of a pixel."""

CENTRINGS = 2
"""The plane is laid around the centre that was found, so often in all."""


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
    try:
        geometry = _geometry(located, georeference)
    except GeoreferenceError:  # torn apart, or around the globe again and again
        return None
    if geometry.is_empty:
        return None
    pieces = _divided(geometry)
    area, centroid = area_on_earth(pieces), _centroid(pieces)
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

    Raises:
        GeoreferenceError: no number of vertices makes it so.
    """
    most = len(ring) + MAX_ADDED
    for _ in range(MAX_DIVISIONS):
        bent = (_bend(ring, georeference) > STRAIGHT) | _goes_round(ring, georeference)
        if not bent.any():
            return ring
        middles = (ring[:-1] + ring[1:]) / 2
        ring = np.insert(ring, np.flatnonzero(bent) + 1, middles[bent], axis=0)
        if len(ring) > most:
            break
    if len(ring) > most or (_bend(ring, georeference) > STRAIGHT).sum() > MAX_BENT:
        raise GeoreferenceError("the georeference tears outlines apart, so that they have no place; mend it")
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


def _geometry(outline: Polygon | MultiPolygon, georeference: Georeference) -> Polygon | MultiPolygon:
    """Of the parts that are on Earth as a whole; raises GeoreferenceError."""
    middle = np.array(georeference.size) / 2

    def on_earth(ring: Points) -> Points:
        return georeference.to_world(densified(ring + SEAM * (middle - ring), georeference))

    parts = [
        [on_earth(np.asarray(ring.coords)) for ring in (p.exterior, *p.interiors)] for p in shapely.get_parts(outline)
    ]
    parts = [part for part in parts if all(np.isfinite(ring).all() for ring in part)]
    return on_globe(parts) if parts else Polygon()


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


def _goes_round(ring: Points, georeference: Georeference) -> npt.NDArray[np.bool_]:
    """[n - 1], whether an edge is the longer way round the globe, where straight lines between positions are taken for
    the shorter one: those of an image of half the globe or more."""
    quarters = [ring[:-1] + share * np.diff(ring, axis=0) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    longitudes = np.stack([georeference.to_world(at)[:, 0] for at in quarters])
    steps = wrapped(np.diff(longitudes, axis=0)).sum(axis=0)
    return np.asarray(np.abs(steps) >= 180.0)


def _divided(geometry: Polygon | MultiPolygon) -> MultiPolygon:
    """With more vertices, none of which moves an edge in degrees. Ring by ring: GEOS mends polygons that are not valid
    any more by the last digits, and turns their rings around."""
    parts = shapely.get_parts(geometry)
    west, south, east, north = shapely.bounds(parts).T
    step = float(np.maximum(east - west, north - south).max()) / PIECES
    rings = (shapely.segmentize(shapely.get_rings(part), step) for part in parts)
    return MultiPolygon([Polygon(shell, holes) for shell, *holes in rings])


def _centroid(geometry: Polygon | MultiPolygon) -> tuple[float, float]:
    """Of the area on the ellipsoid, by an equal-area projection around itself."""
    parts = shapely.get_parts(geometry)
    middle = parts[int(np.argmax(shapely.area(parts)))].representative_point()
    at = (middle.x, middle.y)
    for _ in range(CENTRINGS):
        plane = EqualAreaPlane(*at)
        flat = shapely.transform(geometry, plane.to_plane)
        at = plane.to_world(flat.centroid.x, flat.centroid.y)
    return at


def _standing_at(box: Box, located: Polygon | MultiPolygon) -> Points:
    """[1, 2], below the middle of the object, where it touches the ground; the lowest point that has a place."""
    return np.array([[(box[0] + box[2]) / 2, min(box[3], located.bounds[3])]])
