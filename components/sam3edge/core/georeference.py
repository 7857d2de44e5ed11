"""What places pixels on Earth, as the core sees it; ``geo/`` has the kinds.

Positions are longitude and latitude in degrees of WGS 84, in this order, longitudes within -180..180. Pixels are x, y
of the frame as everywhere (``core/types.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.types import Box, Frame

Points: TypeAlias = npt.NDArray[np.float64]
"""float64 [n, 2]: x, y in pixels, or longitude, latitude in degrees."""

Stance: TypeAlias = Literal["above", "side"]
"""Where the camera looks from: on things from above, or from the side on things that stand."""

FARTHEST = 100_000.0
"""Metres that a camera on flat ground sees: there the Earth has bent away by 785 m."""


class Georeference(Protocol):
    """Where the pixels of one frame are. Used by one thread."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the frames that it is for."""

    @property
    def stance(self) -> Stance:
        """Where the camera looks from."""

    def to_world(self, pixels: Points) -> Points:
        """Positions of pixels; NaN where a pixel has no place, such as the sky."""

    def to_pixels(self, positions: Points) -> Points:
        """Pixels of positions, also of those outside of the frame; NaN where none shows the position."""

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        """[n], metres: in 95 of 100 cases the true position is nearer than this. Half a pixel is part of it."""

    def valid(self, bounds: Box) -> Polygon | MultiPolygon:
        """The part of these bounds, in pixels of the frame, that has a place; empty where nothing has."""


BackgroundState: TypeAlias = Literal["confirmed", "unconfirmed", "moved"]
"""A fixed camera's background is seen where it was; nobody can say; it is seen elsewhere, for the camera has moved."""


@dataclass(frozen=True, slots=True)
class BackgroundStatus:
    """Whether a fixed camera looks where it looked, and since when, UTC, this is so."""

    state: BackgroundState
    since: datetime


class Georeferencing(Protocol):
    """What knows the georeference of frames. Used by one thread, but for ``background``."""

    def georeference_of(self, frame: Frame) -> Georeference:
        """Where the pixels of this frame are.

        Raises:
            GeoreferenceError: it is not known, or what is known does not fit the frame.
        """

    @property
    def background(self) -> BackgroundStatus | None:
        """What is known of a fixed camera's background; None where nothing watches it."""
