"""Areas on the ellipsoid, and a plane on which areas are those, around any place: what centroids are found on.

Lambert's azimuthal projection of the authalic sphere, which has the ellipsoid's area (Snyder, Map Projections, USGS
Professional Paper 1395, formulas 3-11 to 3-18, 24-2 to 24-4 and 20-14). PROJ does it, too, but takes 20 ms to set a
projection up, and every object has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.georeference import Points

_E2 = 0.0066943799901413165
"""Squared eccentricity of the ellipsoid of WGS 84."""

_A = 6_378_137.0
"""Metres: the ellipsoid's larger half-axis."""

_E = np.sqrt(_E2)
_SERIES = (
    _E2 / 3 + 31 * _E2**2 / 180 + 517 * _E2**3 / 5040,
    23 * _E2**2 / 360 + 251 * _E2**3 / 3780,
    761 * _E2**3 / 45360,
)


def area_on_earth(geometry: Polygon | MultiPolygon) -> float:
    """Square metres within edges that are straight in degrees, as GeoJSON's are (RFC 7946, 3.1.1).

    By Green's theorem, with Simpson's rule along each edge: edges may be a few degrees long.

    Args:
        geometry: longitude, latitude; shells counter-clockwise, holes clockwise, within -180..180.
    """
    at, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    along = ring[1:] == ring[:-1]
    turn = np.radians(np.diff(at[:, 0]))
    start, end = at[:-1, 1], at[1:, 1]
    below = sum(w * _area_below(np.sin(np.radians(y))) for w, y in ((1, start), (4, (start + end) / 2), (1, end)))
    return float(-(_A**2) / 2 * np.sum((turn * below / 6)[along]))


@dataclass(frozen=True, slots=True)
class EqualAreaPlane:
    """Lengths are in units of the sphere's radius.

    Args:
        longitude, latitude: of the middle, degrees of WGS 84.
    """

    longitude: float
    latitude: float

    def to_plane(self, positions: Points) -> Points:
        """[n, 2] longitude, latitude -> x, y."""
        turn = np.radians(positions[:, 0] - self.longitude)
        sin, cos = _of_sphere(positions[:, 1])
        sin_middle, cos_middle = (value[0] for value in _of_sphere(np.array([self.latitude])))
        factor = np.sqrt(2 / (1 + sin_middle * sin + cos_middle * cos * np.cos(turn)))
        east, north = cos * np.sin(turn), cos_middle * sin - sin_middle * cos * np.cos(turn)
        return np.column_stack([factor * east, factor * north])

    def to_world(self, x: float, y: float) -> tuple[float, float]:
        """x, y -> longitude within -180..180, latitude."""
        sin_middle, cos_middle = (value[0] for value in _of_sphere(np.array([self.latitude])))
        distance = np.hypot(x, y)
        if distance == 0:
            return self.longitude, self.latitude
        angle = 2 * np.arcsin(distance / 2)
        sin = np.cos(angle) * sin_middle + y * np.sin(angle) * cos_middle / distance
        turn = np.arctan2(x * np.sin(angle), distance * cos_middle * np.cos(angle) - y * sin_middle * np.sin(angle))
        authalic = np.arcsin(np.clip(sin, -1, 1))
        latitude = authalic + sum(factor * np.sin(2 * n * authalic) for n, factor in enumerate(_SERIES, 1))
        longitude = (self.longitude + np.degrees(turn) + 180.0) % 360.0 - 180.0
        return float(longitude), float(np.degrees(latitude))


def _of_sphere(latitudes: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sine and cosine of the authalic latitudes of these, degrees."""
    share = _area_below(np.sin(np.radians(latitudes))) / _area_below(np.ones(1))
    return share, np.sqrt(np.maximum(0.0, 1 - share**2))


def _area_below(sin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Between the equator and a latitude, in units that the formulas call q."""
    return np.asarray((1 - _E2) * (sin / (1 - _E2 * sin**2) + np.arctanh(_E * sin) / _E))
