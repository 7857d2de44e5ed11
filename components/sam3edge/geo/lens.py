"""Lenses that bend straight lines, by the models of OpenCV.

    pixel = centre + focal * distorted(x, y)

where x, y are those of the ideal picture, that of a pinhole, at a distance of 1. ``BrownConrady`` is what
``cv2.calibrateCamera`` fits (https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html), ``Fisheye`` what
``cv2.fisheye.calibrate`` does (https://docs.opencv.org/4.x/db/d58/group__calib3d__fisheye.html). For the rest of
the code a lens turns pixels of the frame into those of an ideal picture of the same size and focal length, and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from shapely.geometry import Polygon

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points

Matrices: TypeAlias = npt.NDArray[np.float64]
"""float64 [n, 2, 2]"""

MAX_REACH = 5.7
"""Of x, y: 80 degrees from the optical axis. What is seen beyond that has no place in an ideal picture."""

LEAST_SCALE = 0.02
"""A lens is trusted as far as it shows things at least at this share of their ideal size. Where this falls to 0 the
model turns around, and two directions are seen at one pixel."""

RINGS, RAYS = 570, 36
"""Where that is looked at: this many radii, in this many directions."""

RIM = 0.995
"""Share of the radius up to which a lens is trusted that counts, for the straight lines between points of its rim."""

MAX_STEPS = 30
PRECISION = 1e-9
_STEP = 1e-6


class Distortion(Protocol):
    """What a lens does to x, y of the ideal picture at a distance of 1."""

    @property
    def coefficients(self) -> tuple[float, ...]:
        """OpenCV's, in its order."""

    def distorted(self, points: Points) -> Points:
        """[n, 2] -> [n, 2]"""


@dataclass(frozen=True, slots=True)
class BrownConrady:
    """Attributes: coefficients: k1, k2, p1, p2, k3, k4, k5, k6, or the first 0 to 5 of them."""

    coefficients: tuple[float, ...]

    def distorted(self, points: Points) -> Points:
        """See ``Distortion``."""
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.coefficients, *[0.0] * (8 - len(self.coefficients)))
        x, y = points[:, 0], points[:, 1]
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=1,
        )


@dataclass(frozen=True, slots=True)
class Fisheye:
    """Attributes: coefficients: k1, k2, k3, k4, or the first of them."""

    coefficients: tuple[float, ...]

    def distorted(self, points: Points) -> Points:
        """See ``Distortion``."""
        k1, k2, k3, k4 = (*self.coefficients, *[0.0] * (4 - len(self.coefficients)))
        r = np.hypot(points[:, 0], points[:, 1])
        angle = np.arctan(r)
        a2 = angle * angle
        bent = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
        return np.asarray(points * np.where(r > 0, bent / np.where(r > 0, r, 1.0), 1.0)[:, None])


class Lens(Protocol):
    """From pixels of the frame to those of an ideal picture, and back."""

    def ideal(self, pixels: Points) -> Points:
        """[n, 2] pixels of the frame -> of the ideal picture; NaN where the lens is not to be trusted."""

    def shown(self, ideal: Points) -> Points:
        """[n, 2] pixels of the ideal picture -> of the frame; NaN where the lens is not to be trusted."""

    def derivative(self, pixels: Points) -> Matrices:
        """Of pixels of the ideal picture, by those of the frame."""


class NoLens:
    """A ``Lens`` for pictures that are ideal."""

    def ideal(self, pixels: Points) -> Points:
        """See ``Lens``."""
        return pixels

    def shown(self, ideal: Points) -> Points:
        """See ``Lens``."""
        return ideal

    def derivative(self, pixels: Points) -> Matrices:
        """See ``Lens``."""
        return np.broadcast_to(np.eye(2), (len(pixels), 2, 2))


@dataclass(frozen=True, slots=True, eq=False)
class BendingLens:
    """A ``Lens``.

    Attributes:
        size: width and height of the frame, pixels.
        focal: aside and down, pixels; the ideal picture has the first.
        centre: where the optical axis is, pixels from the upper left corner of the frame. In the ideal picture it is in
            the middle.
        distortion: what the lens does.

    Raises:
        GeoreferenceError: there is no part of the picture in which the lens could be inverted.
    """

    size: tuple[int, int]
    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: Distortion
    _radii: npt.NDArray[np.float64] = field(init=False, repr=False)
    _bent: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        radii = np.linspace(0.0, MAX_REACH, RINGS)
        rays = np.linspace(0.0, 2 * np.pi, RAYS, endpoint=False)
        directions = np.stack([np.cos(rays), np.sin(rays)], axis=1)
        with np.errstate(all="ignore"):  # far out, polynomials may be anything
            slope = _slope(self.distortion, (radii[:, None, None] * directions).reshape(-1, 2))
            stretch = 0.5 * (slope + slope.transpose(0, 2, 1))
            stretch[~np.isfinite(stretch).all(axis=(1, 2))] = -np.eye(2)
            least = np.linalg.eigvalsh(stretch)[:, 0].reshape(RINGS, RAYS).min(axis=1)
        # where the symmetric part of the derivative is positive definite all over a disc, no two points meet
        trusted = int(np.argmin(least > LEAST_SCALE)) if not (least > LEAST_SCALE).all() else RINGS
        if trusted < 2:
            raise GeoreferenceError(
                f"expected a lens that can be inverted, got {self.distortion}; mend its coefficients"
            )
        along = self.distortion.distorted(np.stack([radii[:trusted], np.zeros(trusted)], axis=1))
        object.__setattr__(self, "_radii", radii[:trusted])
        object.__setattr__(self, "_bent", np.maximum.accumulate(np.hypot(along[:, 0], along[:, 1])))

    @property
    def field_of_view(self) -> float:
        """Degrees between the left and the right edge of the ideal picture."""
        return math.degrees(2 * math.atan(self.size[0] / 2 / self.focal[0]))

    @property
    def field(self) -> Polygon:
        """The part in which the lens is trusted, in pixels of the frame; it may reach beyond it."""
        rays = np.linspace(0.0, 2 * np.pi, 10 * RAYS, endpoint=False)
        rim = RIM * self._radii[-1] * np.stack([np.cos(rays), np.sin(rays)], axis=1)
        return Polygon(self.centre + self.distortion.distorted(rim) * self.focal)

    def ideal(self, pixels: Points) -> Points:
        """See ``Lens``."""
        bent = (pixels - self.centre) / self.focal
        return np.asarray(self._straightened(bent) * self.focal[0] + np.array(self.size) / 2)

    def shown(self, ideal: Points) -> Points:
        """See ``Lens``."""
        points = (ideal - np.array(self.size) / 2) / self.focal[0]
        with np.errstate(invalid="ignore"):
            points = np.where((np.hypot(*points.T) <= self._radii[-1])[:, None], points, np.nan)
        return np.asarray(self.distortion.distorted(points) * self.focal + self.centre)

    def derivative(self, pixels: Points) -> Matrices:
        """See ``Lens``."""
        slope = _slope(self.distortion, (self.ideal(pixels) - np.array(self.size) / 2) / self.focal[0])
        unknown = ~np.isfinite(slope).all(axis=(1, 2))
        slope[unknown] = np.eye(2)
        derivative = np.linalg.inv(slope) * (self.focal[0] / np.array(self.focal))
        derivative[unknown] = np.nan
        return np.asarray(derivative)

    def _straightened(self, bent: Points) -> Points:
        """The inverse of the distortion, by Newton's steps from what it would be without a tangential part."""
        with np.errstate(invalid="ignore"):
            far = np.hypot(bent[:, 0], bent[:, 1])
            start = np.interp(far, self._bent, self._radii) / np.where(far > 0, far, 1.0)
            points = bent * start[:, None]
            for _ in range(MAX_STEPS):
                off = self.distortion.distorted(points) - bent
                if not (np.abs(off) > PRECISION).any():
                    break
                slope = _slope(self.distortion, points)
                slope[~np.isfinite(slope).all(axis=(1, 2))] = np.eye(2)
                points = points - np.linalg.solve(slope, off[..., None])[..., 0]
                reach = np.hypot(points[:, 0], points[:, 1])
                points *= np.minimum(1.0, self._radii[-1] / np.where(reach > 0, reach, 1.0))[:, None]
            off = self.distortion.distorted(points) - bent
            known = np.asarray((np.abs(off) <= PRECISION).all(axis=1))
            return np.where(known[:, None], points, np.nan)


def _slope(distortion: Distortion, points: Points) -> Matrices:
    """[n, 2, 2], of what is distorted by what is not, by central differences."""
    columns = [
        (distortion.distorted(points + step) - distortion.distorted(points - step)) / (2 * _STEP)
        for step in (np.array([_STEP, 0.0]), np.array([0.0, _STEP]))
    ]
    return np.stack(columns, axis=2)
