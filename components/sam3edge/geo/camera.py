"""A camera that looks at flat ground: pixels and ground are related by a homography.

    pixel ~ H (east, north, 1)

(Hartley and Zisserman, Multiple View Geometry, 2nd edition, sections 2.3 and 8.1.1.) Whether it was fitted to control
points or follows from the camera's pose, it comes with the covariance of its inverse, from which follows how far a
position may be off. The picture is ideal here; ``lensed`` has cameras whose lenses bend straight lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import FARTHEST, Points, Stance
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box
from sam3edge.geo.plane import LocalPlane

Matrix = npt.NDArray[np.float64]

HORIZON_MARGIN = 20.0
"""Pixels below the horizon where places end. The distance on the ground is inversely proportional to them, so that here
a pixel more or less is 5 % of it."""

PIXEL_SIGMA = 0.5
"""Pixels: standard deviation of where an outline runs."""

RADIUS_95 = 2.4477
"""Square root of the 95th percentile of chi squared with two degrees of freedom."""

LEAST_SHARE = 0.1
"""Where the horizon itself may be anywhere near, an accuracy is ten times what it is to first order, and no more."""

FROM_ABOVE = 1.5
"""Diagonals of the frame: a camera whose horizon is farther from the middle of the frame than this looks from above
(down by some 60 degrees, with usual lenses)."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundCamera:
    """A ``Georeference``.

    Attributes:
        size: width and height of the frame, pixels.
        plane: the ground.
        to_pixel: float64 [3, 3], from metres east and north to pixels; with a third component that is positive in front
            of the camera.
        covariance: float64 [9, 9], of the inverse of ``to_pixel``, row by row.

    Raises:
        GeoreferenceError: it would see the ground from below, as a mirror shows it.
    """

    size: tuple[int, int]
    plane: LocalPlane
    to_pixel: Matrix
    covariance: Matrix

    def __post_init__(self) -> None:
        if not np.linalg.det(self.to_pixel) < 0:  # of the depth's sign: y of pixels goes down, north goes up
            raise GeoreferenceError(
                "the camera would see the ground from below, mirrored: are longitude and latitude exchanged, or x and "
                "y, or does x or y count from another corner than the upper left one? Mend the columns"
            )

    @property
    def to_ground(self) -> Matrix:
        """float64 [3, 3], from pixels to metres east and north; the third component is positive below the horizon."""
        return np.asarray(np.linalg.inv(self.to_pixel))

    @property
    def stance(self) -> Stance:
        """See ``Georeference``."""
        middle = np.array([[self.size[0] / 2, self.size[1] / 2]])
        away = float(self.below_horizon(middle)[0])
        return "above" if away > FROM_ABOVE * float(np.hypot(*self.size)) else "side"

    def below_horizon(self, pixels: Points) -> npt.NDArray[np.float64]:
        """[n], pixels between a pixel and the horizon; negative in the sky, infinite for a camera that looks straight
        down."""
        line = self.to_ground[2]
        with np.errstate(divide="ignore"):
            return np.asarray((homogeneous(pixels) @ line) / np.hypot(line[0], line[1]))

    def to_world(self, pixels: Points) -> Points:
        """See ``Georeference``; NaN farther than ``FARTHEST`` from the middle of the plane."""
        metres = projected(self.to_ground, pixels)
        metres[~(np.hypot(metres[:, 0], metres[:, 1]) <= FARTHEST)] = np.nan
        return self.plane.to_world(metres)

    def to_pixels(self, positions: Points) -> Points:
        """See ``Georeference``."""
        return projected(self.to_pixel, self.plane.to_plane(positions))

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        """See ``Georeference``: half a pixel is ``PIXEL_SIGMA``."""
        return self.radius(pixels, PIXEL_SIGMA**2 * np.eye(2))

    def radius(self, pixels: Points, spread_of_pixels: Matrix) -> npt.NDArray[np.float64]:
        """[n], metres: the long half-axis of the ellipse of 95 %, which holds at least so many.

        To first order, of the covariance of the camera and of the pixels; and what far places need beyond that: the
        distance is inversely proportional to how far below the horizon a pixel is, so that with an error of a share s
        of that the place is not s but s / (1 - s) of the distance farther away.

        Args:
            spread_of_pixels: float64 [2, 2] or [n, 2, 2], their covariance.
        """
        ground = self.to_ground
        by_entry, by_pixel = _derivatives(ground, pixels)
        spread = by_entry @ self.covariance @ by_entry.transpose(0, 2, 1)
        spread += by_pixel @ spread_of_pixels @ by_pixel.transpose(0, 2, 1)
        spread[~np.isfinite(spread).all(axis=(1, 2))] = np.nan
        known = ~np.isnan(spread[:, 0, 0])
        radius = np.full(len(pixels), np.nan)
        radius[known] = RADIUS_95 * np.sqrt(np.linalg.eigvalsh(spread[known])[:, -1])
        return np.asarray(radius / np.maximum(1 - self._share(ground[2], pixels, spread_of_pixels), LEAST_SHARE))

    def _share(self, line: Matrix, pixels: Points, spread_of_pixels: Matrix) -> npt.NDArray[np.float64]:
        """[n], within how large a share of it how far a pixel is below the horizon is known, in 95 of 100 cases.

        Args:
            line: the horizon, the last row of ``to_ground``.
        """
        at = homogeneous(pixels)
        variance = np.einsum("ni,ij,nj->n", at, self.covariance[6:, 6:], at) + line[:2] @ spread_of_pixels @ line[:2]
        return np.asarray(RADIUS_95 * np.sqrt(variance) / np.abs(at @ line))

    def valid(self, bounds: Box) -> Polygon | MultiPolygon:
        """See ``Georeference``: what is at least ``HORIZON_MARGIN`` below the horizon."""
        frame = shapely.box(*bounds)
        corners = np.asarray(frame.exterior.coords)
        has_place = self.below_horizon(corners) >= HORIZON_MARGIN
        if has_place.all() or not has_place.any():
            return frame if has_place.all() else Polygon()
        a, b, c = self.to_ground[2]
        length = float(np.hypot(a, b))
        normal = np.array([a, b]) / length
        foot = normal * (HORIZON_MARGIN - c / length)  # nearest to the origin on the line where places end
        along = np.array([-normal[1], normal[0]])
        reach = float(np.abs(corners - foot).sum(axis=1).max()) + 1.0
        left, right = foot - reach * along, foot + reach * along
        below = Polygon([left, right, right + reach * normal, left + reach * normal])
        return areas_only(shapely.intersection(frame, below))


def homogeneous(points: Points) -> Points:
    """[n, 2] -> [n, 3], with ones."""
    return np.column_stack([points, np.ones(len(points))])


def projected(matrix: Matrix, points: Points) -> Points:
    """[n, 2] -> [n, 2]; NaN where the third component is not positive: behind the camera, or in the sky."""
    x, y, w = (homogeneous(points) @ matrix.T).T
    w = np.where(w > 0, w, np.nan)
    return np.stack([x / w, y / w], axis=1)


def _derivatives(ground: Matrix, pixels: Points) -> tuple[Matrix, Matrix]:
    """Of metres east and north: by the nine entries of the matrix, [n, 2, 9], and by the pixel, [n, 2, 2]."""
    p = homogeneous(pixels)
    w = np.where(p @ ground[2] > 0, p @ ground[2], np.nan)
    east, north = (p @ ground[0]) / w, (p @ ground[1]) / w
    by_entry = np.zeros((len(p), 2, 9))
    by_entry[:, 0, 0:3] = by_entry[:, 1, 3:6] = p / w[:, None]
    by_entry[:, 0, 6:9] = -p * (east / w)[:, None]
    by_entry[:, 1, 6:9] = -p * (north / w)[:, None]
    by_pixel = np.empty((len(p), 2, 2))
    by_pixel[:, 0] = (ground[0, :2] - east[:, None] * ground[2, :2]) / w[:, None]
    by_pixel[:, 1] = (ground[1, :2] - north[:, None] * ground[2, :2]) / w[:, None]
    return by_entry, by_pixel
