"""Frames are upright, files may not be: a georeference of the pixels as stored, for the frame as shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.georeference import Georeference, Points, Stance
from sam3edge.core.types import Box

AS_STORED = 1


@dataclass(frozen=True, slots=True, eq=False)
class Oriented:
    """A ``Georeference``.

    Attributes:
        stored: of the pixels as they are stored.
        orientation: EXIF's, 1..8 (EXIF 2.32, 4.6.5.1.5): how they are shown.
    """

    stored: Georeference
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """See ``Georeference``."""
        width, height = self.stored.size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def stance(self) -> Stance:
        """See ``Georeference``."""
        return self.stored.stance

    def to_world(self, pixels: Points) -> Points:
        """See ``Georeference``."""
        return self.stored.to_world(self._stored(pixels))

    def to_pixels(self, positions: Points) -> Points:
        """See ``Georeference``."""
        return self._shown(self.stored.to_pixels(positions))

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        """See ``Georeference``."""
        return self.stored.accuracy(self._stored(pixels))

    def valid(self, bounds: Box) -> Polygon | MultiPolygon:
        """See ``Georeference``."""
        corners = self._stored(np.array([bounds[:2], bounds[2:]]))
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        valid: Polygon | MultiPolygon = shapely.transform(self.stored.valid((x0, y0, x1, y1)), self._shown)
        return valid

    def _stored(self, shown: Points) -> Points:
        """The inverse of what ``images/decoding.py`` does to pixels."""
        width, height = self.size
        x, y = shown[:, 0], shown[:, 1]
        if self.orientation in (2, 3, 6, 7):
            x = width - x
        if self.orientation in (3, 4, 7, 8):
            y = height - y
        return np.stack([y, x] if self.orientation >= 5 else [x, y], axis=1)

    def _shown(self, stored: Points) -> Points:
        width, height = self.size
        x, y = (stored[:, 1], stored[:, 0]) if self.orientation >= 5 else (stored[:, 0], stored[:, 1])
        if self.orientation in (2, 3, 6, 7):
            x = width - x
        if self.orientation in (3, 4, 7, 8):
            y = height - y
        return np.stack([x, y], axis=1)
