"""Whether two images look alike, by 64 bits of each: the difference hash.

Neal Krawetz, "Kind of Like That" (https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html): it
holds which of two neighbours is brighter in an image of 9 x 8 pixels, so it ignores size, compression and exposure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from sam3edge.core.types import RgbImage

COLUMNS, ROWS = 8, 8

ALIKE = 6
"""Images whose hashes differ in at most this many of 64 bits are taken for the same."""

REMEMBERED = 256
"""Hashes that are compared with."""


def dhash(image: RgbImage) -> int:
    """The difference hash of an image.

    Args:
        image: uint8 [h, w, 3], RGB.

    Returns:
        64 bits, row by row from the top left, the first one the highest: whether a cell is brighter than the one to
        its right.
    """
    small = cv2.resize(image, (COLUMNS + 1, ROWS), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(np.asarray(small, np.uint8), cv2.COLOR_RGB2GRAY)
    bits = np.asarray(grey[:, :-1] > grey[:, 1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance(one: int, other: int) -> int:
    """In how many bits two hashes differ, 0..64."""
    return (one ^ other).bit_count()


def to_hex(value: int) -> str:
    """16 hexadecimal digits."""
    return f"{value:016x}"


class RecentHashes:
    """The hashes of the last images that were kept.

    Args:
        known: to begin with, the oldest first.
        alike: bits in which images differ that count as the same.
        size: hashes that are remembered.
    """

    def __init__(self, known: Iterable[int] = (), alike: int = ALIKE, size: int = REMEMBERED) -> None:
        self._alike = alike
        self._hashes = deque(known, maxlen=size)

    def has_like(self, value: int) -> bool:
        """Whether one of them looks like this."""
        return any(distance(value, known) <= self._alike for known in self._hashes)

    def add(self, value: int) -> None:
        """Remember one, and forget the oldest when there are too many."""
        self._hashes.append(value)
