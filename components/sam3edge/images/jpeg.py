"""A frame as a JPEG that fits: into a request's body, or into a message."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.types import Frame

QUALITY = 90
MIN_SIDE = 64
"""Pixels of the longer side below which an image is not worth sending."""

SMALLEST_STEP, LARGEST_STEP = 0.7, 0.9
"""Bounds of how much shorter the sides become between two tries. Noise takes fewer bytes a pixel in a smaller image, so
the estimate alone would make it needlessly small."""


class JpegError(Sam3EdgeError):
    """A frame cannot be made into a JPEG of the size that is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An encoded frame.

    Attributes:
        jpeg: its bytes.
        width: pixels, as is ``height``.
    """

    jpeg: bytes
    width: int
    height: int


def picture_of(frame: Frame, longest_side: int, max_bytes: int, quality: int = QUALITY) -> Picture:
    """Encode a frame, made smaller until it fits.

    Args:
        longest_side: pixels that the longer side has at most.
        max_bytes: of the JPEG.
        quality: of the JPEG, 1..100.

    Raises:
        JpegError: not even a thumbnail fits.
    """
    side = min(longest_side, max(frame.image.shape[:2]))
    while True:
        picture = _encode(frame, side, quality)
        if len(picture.jpeg) <= max_bytes:
            return picture
        if side <= MIN_SIDE:
            raise JpegError(
                f"{frame.name} does not fit into {max_bytes} bytes as JPEG, the last try took {len(picture.jpeg)}"
            )
        step = math.sqrt(max(0, max_bytes) / len(picture.jpeg)) * 0.95  # as if all sizes took the same bytes a pixel
        side = max(MIN_SIDE, int(side * min(LARGEST_STEP, max(SMALLEST_STEP, step))))


def _encode(frame: Frame, side: int, quality: int) -> Picture:
    image = frame.image
    share = side / max(image.shape[:2])
    height, width = (max(1, round(length * share)) for length in image.shape[:2])
    if share < 1:
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise JpegError(f"{frame.name} with {width} x {height} pixels cannot be encoded as JPEG")
    return Picture(jpeg.tobytes(), width, height)
