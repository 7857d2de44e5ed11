"""From the bytes in a request to a frame.

Pictures are decoded by the device's own code, so that device and cloud see the same pixels. What that code does not
read is read by GDAL: TIFF files with more than three bands or two, with bands one after the other, with a NoData value.
Only GDAL's TIFF driver is let near the bytes; others open files and addresses that the bytes name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader, MemoryFile

from sam3edge.core.types import Frame, RgbImage
from sam3edge.images import files
from sam3edge.images.decoding import Decoded, DecodeError, DecodeOptions, decode, taken
from sam3edge.images.depth import to_eight_bits
from sam3edge.images.headers import HeaderError, ImageHeader, read_header
from sam3edge.images.headers.ifd import TagReader
from sam3edge_serving.http.errors import TooLarge, Unanswerable

_SAMPLES_PER_PIXEL, _PLANAR, _SAMPLE_FORMAT, _BITS_PER_SAMPLE, _NODATA = 277, 284, 339, 258, 42113
_PLAIN_SAMPLES = (1, 3)
_TOGETHER = 1
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

STORED_BYTES_PER_PIXEL = 16
"""A file of many bands is refused when all of its bands take more than this times the pixels that an image may have:
bands that are stored together are unpacked together."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The bytes of an image whose header was read.

    Attributes:
        data: as they came.
        header: what they say about themselves.
    """

    data: bytes
    header: ImageHeader


def inspect(data: bytes, max_pixels: int) -> Picture:
    """Read the header, which is cheap, before anything is decoded.

    Raises:
        Unanswerable: no image of a known format, or cut short.
        TooLarge: more pixels than allowed.
    """
    try:
        header = read_header(data)
    except HeaderError as error:
        raise Unanswerable(f"the image cannot be used: {error}") from error
    if header.pixels > max_pixels:
        raise TooLarge(
            f"the image must have at most {max_pixels} pixels, its header says {header.width} x {header.height}; make "
            "it smaller or send it in tiles"
        )
    return Picture(data, header)


def to_frame(picture: Picture, options: DecodeOptions, source: str, name: str) -> Frame:
    """Decode.

    Args:
        source: the caller, ``Frame.source``.
        name: what the image is called in the answer; the digest when empty.

    Raises:
        Unanswerable: damaged, or of a kind that is not read.
    """
    try:
        if _is_plain(picture):
            decoded = decode(picture.data, options)
        else:
            decoded = Decoded(_read_bands(picture, options), *taken(picture.header, options.time_zone))
    except (DecodeError, HeaderError) as error:
        raise Unanswerable(f"the image cannot be used: {error}") from error
    digest = hashlib.sha256(picture.data).hexdigest()
    return files.to_frame(decoded, digest, source, name, datetime.now(timezone.utc), otherwise="device")


def _is_plain(picture: Picture) -> bool:
    """Whether the device's decoder reads it as it is meant."""
    if picture.header.format != "TIFF":
        return True
    reader = TagReader(memoryview(picture.data))
    tags = reader.first_directory()

    def value(tag: int) -> int:
        return (reader.integers(tags[tag]) or (1,))[0] if tag in tags else 1

    samples, signed = value(_SAMPLES_PER_PIXEL), value(_SAMPLE_FORMAT) != 1
    return samples in _PLAIN_SAMPLES and value(_PLANAR) == _TOGETHER and _NODATA not in tags and not signed


def _read_bands(picture: Picture, options: DecodeOptions) -> RgbImage:
    if picture.header.orientation != 1:
        raise DecodeError("a TIFF of several bands must be stored upright (orientation 1)")
    try:
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"),
            MemoryFile(picture.data) as file,
            file.open(driver="GTiff", sharing=False) as dataset,
        ):
            return _read_dataset(dataset, options)
    except DecodeError:
        raise
    except Exception as error:  # GDAL's errors share no base; whatever it raises, it is this image that made it
        raise DecodeError(f"the TIFF cannot be decoded: {' '.join(str(error).split())[:300]}") from error


def _read_dataset(dataset: DatasetReader, options: DecodeOptions) -> RgbImage:
    kinds = sorted(set(dataset.dtypes))
    if kinds not in (["uint8"], ["uint16"]):
        raise DecodeError(f"expected bands of 8 or 16 bits without sign, got {', '.join(kinds)}")
    stored = dataset.width * dataset.height * dataset.count * np.dtype(kinds[0]).itemsize
    if stored > STORED_BYTES_PER_PIXEL * options.max_pixels:
        raise DecodeError(f"its {dataset.count} bands take {stored} bytes; send it in tiles or with fewer bands")
    bands = dataset.read(_visible(dataset))
    valid = dataset.dataset_mask() > 0
    image = np.array(to_eight_bits(bands, options.depth, valid))
    image[:, ~valid] = 0
    if len(image) == 1:
        image = np.repeat(image, 3, axis=0)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _visible(dataset: DatasetReader) -> list[int]:
    """Which bands are red, green and blue, counted from 1: those that the file calls so, else the first three; one
    band where there are fewer."""
    meaning = list(dataset.colorinterp)
    if all(color in meaning for color in _RGB):
        return [meaning.index(color) + 1 for color in _RGB]
    return [1, 2, 3] if dataset.count >= 3 else [1]
