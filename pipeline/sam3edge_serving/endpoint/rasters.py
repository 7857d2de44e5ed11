"""Images that GDAL reads: what satellites and aircraft send, which the device's decoder does not know.

GDAL opens files, addresses and archives that the bytes name, by more than a hundred drivers. Only one driver is let
near the bytes of a request, that of their format, and no neighbour of the file: no sidecars, no overviews, no virtual
file systems beside the memory that the bytes lie in. (GDAL's NITF driver gives a picture inside to its JPEG 2000
and JPEG drivers and to no other; a test looks whether that is so.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Compression
from rasterio.io import DatasetReader, MemoryFile

from sam3edge.core.types import RgbImage
from sam3edge.images.bands import colored, scalable, visible_bands
from sam3edge.images.decoding import DecodeError, DecodeOptions
from sam3edge.images.depth import to_eight_bits
from sam3edge.images.headers import HeaderError, ImageHeader
from sam3edge.images.headers.header import check_size

NITF = "NITF"
_NITF_MAGIC = (b"NITF0", b"NSIF0")
_DRIVERS = {"TIFF": "GTiff", NITF: "NITF"}

_CLOSED = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 64,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing",
}
"""No files beside the file, no statistics or masks in sidecars, and not one address; 64 MB of blocks that are kept."""

_JPEG_2000_BYTES = 6
"""Of a sample, while it is decoded."""

_WORKING = 4
"""What reading takes at most of the size of all bands: the file's blocks, the bands, and their copies as numbers that
are stretched."""

STORED_BYTES_PER_PIXEL = 6
"""A file is refused when all of its bands take more than this times the pixels that an image may have: three bands of
16 bits. Bands that are stored together are unpacked together."""


def is_nitf(data: bytes) -> bool:
    """Whether it begins as a National Imagery Transmission Format file (MIL-STD-2500C) or NATO's NSIF does."""
    return data.startswith(_NITF_MAGIC)


def read_nitf_header(data: bytes) -> ImageHeader:
    """The size of its first image segment.

    Raises:
        HeaderError: damaged, cut short, or without an image.
    """
    try:
        with _opened(data, NITF) as dataset:
            width, height = dataset.width, dataset.height
    except Exception as error:  # GDAL's errors share no base; whatever it raises, it is this file that made it
        raise HeaderError(f"the NITF cannot be read: {_said(error)}") from error
    check_size(width, height)
    return ImageHeader(NITF, width, height, width * height)


def raster_cost(data: bytes, format: str, max_pixels: int) -> int:
    """What reading it takes for a moment, in pixels of RGB, before anything is decoded.

    Raises:
        DecodeError: damaged, or its bands take more memory than ``max_pixels`` allow.
    """
    try:
        with _opened(data, format) as dataset:
            sample = int(max(np.dtype(name).itemsize for name in dataset.dtypes))
            if dataset.compression is Compression.jpeg2000:
                sample = max(sample, _JPEG_2000_BYTES)
            pixels, count = int(dataset.width * dataset.height), int(dataset.count)
    except Exception as error:  # as above
        raise DecodeError(f"the {format} cannot be read: {_said(error)}") from error
    stored = pixels * count * sample
    if stored > STORED_BYTES_PER_PIXEL * max_pixels:
        raise DecodeError(f"its {count} bands take {stored} bytes; send it in tiles or with fewer bands")
    return max(pixels, stored * _WORKING // 3)


def read_raster(data: bytes, header: ImageHeader, options: DecodeOptions) -> RgbImage:
    """Decode a TIFF or NITF of one to many bands, of whole or floating point numbers.

    Values of 8 and 16 bits without sign are read as on devices. Others have no full range that sensors would use: where
    ``options`` says so, they are stretched between the 1st and the 99th percentile of the image.

    Raises:
        DecodeError: damaged, turned, or of complex numbers.
    """
    if header.orientation != 1:
        raise DecodeError(f"expected a {header.format} that is stored upright, got orientation {header.orientation}")
    try:
        with _opened(data, header.format) as dataset:
            return _pixels(dataset, options)
    except DecodeError:
        raise
    except Exception as error:  # as above
        raise DecodeError(f"the {header.format} cannot be decoded: {_said(error)}") from error


@contextmanager
def _opened(data: bytes, format: str) -> Iterator[DatasetReader]:
    with (
        rasterio.Env(**_CLOSED),
        MemoryFile(data) as file,
        file.open(driver=_DRIVERS[format], sharing=False) as dataset,
    ):
        yield dataset


def _pixels(dataset: DatasetReader, options: DecodeOptions) -> RgbImage:
    kinds = [np.dtype(name) for name in sorted(set(dataset.dtypes))]
    if len(kinds) > 1 or kinds[0].kind not in "uif":
        raise DecodeError(f"expected bands of whole or floating point numbers, got {', '.join(map(str, kinds))}")
    bands = dataset.read(visible_bands([color.name for color in dataset.colorinterp]))
    valid = dataset.dataset_mask() > 0
    if dataset.colorinterp[0] is ColorInterp.palette and bands.dtype == np.uint8:
        image = colored(bands[0], dataset.colormap(1))
    else:
        numbers, depth = scalable(bands, options.depth)
        image = np.array(to_eight_bits(numbers, depth, valid))
    image[:, ~valid] = 0
    if len(image) == 1:
        image = np.repeat(image, 3, axis=0)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
