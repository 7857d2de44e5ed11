"""What an image file says about itself, read before anything is decoded.

The decoder allocates whatever a header asks for and is lenient with files that stop early. These readers refuse such
files first, cheaply: they follow the structure of the file from its first byte to its end marker, and decode no pixel.
"""

from __future__ import annotations

from collections.abc import Callable

from sam3edge.images.headers import bmp, jpeg, png, tiff, webp
from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated

__all__ = ["HeaderError", "ImageHeader", "Truncated", "read_header"]

_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], ImageHeader]], ...] = (
    (jpeg.recognises, jpeg.read),
    (png.recognises, png.read),
    (webp.recognises, webp.read),
    (tiff.recognises, tiff.read),
    (bmp.recognises, bmp.read),
)


_BEGINNING = 512


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP, TIFF or BMP file and check that the file is whole.

    Raises:
        Truncated: cut short, empty, or room that was taken and not written yet.
        HeaderError: none of these formats, or damaged.
    """
    if not data:
        raise Truncated("the file is empty")
    for recognises, read in _READERS:
        if recognises(data):
            return read(data)
    if not data[:_BEGINNING].strip(b"\0"):
        raise Truncated("the file begins with zeros: its content is not there yet")
    raise HeaderError(f"expected a JPEG, PNG, WebP, TIFF or BMP image, got a file that begins with {data[:8]!r}")
