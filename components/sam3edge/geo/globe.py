"""Rings of positions as areas on the globe, the way RFC 7946 writes them.

A ring is taken as continuous: between two of its points it goes the short way round. What crosses the antimeridian is
divided there (RFC 7946, section 3.1.9), and what goes round a pole is closed along it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points
from sam3edge.core.polygons import areas_only

GRID = 1e-7
"""Degrees: seven decimals, 11 mm."""

MOST_DEGREES = 720.0
"""From the west to the east end of a ring: nothing that a picture shows goes round more than once."""


def on_globe(parts: Sequence[Sequence[Points]]) -> Polygon | MultiPolygon:
    """What these rings enclose.

    Args:
        parts: polygons, each a shell and its holes; rings are [n, 2] longitude, latitude, the last point the first.

    Returns:
        Valid, on ``GRID``, longitudes within -180..180, shells counter-clockwise and holes clockwise; empty when
        nothing is left on the grid.

    Raises:
        GeoreferenceError: a ring goes round the globe more than once.
    """
    polygons = []
    for shell, *holes in parts:
        polygon = _enclosed(shell)
        if holes:
            polygon = shapely.difference(polygon, shapely.union_all([_enclosed(hole) for hole in holes]))
        polygons.append(polygon)
    whole = polygons[0] if len(polygons) == 1 else shapely.union_all(polygons)
    return shapely.orient_polygons(areas_only(shapely.set_precision(areas_only(whole), GRID)))


def _enclosed(ring: Points) -> BaseGeometry:
    """The area within one ring, in pieces where it leaves -180..180."""
    longitudes, latitudes = np.unwrap(ring[:, 0], period=360.0), ring[:, 1]
    if np.ptp(longitudes) >= MOST_DEGREES:
        raise GeoreferenceError("an outline goes round the globe more than once; mend the georeference")
    if abs(longitudes[-1] - longitudes[0]) > 180.0:
        pole = math.copysign(90.0, float(latitudes.mean()))
        longitudes = np.append(longitudes, [longitudes[-1], longitudes[0]])
        latitudes = np.append(latitudes, [pole, pole])
    flat = Polygon(np.stack([longitudes, latitudes], axis=1))
    west, _, east, _ = flat.bounds
    first, last = math.floor((west + 180.0) / 360.0), math.ceil((east - 180.0) / 360.0)
    if first == 0 == last:
        return flat
    whole = areas_only(flat)
    pieces = []
    for turn in range(first, last + 1):
        window = shapely.box(-180.0 + 360.0 * turn, -90.0, 180.0 + 360.0 * turn, 90.0)
        piece = shapely.intersection(whole, window)
        pieces.append(affinity.translate(piece, -360.0 * turn))
    return shapely.union_all(pieces)
