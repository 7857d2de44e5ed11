"""Image files opened by GDAL, which knows what they say of their place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL's own errors are; rasterio passes some on as they are
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from sam3edge.core.errors import GeoreferenceError
from sam3edge.images.headers import bmp, jpeg, png, tiff, webp

_DRIVERS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (tiff.recognises, "GTiff"),
    (jpeg.recognises, "JPEG"),
    (png.recognises, "PNG"),
    (webp.recognises, "WEBP"),
    (bmp.recognises, "BMP"),
)
"""The formats that are decoded, too; others that GDAL reads, such as VRT, may name files and addresses of their own."""

_BEGINNING = 64

GDAL_ERRORS = (OSError, RasterioError, CPLE_BaseError, UnicodeDecodeError)
"""What reading by GDAL raises; the last where a name in a damaged file is no UTF-8."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A rasterio dataset of an image file.

    Raises:
        GeoreferenceError: GDAL cannot read it, or something of it.
    """
    try:
        with open_dataset(path) as dataset:
            yield dataset
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"GDAL cannot read {path.name}: {error}") from error


def open_dataset(path: Path) -> Any:
    """A rasterio dataset of an image file, to be closed by the caller.

    Raises:
        GeoreferenceError: it is another file, or GDAL cannot read it.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        driver = next((name for recognises, name in _DRIVERS if recognises(beginning)), None)
        if driver is None:
            raise GeoreferenceError(
                f"expected a TIFF, JPEG, PNG, WebP or BMP image, {path.name} begins with {beginning[:8]!r}"
            )
        return _open(str(path), driver)
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"GDAL cannot read {path.name}: {error}") from error


@contextmanager
def opened_elevation(path: Path) -> Iterator[Any]:
    """A rasterio dataset of an elevation model: a GeoTIFF, or a file of SRTM, whose names end in .hgt.

    Raises:
        GeoreferenceError: there is none, it is another file, or GDAL cannot read something of it.
    """
    try:
        with path.open("rb") as stream:
            is_tiff = tiff.recognises(stream.read(_BEGINNING))
        if not is_tiff and path.suffix.lower() != ".hgt":
            raise GeoreferenceError(f"expected an elevation model in a GeoTIFF or .hgt file, got {path.name}")
        with _open(str(path.absolute()), "GTiff" if is_tiff else "SRTMHGT") as dataset:
            yield dataset
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"the elevation model {path} cannot be read: {error}") from error


def open_virtual(name: str) -> Any:
    """A rasterio dataset of a TIFF in one of GDAL's virtual file systems, such as ``/vsis3/bucket/scene.tif``, to be
    closed by the caller.

    Raises:
        GeoreferenceError: GDAL cannot read it.
    """
    try:
        return _open(name, "GTiff")
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"GDAL cannot read {name}: {error}") from error


def _open(name: str, driver: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(name, driver=driver)
