"""What an image file says about itself, read before anything is decoded.

The decoder allocates whatever a header asks for and is lenient with files that stop early. These readers refuse such
files first, cheaply: they follow the structure of the file from its first byte to its end marker, and decode no pixel.
"""

from __future__ import annotations

from collections.abc import Callable

from sam3edge.images.headers import bmp, jpeg, png, tiff, webp
from sam3edge.images.headers.header import HeaderError, ImageHeader

__all__ = ["HeaderError", "ImageHeader", "read_header"]

_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], ImageHeader]], ...] = (
    (jpeg.recognises, jpeg.read),
    (png.recognises, png.read),
    (webp.recognises, webp.read),
    (tiff.recognises, tiff.read),
    (bmp.recognises, bmp.read),
)


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG, PNG, WebP, TIFF or BMP file and check that the file is whole.

    Raises:
        HeaderError: none of these formats, damaged, or cut short.
    """
    if not data:
        raise HeaderError("the file is empty")
    for recognises, read in _READERS:
        if recognises(data):
            return read(data)
    raise HeaderError(f"expected a JPEG, PNG, WebP, TIFF or BMP image, got a file that begins with {data[:8]!r}")
