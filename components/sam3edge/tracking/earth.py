"""Metres on the ground around a position, without PROJ: to first order, which 10 km away is off by 0.3 % at most below
a latitude of 60 degrees; zones, lines and the way of an object between two looks need no more.

Positions are longitude and latitude in degrees of WGS 84. Scales are those of its radii of curvature (Snyder, Map
Projections, USGS Professional Paper 1395, formulas 4-18 and 4-20).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Position: TypeAlias = tuple[float, float]
"""Longitude, latitude in degrees."""

EQUATOR, ECCENTRICITY_2 = 6_378_137.0, 0.00669437999014
"""Metres, and the square of the first eccentricity."""

LEAST_COSINE = 1e-6
"""Of a latitude: six metres from a pole, where no metre has a longitude."""


def offset(origin: Position, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[n, 2], metres east and north of the origin, the short way round the globe.

    Args:
        positions: [n, 2].
    """
    away = np.asarray(positions, np.float64).reshape(-1, 2) - origin
    away[:, 0] = (away[:, 0] + 180.0) % 360.0 - 180.0
    return away * _metres_per_degree(origin[1])


def moved(origin: Position, east: float, north: float) -> Position:
    """The position so many metres away; the inverse of ``offset``."""
    by_longitude, by_latitude = _metres_per_degree(origin[1])
    longitude = (origin[0] + east / by_longitude + 180.0) % 360.0 - 180.0
    return longitude, min(90.0, max(-90.0, origin[1] + north / by_latitude))


def _metres_per_degree(latitude: float) -> tuple[float, float]:
    """Along the parallel, and along the meridian."""
    sine, cosine = math.sin(math.radians(latitude)), math.cos(math.radians(latitude))
    bent = 1.0 - ECCENTRICITY_2 * sine * sine
    prime_vertical = EQUATOR / math.sqrt(bent)
    meridian = prime_vertical * (1.0 - ECCENTRICITY_2) / bent
    return math.radians(1.0) * prime_vertical * max(cosine, LEAST_COSINE), math.radians(1.0) * meridian
