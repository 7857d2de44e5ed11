"""What every reader returns, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


class HeaderError(ValueError):
    """The file is not a whole image of a known format; the text says what is wrong with it."""


class Truncated(HeaderError):
    """The file ends before the image does: perhaps it is still being written."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What can be known of an image without decoding it.

    Attributes:
        format: ``JPEG``, ``PNG``, ``WebP``, ``TIFF`` or ``BMP``.
        width: pixels from left to right as stored, before the orientation is applied.
        height: pixels from top to bottom as stored.
        pixels: how many pixels the decoder has to find room for; more than width * height where tiles overhang.
        orientation: EXIF orientation, 1..8; 1 is upright.
        taken_at: by EXIF: GPS time or a time with its offset to UTC, timezone-aware; a time without offset, naive.
        by_gps: whether that was GPS.
        floating: whether the values are floating point numbers.
        orientation_bytes: where the orientation is stored, for formats whose decoder applies it unasked.
        ends_at: of a JPEG without an end marker, where its scan ends; whether every row is there, only decoding tells.
            None of a whole file.
    """

    format: str
    width: int
    height: int
    pixels: int
    orientation: int = 1
    taken_at: datetime | None = None
    by_gps: bool = False
    floating: bool = False
    orientation_bytes: slice | None = None
    ends_at: int | None = None


MAX_SIDE = 1_000_000
"""Pixels of one side. Lines of millions of pixels are no pictures, and resizing them fails in the model's runtime."""


def check_size(width: int, height: int) -> None:
    """Refuse an image without pixels, and one that is a line."""
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise HeaderError(f"expected sides of 1 to {MAX_SIDE} pixels, the header says {width} x {height}")
