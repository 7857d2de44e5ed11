"""A picture that remembers which pixels belong to which object."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Color = tuple[float, float, float]


@dataclass(slots=True)
class Canvas:
    """An RGB picture under construction.

    Attributes:
        image: float32 [H, W, 3], 0..255.
        objects: (phrase, bool [H, W]) in painting order; a later opaque object takes the pixels of those below it.
        taken: bool [H, W], where no further object may be placed.
        others: (phrase, bool [H, W]) of things that are not among the scenes' own phrases.
    """

    image: npt.NDArray[np.float32]
    rng: np.random.Generator
    objects: list[tuple[str, Mask]] = field(default_factory=list)
    taken: Mask = field(init=False)
    others: list[tuple[str, Mask]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.taken = np.zeros(self.image.shape[:2], bool)

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    def paint(self, mask: Mask, color: Color, grain: float = 0.0) -> None:
        """Fill ``mask`` with one colour, with noise of ``grain`` grey levels."""
        self.image[mask] = np.asarray(color, np.float32)
        if grain:
            self.image[mask] += self.rng.normal(0, grain, (int(mask.sum()), 1)).astype(np.float32)

    def shade(self, mask: Mask, amount: float | npt.NDArray[np.float32]) -> None:
        """Add ``amount`` grey levels (a number, or float32 [H, W]) inside ``mask``."""
        self.image[mask] += amount if isinstance(amount, float) else amount[mask][:, None]

    def add(self, phrase: str, mask: Mask, *, hides: bool = True, margin: int = 7) -> None:
        """Record an object; with ``hides`` it covers what is below it. ``margin`` pixels around it are then taken."""
        if hides:
            self.objects = [(p, m & ~mask) for p, m in self.objects]
        self.objects.append((phrase, mask))
        self.reserve(mask, margin)

    def reserve(self, mask: Mask, margin: int) -> None:
        """Keep further objects ``margin`` pixels away from ``mask``."""
        kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
        self.taken |= cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)

    def polygon(self, points: npt.NDArray[np.float64]) -> Mask:
        """Bool [H, W], the inside of a polygon of (x, y) pixels."""
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
        return mask.astype(bool)

    def ellipse(self, center: tuple[float, float], radii: tuple[float, float], angle: float) -> Mask:
        """Bool [H, W], the inside of an ellipse; ``angle`` in degrees."""
        mask = np.zeros((self.height, self.width), np.uint8)
        axes = (max(1, round(radii[0])), max(1, round(radii[1])))
        cv2.ellipse(mask, (round(center[0]), round(center[1])), axes, angle, 0, 360, 1, -1)
        return mask.astype(bool)

    def stroke(self, points: npt.NDArray[np.float64], width: float) -> Mask:
        """Bool [H, W], a polyline of (x, y) pixels, ``width`` pixels thick."""
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.polylines(mask, [np.round(points).astype(np.int32)], False, 1, max(1, round(width)))
        return mask.astype(bool)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> npt.NDArray[np.float32]:
    """float32 [height, width], unit-variance noise whose blobs are about ``cell`` pixels wide."""
    coarse = rng.normal(size=(max(2, int(height / cell) + 1), max(2, int(width / cell) + 1))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def rectangle(center: tuple[float, float], size: tuple[float, float], angle: float) -> npt.NDArray[np.float64]:
    """[4, 2] corners of a rectangle rotated by ``angle`` degrees about its centre."""
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * np.array(size) / 2
    return np.asarray(rotate(corners, angle) + np.array(center), np.float64)


def rotate(points: npt.NDArray[np.float64], angle: float) -> npt.NDArray[np.float64]:
    """Points [N, 2] rotated by ``angle`` degrees about the origin."""
    a = np.deg2rad(angle)
    return np.asarray(points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]), np.float64)
