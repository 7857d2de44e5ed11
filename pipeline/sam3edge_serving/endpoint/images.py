"""From the bytes in a request to a frame.

Pictures are decoded by the device's own code, so that device and cloud see the same pixels. What that code does not
read is read by GDAL (``rasters.py``): NITF, and TIFF files with more than three bands or two, with bands one after the
other, with a NoData value, with 32 bits, signed or floating point numbers, or compressed as OpenCV does not know it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone

from sam3edge.core.types import Frame
from sam3edge.images import files
from sam3edge.images.decoding import Decoded, DecodeError, DecodeOptions, decode, taken
from sam3edge.images.headers import HeaderError, ImageHeader, read_header
from sam3edge.images.headers.ifd import TagReader
from sam3edge_serving.endpoint.rasters import NITF, is_nitf, raster_cost, read_nitf_header, read_raster
from sam3edge_serving.http.errors import TooLarge, Unanswerable

_SAMPLES_PER_PIXEL, _BITS_PER_SAMPLE, _PLANAR, _SAMPLE_FORMAT, _COMPRESSION, _NODATA = 277, 258, 284, 339, 259, 42113
_PLAIN_SAMPLES = (1, 3)
_PLAIN_BITS = 16
_TOGETHER = 1
_WITHOUT_SIGN = 1
_PLAIN_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
"""None, CCITT's, LZW, JPEG, deflate (two numbers), PackBits: what OpenCV's libtiff is built with."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The bytes of an image whose header was read.

    Attributes:
        data: as they came.
        header: what they say about themselves.
        is_plain: whether the device's decoder reads it as it is meant.
        cost: what decoding it takes for a moment, in pixels of RGB.
    """

    data: bytes
    header: ImageHeader
    is_plain: bool
    cost: int


def inspect(data: bytes, max_pixels: int) -> Picture:
    """Read the header, which is cheap, before anything is decoded.

    Raises:
        Unanswerable: no image of a known format, or cut short.
        TooLarge: more pixels than allowed.
    """
    try:
        header = read_nitf_header(data) if is_nitf(data) else read_header(data)
    except HeaderError as error:
        raise _refused(error) from error
    if header.pixels > max_pixels:
        raise TooLarge(
            f"the image must have at most {max_pixels} pixels, its header says {header.width} x {header.height}; make "
            "it smaller or send it in tiles"
        )
    try:
        plain = _is_plain(data, header)
        cost = header.pixels if plain else raster_cost(data, header.format, max_pixels)
    except (DecodeError, HeaderError) as error:
        raise _refused(error) from error
    return Picture(data, header, plain, cost)


def to_frame(picture: Picture, options: DecodeOptions, source: str, name: str) -> Frame:
    """Decode.

    Args:
        source: the caller, ``Frame.source``.
        name: what the image is called in the answer; the digest when empty.

    Raises:
        Unanswerable: damaged, or of a kind that is not read.
    """
    try:
        if picture.is_plain:
            decoded = decode(picture.data, options)
        else:
            image = read_raster(picture.data, picture.header, options)
            decoded = Decoded(image, (image.shape[1], image.shape[0]), *taken(picture.header, options.time_zone))
    except (DecodeError, HeaderError) as error:
        raise _refused(error) from error
    digest = hashlib.sha256(picture.data).hexdigest()
    return files.to_frame(decoded, digest, source, name, datetime.now(timezone.utc), otherwise="device")


def _refused(error: DecodeError | HeaderError) -> Unanswerable:
    return Unanswerable(f"the image cannot be used: {error}")


def _is_plain(data: bytes, header: ImageHeader) -> bool:
    if header.format != "TIFF":
        return header.format != NITF
    reader = TagReader(memoryview(data))
    tags = reader.first_directory()

    def value(tag: int) -> int:
        return (reader.integers(tags[tag]) or (1,))[0] if tag in tags else 1

    return (
        value(_SAMPLES_PER_PIXEL) in _PLAIN_SAMPLES
        and value(_BITS_PER_SAMPLE) <= _PLAIN_BITS
        and value(_PLANAR) == _TOGETHER
        and value(_SAMPLE_FORMAT) == _WITHOUT_SIGN
        and value(_COMPRESSION) in _PLAIN_COMPRESSIONS
        and _NODATA not in tags
    )
