"""Where a track should be: a Kalman filter of constant velocity, whatever time lies between two looks.

Both axes have the same variances and do not depend on each other, so the covariance is a 2 x 2 matrix of position and
velocity (``var_p``, ``cov``, ``var_v``) and everything is in closed form. The noise is white acceleration (Bar-Shalom,
Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 6.2.2), in sizes of the object, for how fast
something crosses an image depends on how large it appears there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MEASURED = 0.1
"""Standard deviation of a measured centre, in sizes."""

FIRST_SPEED = 2.0
"""Standard deviation of the velocity of what was seen once, sizes a second: a walking person makes 1.3, a car in town
2.2."""

ACCELERATION = 0.5
"""Root of the spectral density of the acceleration, sizes a second ** 1.5."""

HORIZON = 5.0
"""Seconds after which a velocity says nothing any more."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Centre and velocity in pixels and pixels a second, with their variances."""

    x: float
    y: float
    vx: float
    vy: float
    var_p: float
    cov: float
    var_v: float

    def after(self, seconds: float, size: float) -> Motion:
        """So much later, as if it had continued; after ``HORIZON`` it stands still.

        Args:
            size: of the object, pixels: the root of its area.
        """
        t, q = min(max(seconds, 0.0), HORIZON), (ACCELERATION * size) ** 2
        return Motion(
            self.x + t * self.vx,
            self.y + t * self.vy,
            self.vx,
            self.vy,
            self.var_p + 2 * t * self.cov + t * t * self.var_v + q * t**3 / 3,
            self.cov + t * self.var_v + q * t * t / 2,
            self.var_v + q * t,
        )

    def resting(self, size: float) -> Motion:
        """After a pause in which nothing was looked at, as a gate makes where nothing moves: still there, or anywhere
        near, and how fast is not known."""
        return Motion(self.x, self.y, 0.0, 0.0, size**2, 0.0, (FIRST_SPEED * size) ** 2)

    def corrected(self, x: float, y: float, size: float) -> Motion:
        """With a measured centre."""
        spread = self.var_p + (MEASURED * size) ** 2
        gain_p, gain_v = self.var_p / spread, self.cov / spread
        dx, dy = x - self.x, y - self.y
        return Motion(
            self.x + gain_p * dx,
            self.y + gain_p * dy,
            self.vx + gain_v * dx,
            self.vy + gain_v * dy,
            (1 - gain_p) * self.var_p,
            (1 - gain_p) * self.cov,
            self.var_v - gain_v * self.cov,
        )

    def deviations(self, x: float, y: float, size: float) -> float:
        """How far a measured centre is from where it should be, in standard deviations."""
        return math.hypot(x - self.x, y - self.y) / math.sqrt(self.var_p + (MEASURED * size) ** 2)


def first_seen(x: float, y: float, size: float) -> Motion:
    """Of what was seen once."""
    return Motion(x, y, 0.0, 0.0, (MEASURED * size) ** 2, 0.0, (FIRST_SPEED * size) ** 2)
