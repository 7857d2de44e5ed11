"""Metres on the ground around a position, without PROJ: to first order, which 10 km away is off by 0.3 % at most below
a latitude of 60 degrees; zones, lines and the way of an object between two looks need no more.

Positions are longitude and latitude in degrees of WGS 84. Scales are those of its radii of curvature (Snyder, Map
Projections, USGS Professional Paper 1395, formulas 4-18 and 4-20).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Position: TypeAlias = tuple[float, float]
"""Longitude, latitude in degrees."""

EQUATOR, ECCENTRICITY_2 = 6_378_137.0, 0.00669437999014
"""Metres, and the square of the first eccentricity."""

LEAST_COSINE = 1e-6
"""Of a latitude: six metres from a pole, where no metre has a longitude."""


def offset(origin: npt.ArrayLike, positions: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """[n, 2], metres east and north of the origin, the short way round the globe.

    Args:
        origin: [2], or one for each position, [n, 2].
        positions: [n, 2].
    """
    start = np.asarray(origin, np.float64).reshape(-1, 2)
    away = np.asarray(positions, np.float64).reshape(-1, 2) - start
    away[:, 0] = (away[:, 0] + 180.0) % 360.0 - 180.0
    return away * _metres_per_degree(start[:, 1])


def moved(origin: Position, east: float, north: float) -> Position:
    """The position so many metres away; the inverse of ``offset``."""
    by_longitude, by_latitude = map(float, _metres_per_degree(np.array([origin[1]]))[0])
    longitude = (origin[0] + east / by_longitude + 180.0) % 360.0 - 180.0
    return longitude, min(90.0, max(-90.0, origin[1] + north / by_latitude))


def _metres_per_degree(latitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[n, 2]: along the parallel, and along the meridian."""
    sine, cosine = np.sin(np.radians(latitudes)), np.cos(np.radians(latitudes))
    bent = 1.0 - ECCENTRICITY_2 * sine * sine
    prime_vertical = EQUATOR / np.sqrt(bent)
    meridian = prime_vertical * (1.0 - ECCENTRICITY_2) / bent
    return np.radians(np.stack([prime_vertical * np.maximum(cosine, LEAST_COSINE), meridian], axis=1))
