"""Where a track should be: a Kalman filter of constant velocity, whatever time lies between two looks.

It is the same in the picture, in pixels, and on the ground, in metres. Noise of the measurement may be larger in one
direction than in another, as is that of a position far from a camera that looks from the side. The noise of the motion
is white acceleration (Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 6.2.2), in
sizes of the object, for how fast something crosses an image depends on how large it appears there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Matrices = npt.NDArray[np.float64]
"""float64 [..., 2, 2] or [4, 4]."""

MEASURED = 0.1
"""Standard deviation of a measured centre, in sizes."""

FIRST_SPEED = 2.0
"""Standard deviation of the velocity of what was seen once, sizes a second: a walking person makes 1.3, a car in town
2.2."""

ACCELERATION = 0.5
"""Root of the spectral density of the acceleration, sizes a second ** 1.5."""

NEAR_EDGE = 0.7
"""Of the way that something may have made since the last look, but of a second's at most: what is farther from the edge
of the picture need not have come in over it."""

COMES_IN = 2.0
"""Seconds between two looks up to which something at the edge of the picture is still on its way in; after longer ones
it may have stopped there."""

HORIZON = 5.0
"""Seconds after which a velocity says nothing any more."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Position and velocity on a plane.

    Attributes:
        x, y: in units of the plane; vx, vy likewise, a second.
        covariance: of the four, row by row: 16 numbers.
    """

    x: float
    y: float
    vx: float
    vy: float
    covariance: tuple[float, ...]

    def after(self, seconds: float, size: float) -> Motion:
        """So much later, as if it had continued; after ``HORIZON`` it stands still.

        Args:
            size: of the object, in units of the plane.
        """
        t, q = min(max(seconds, 0.0), HORIZON), (ACCELERATION * size) ** 2
        step = np.array([[1.0, 0.0, t, 0.0], [0.0, 1.0, 0.0, t], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
        p, c, v = q * t**3 / 3, q * t * t / 2, q * t
        noise = [[p, 0.0, c, 0.0], [0.0, p, 0.0, c], [c, 0.0, v, 0.0], [0.0, c, 0.0, v]]
        spread = step @ self._spread() @ step.T + noise
        return Motion(self.x + t * self.vx, self.y + t * self.vy, self.vx, self.vy, _written(spread))

    def resting(self, size: float) -> Motion:
        """After a pause in which nothing was looked at, as a gate makes where nothing moves: still there, or anywhere
        near, and how fast is not known."""
        return _unknown(self.x, self.y, np.eye(2) * size**2, size)

    def corrected(self, x: float, y: float, noise: Matrices) -> Motion:
        """With a measured centre.

        Args:
            noise: its covariance, [2, 2].
        """
        spread = self._spread()
        gain = np.linalg.solve(spread[:2, :2] + noise, spread[:2]).T
        state = np.array([self.x, self.y, self.vx, self.vy]) + gain @ [x - self.x, y - self.y]
        x, y, vx, vy = map(float, state)
        return Motion(x, y, vx, vy, _written(spread - gain @ spread[:2]))

    def around(self, x: float, y: float) -> Motion:
        """The same on a plane whose origin is there."""
        return replace(self, x=self.x - x, y=self.y - y)

    @property
    def speed_deviation(self) -> float:
        """Standard deviation of the velocity, in the direction in which it is least known."""
        return float(np.sqrt(np.linalg.eigvalsh(self._spread()[2:, 2:])[-1]))

    def compared(
        self, centers: npt.NDArray[np.float64], noises: Matrices
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """How far measured centres are from where it should be, [n] standard deviations, and over which area that is
        spread, [n]: the likelihood of a centre is exp(-deviations ** 2 / 2) / area.

        Args:
            centers: [n, 2].
            noises: their covariances, [n, 2, 2], or that of all of them, [2, 2].
        """
        away, spreads = centers - [self.x, self.y], self._spread()[:2, :2] + noises
        squares = np.einsum("...i,...ij,...j->...", away, np.linalg.inv(spreads), away)
        areas = 2 * np.pi * np.sqrt(np.linalg.det(spreads))
        return np.sqrt(squares), np.broadcast_to(areas, squares.shape)

    def _spread(self) -> Matrices:
        return np.array(self.covariance).reshape(4, 4)


def first_seen(x: float, y: float, noise: Matrices, size: float) -> Motion:
    """Of what was seen once: where it is is known to within a measurement, how it moves not at all.

    Args:
        noise: covariance of the measured centre, [2, 2].
    """
    return _unknown(x, y, noise, size)


@dataclass(frozen=True, slots=True)
class Edge:
    """The edge of the picture that something is nearest to.

    Attributes:
        away: how far, in units of the plane.
        inwards: direction away from the edge, of length 1.
        seconds: since the last look.
    """

    away: float
    inwards: tuple[float, float]
    seconds: float


def came_in(motion: Motion, edge: Edge, size: float) -> Motion:
    """Of what was seen once, near an edge of the picture, and was not there before: it has come in over that edge, so
    it moves inwards, at least as fast as it takes to get so far. Else who comes in after somebody, where he came in,
    would be taken for him.

    The speed is that of ``first_seen`` under this condition: a normal distribution of which the lower part is cut off.
    """
    speed = FIRST_SPEED * size
    if not 0 < edge.seconds <= COMES_IN or edge.away > NEAR_EDGE * speed * min(edge.seconds, 1.0):
        return motion
    least = max(0.0, edge.away) / edge.seconds / speed
    beyond = math.exp(-(least**2) / 2) / math.sqrt(2 * math.pi) / (math.erfc(least / math.sqrt(2)) / 2)
    known = 1.0 - (1 + least * beyond - beyond**2)
    spread = motion._spread()
    spread[2:, 2:] -= known * speed**2 * np.outer(edge.inwards, edge.inwards)
    vx, vy = beyond * speed * np.array(edge.inwards)
    return replace(motion, vx=float(vx), vy=float(vy), covariance=_written(spread))


def measured(size: float) -> Matrices:
    """[2, 2], covariance of a centre that was measured in the picture."""
    return np.eye(2) * (MEASURED * size) ** 2


def _unknown(x: float, y: float, noise: Matrices, size: float) -> Motion:
    spread = np.zeros((4, 4))
    spread[:2, :2], spread[2:, 2:] = noise, np.eye(2) * (FIRST_SPEED * size) ** 2
    return Motion(x, y, 0.0, 0.0, _written(spread))


def _written(spread: Matrices) -> tuple[float, ...]:
    return tuple(map(float, spread.ravel()))
