"""A camera whose lens bends straight lines: a homography places its ideal picture, of which frames are bent copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.georeference import Georeference, Points, Stance
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box
from sam3edge.geo.camera import HORIZON_MARGIN, PIXEL_SIGMA, GroundCamera
from sam3edge.geo.lens import BendingLens, Lens

PIECE = 8.0
"""Pixels: lines are divided into pieces of this length, each of which stays straight through a lens."""


@dataclass(frozen=True, slots=True, eq=False)
class LensedCamera:
    """A ``Georeference``.

    Attributes:
        camera: of the ideal picture.
        lens: through which the frame shows it.
    """

    camera: GroundCamera
    lens: BendingLens

    @property
    def size(self) -> tuple[int, int]:
        """See ``Georeference``."""
        return self.camera.size

    @property
    def stance(self) -> Stance:
        """See ``Georeference``."""
        return self.camera.stance

    def to_world(self, pixels: Points) -> Points:
        """See ``Georeference``."""
        return self.camera.to_world(self.lens.ideal(pixels))

    def to_pixels(self, positions: Points) -> Points:
        """See ``Georeference``."""
        return self.lens.shown(self.camera.to_pixels(positions))

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        """See ``Georeference``: as of a camera without lens; the coefficients are taken to be right."""
        by_pixel = self.lens.derivative(pixels)
        return self.camera.radius(self.lens.ideal(pixels), PIXEL_SIGMA**2 * by_pixel @ by_pixel.transpose(0, 2, 1))

    def valid(self, bounds: Box) -> Polygon | MultiPolygon:
        """See ``Georeference``: where the lens is trusted and the ideal picture has a place."""
        seen = areas_only(shapely.intersection(shapely.box(*bounds), self.lens.field))
        if seen.is_empty:
            return Polygon()
        ideal = shapely.transform(shapely.segmentize(seen, PIECE), self.lens.ideal)
        has_place = self.camera.below_horizon(shapely.get_coordinates(ideal)) >= HORIZON_MARGIN
        if has_place.all() or not has_place.any():
            return seen if has_place.all() else Polygon()
        x0, y0, x1, y1 = ideal.bounds
        below = areas_only(shapely.intersection(ideal, self.camera.valid((x0, y0, x1, y1))))
        return areas_only(shapely.intersection(seen, _shown(below, self.lens)))


def through(lens: Lens, camera: GroundCamera) -> Georeference:
    """What places the pixels of the frame that a lens makes of a camera's ideal picture."""
    return LensedCamera(camera, lens) if isinstance(lens, BendingLens) else camera


def _shown(ideal: Polygon | MultiPolygon, lens: BendingLens) -> Polygon | MultiPolygon:
    return areas_only(shapely.transform(shapely.segmentize(ideal, PIECE), lens.shown))
