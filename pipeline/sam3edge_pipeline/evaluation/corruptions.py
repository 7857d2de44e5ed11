"""Six ways in which a camera's images get worse, each in three strengths.

Kinds and strengths follow Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (2019), reduced to what happens to a fixed camera: out of focus, sensor noise, a failing lamp, glare, fog
or a dirty lens, and a poor link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""uint8 [h, w, 3], RGB."""

STRENGTHS = (1, 2, 3)


def blur(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Gaussian, of 2, 4 or 8 pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), (2.0, 4.0, 8.0)[strength - 1]), np.uint8)


def noise(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """Gaussian, with a standard deviation of 15, 35 or 70 grey levels."""
    return _clip(image + rng.normal(0, (15, 35, 70)[strength - 1], image.shape))


def dark(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """0.6, 0.35 or 0.15 of the light."""
    return _clip(image * (0.6, 0.35, 0.15)[strength - 1])


def bright(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """1.3, 1.7 or 2.5 times the light, cut off at white."""
    return _clip(image * (1.3, 1.7, 2.5)[strength - 1])


def fog(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """0.6, 0.35 or 0.15 of the contrast, towards light grey."""
    share = (0.6, 0.35, 0.15)[strength - 1]
    return _clip(image * share + 190 * (1 - share))


def jpeg_blocks(image: Image, strength: int, rng: np.random.Generator) -> Image:
    """JPEG of quality 25, 10 or 3."""
    quality = (25, 10, 3)[strength - 1]
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


CORRUPTIONS: Mapping[str, Callable[[Image, int, np.random.Generator], Image]] = {
    "blur": blur,
    "noise": noise,
    "dark": dark,
    "bright": bright,
    "fog": fog,
    "JPEG blocks": jpeg_blocks,
}


def _clip(image: npt.NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(image, 0, 255), np.uint8)
