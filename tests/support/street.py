"""What a fixed camera sees: a background full of detail, the same camera turned, and all that must not matter."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from sam3edge.core.types import RgbImage
from sam3edge_pipeline.synthetic.canvas import smooth_noise
from support.places import CAMERA_SIZE, POSE


@cache
def street(seed: int, things: int = 350) -> RgbImage:
    """uint8 [720, 1280, 3], what ``CAMERA`` sees: facets of many sizes and colours."""
    rng, (width, height) = np.random.default_rng(seed), CAMERA_SIZE
    image = 110 + 40 * smooth_noise(rng, height, width, 40)[..., None] + np.zeros(3, np.float32)
    for _ in range(things):
        center, radius = rng.uniform((0, 0), CAMERA_SIZE), rng.uniform(6, 60)
        corners = center + rng.uniform(-radius, radius, (int(rng.integers(3, 6)), 2))
        cv2.fillConvexPoly(image, cv2.convexHull(np.round(corners).astype(np.int32)), rng.uniform(20, 235, 3).tolist())
    finished = noisy(cv2.GaussianBlur(image, (0, 0), 0.8), rng, 2.0)
    finished.setflags(write=False)
    return finished


def turned(image: RgbImage, pan: float = 0.0, tilt: float = 0.0, roll: float = 0.0) -> RgbImage:
    """What ``CAMERA`` would see if it were turned by these degrees; beyond the picture there are other things."""
    focal = CAMERA_SIZE[0] / 2 / np.tan(np.radians(POSE.field_of_view / 2))
    lens = np.array([[focal, 0, CAMERA_SIZE[0] / 2], [0, focal, CAMERA_SIZE[1] / 2], [0, 0, 1]])
    turn, _ = cv2.Rodrigues(np.radians([tilt, pan, roll]))
    matrix = lens @ turn @ np.linalg.inv(lens)
    return np.asarray(cv2.warpPerspective(image, matrix, CAMERA_SIZE, borderMode=cv2.BORDER_REFLECT), np.uint8)


def brighter(image: RgbImage, gain: float, offset: float) -> RgbImage:
    """Another exposure; fog, where the gain is small and the offset large."""
    return np.clip(image * gain + offset, 0, 255).astype(np.uint8)


def noisy(image: RgbImage, rng: np.random.Generator, sigma: float) -> RgbImage:
    """With noise of this standard deviation."""
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8)


def behind(image: RgbImage, other: RgbImage, share: float, left: float) -> RgbImage:
    """Behind a part of another picture as high as the frame, such as a lorry; ``left`` is 0..1."""
    width = round(share * image.shape[1])
    x = round(left * (image.shape[1] - width))
    seen = image.copy()
    seen[:, x : x + width] = other[:, :width]
    return seen
