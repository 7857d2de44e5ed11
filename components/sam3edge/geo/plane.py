"""A plane that touches the Earth, in metres: what cameras look at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points

WGS84 = "EPSG:4326"


@dataclass(frozen=True, slots=True)
class LocalPlane:
    """Metres east and north of an origin: the azimuthal equidistant projection, which 10 km from its origin is off by
    4 mm (Snyder, Map Projections, USGS Professional Paper 1395, chapter 25).

    Args:
        longitude, latitude: of the origin, degrees.

    Raises:
        GeoreferenceError: there is no such place.
    """

    longitude: float
    latitude: float
    _to_plane: Transformer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (-180 <= self.longitude <= 180 and -90 <= self.latitude <= 90):
            raise GeoreferenceError(
                "expected a longitude within -180..180 and a latitude within -90..90, "
                f"got {self.longitude} and {self.latitude}; longitude comes first"
            )
        longitude, latitude = float(self.longitude), float(self.latitude)  # numpy's numbers say what they are, too
        projection = f"+proj=aeqd +lon_0={longitude!r} +lat_0={latitude!r} +datum=WGS84 +units=m"
        object.__setattr__(self, "_to_plane", Transformer.from_crs(WGS84, projection, always_xy=True))

    def to_plane(self, positions: Points) -> Points:
        """[n, 2] longitude, latitude -> metres east, north."""
        return finite(*self._to_plane.transform(positions[:, 0], positions[:, 1]))

    def to_world(self, metres: Points) -> Points:
        """[n, 2] metres east, north -> longitude, latitude."""
        return finite(*self._to_plane.transform(metres[:, 0], metres[:, 1], direction="INVERSE"))


def finite(x: object, y: object) -> Points:
    """[n, 2] of what PROJ gives: its infinities, which mean that there is no such point, as NaN."""
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points


def wrapped(longitudes: npt.NDArray[np.float64], turn: float = 360.0) -> npt.NDArray[np.float64]:
    """Longitudes or differences of them, within half a turn: -180..180 degrees."""
    return np.asarray((longitudes + turn / 2) % turn - turn / 2)
