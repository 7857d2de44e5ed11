"""Image files opened by GDAL, which knows what they say of their place.

GDAL opens what an image names as its overviews, and what lies beside it as overviews or mask, by any of its drivers:
those of web services, too, and VRT, which names any other file or address. So an image is refused that names its
overviews, and one beside which lies something other than a TIFF under a name that GDAL would open. What is then left to
GDAL are TIFFs, world files and texts, of which none leads elsewhere; in virtual file systems, the image alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL's own errors are; rasterio passes some on as they are
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

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

CLOSED: Mapping[str, str] = {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing"}
"""GDAL's settings while a file on the disk is read: its virtual file systems lead to no other computers."""

ALONE: Mapping[str, str] = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""GDAL's settings while a file in a virtual file system is read: it looks for nothing beside it."""

_OPENED_BESIDE = (".ovr", ".msk", ".aux")
"""How names of files end that GDAL opens as rasters; of .aux only those of ERDAS, others are no rasters."""

_ERDAS = b"EHFA_HEADER_TAG"

_BEGINNING = 64

GDAL_ERRORS = (OSError, RasterioError, CRSError, CPLE_BaseError, UnicodeDecodeError)
"""What reading by GDAL raises; the last where a name in a damaged file is no UTF-8."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A rasterio dataset of an image file.

    Raises:
        GeoreferenceError: GDAL cannot read it, or something of it.
    """
    try:
        with rasterio.Env(**CLOSED), open_dataset(path) as dataset:
            yield dataset
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"GDAL cannot read {path.name}: {error}") from error


def open_dataset(path: Path) -> Any:
    """A rasterio dataset of an image file, to be read with ``CLOSED`` and closed by the caller.

    Raises:
        GeoreferenceError: it is another file, it may lead elsewhere, or GDAL cannot read it.
    """
    try:
        with path.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        driver = next((name for recognises, name in _DRIVERS if recognises(beginning)), None)
        if driver is None:
            raise GeoreferenceError(
                f"expected a TIFF, JPEG, PNG, WebP or BMP image, {path.name} begins with {beginning[:8]!r}"
            )
        return _open_with_neighbours(path, driver)
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
        driver = "GTiff" if is_tiff else "SRTMHGT"
        with rasterio.Env(**CLOSED), _open_with_neighbours(path.absolute(), driver) as dataset:
            yield dataset
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"the elevation model {path} cannot be read: {error}") from error


def open_virtual(name: str) -> Any:
    """A rasterio dataset of a TIFF in one of GDAL's virtual file systems, such as ``/vsis3/bucket/scene.tif``, to be
    read with ``ALONE`` and closed by the caller.

    Raises:
        GeoreferenceError: it may lead elsewhere, or GDAL cannot read it.
    """
    try:
        return _open(name, "GTiff")
    except GDAL_ERRORS as error:
        raise GeoreferenceError(f"GDAL cannot read {name}: {error}") from error


def _open_with_neighbours(path: Path, driver: str) -> Any:
    for beside in _opened_beside(path):
        if not beside.is_file():  # a pipe would never end
            raise GeoreferenceError(f"expected a file in {beside.name}, which GDAL opens with {path.name}; remove it")
        with beside.open("rb") as stream:
            beginning = stream.read(_BEGINNING)
        if tiff.recognises(beginning):
            _open(str(beside), "GTiff").close()
        elif beside.suffix.lower() != ".aux" or beginning.startswith(_ERDAS):
            raise GeoreferenceError(
                f"expected a TIFF in {beside.name}, which GDAL opens with {path.name}; got {beginning[:8]!r}; remove "
                "it, or make overviews anew by gdaladdo -ro"
            )
    return _open(str(path), driver)


def _opened_beside(path: Path) -> Iterator[Path]:
    """What GDAL may open with an image, and with that in turn: ``a.tif.ovr``, ``a.tif.msk.ovr``, ``a.aux``."""
    name, other = f"{path.name}.".lower(), f"{path.stem}.aux".lower()
    with os.scandir(path.parent) as entries:  # folders may hold very many files
        for entry in entries:
            found = entry.name.lower()
            if found.endswith(_OPENED_BESIDE) and found.startswith((name, other)):
                yield path.with_name(entry.name)


def _open(name: str, driver: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = rasterio.open(name, driver=driver)
    if any(key.upper() == "OVERVIEW_FILE" for key in dataset.tags(ns="OVERVIEWS")):
        dataset.close()
        raise GeoreferenceError(
            f"{Path(name).name} names another file or address for its overviews (OVERVIEW_FILE), which is not opened; "
            "make it anew by gdal_translate -of COG"
        )
    return dataset
