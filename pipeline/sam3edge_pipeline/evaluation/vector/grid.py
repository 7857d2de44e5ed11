"""The raster that detections were made on: its pixels, its place, its date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points
from sam3edge.core.matching import BoolMask
from sam3edge.geo.gdal import opened
from sam3edge_pipeline.evaluation.vector.dates import Period, raster_date

Block: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the raster, x1 and y1 not included."""

SAMPLED = 512
"""Pixels of the longer side that the stretch is taken from."""

CACHE = 64
"""Megabytes of the raster that GDAL keeps; by default it takes a twentieth of the computer's memory."""

WINDOW = 2048
"""Pixels of a window's sides: what is in memory of the raster at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """An open raster.

    Attributes:
        name: of the file.
        width, height: pixels.
        crs: its reference system.
        transform: from pixels to coordinates in it.
        date: when it was taken, if it says so.
        stretch: which values are black and white in pictures.
        dataset: rasterio's.
    """

    name: str
    width: int
    height: int
    crs: CRS
    transform: Affine
    date: Period | None
    stretch: tuple[float, float]
    dataset: Any

    def to_crs(self, pixels: Points) -> Points:
        """[n, 2] pixels -> x, y in the raster's reference system."""
        return _moved(self.transform, pixels)

    def to_pixels(self, coordinates: Points) -> Points:
        """[n, 2] x, y -> pixels."""
        return _moved(~self.transform, coordinates)

    def transform_of(self, block: Block, width: int, height: int) -> Affine:
        """From the pixels of a picture of this size, which shows a block, to coordinates."""
        x0, y0, x1, y1 = block
        t, across, down = self.transform, (x1 - x0) / width, (y1 - y0) / height
        x, y = t.a * x0 + t.b * y0 + t.c, t.d * x0 + t.e * y0 + t.f
        return Affine(t.a * across, t.b * down, x, t.d * across, t.e * down, y)

    def windows(self) -> Iterator[Block]:
        """All of the raster, row by row."""
        for y in range(0, self.height, WINDOW):
            for x in range(0, self.width, WINDOW):
                yield x, y, min(x + WINDOW, self.width), min(y + WINDOW, self.height)

    def has_data(self, block: Block) -> BoolMask:
        """bool [h, w], pixels that hold data in any band."""
        return np.asarray(self.dataset.dataset_mask(window=_window(block)) > 0)

    def picture(self, block: Block, width: int, height: int) -> npt.NDArray[np.uint8]:
        """uint8 [height, width, 3], RGB of a part of the raster."""
        bands = _read(self.dataset, height, width, _window(block)).filled(0)
        low, high = self.stretch
        scaled = (np.nan_to_num(bands) - low) / max(high - low, 1e-6) * 255
        return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8).transpose(1, 2, 0))


@contextmanager
def open_grid(path: Path) -> Iterator[Grid]:
    """Open a raster whose pixels lie on a grid in some reference system.

    Raises:
        GeoreferenceError: it cannot be read, or is not such a raster.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE), opened(path) as dataset:
        if dataset.transform.is_identity or dataset.transform.is_degenerate:
            raise GeoreferenceError(
                f"expected a raster on a grid, {path.name} has no transform; make one of it by gdalwarp -t_srs EPSG:..."
            )
        if not dataset.crs:
            raise GeoreferenceError(f"{path.name} names no reference system; write it by gdal_edit -a_srs EPSG:...")
        crs = CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019"))
        date = raster_date({**dataset.tags(), **dataset.tags(ns="IMAGERY")})
        yield Grid(path.name, dataset.width, dataset.height, crs, dataset.transform, date, _stretch(dataset), dataset)


def _moved(way: Affine, at: Points) -> Points:
    x, y = at[:, 0], at[:, 1]
    return np.column_stack([way.a * x + way.b * y + way.c, way.d * x + way.e * y + way.f])


def _window(block: Block) -> Window:
    x0, y0, x1, y1 = block
    return Window(x0, y0, x1 - x0, y1 - y0)


def _read(dataset: Any, height: int, width: int, window: Window | None = None) -> Any:
    """Masked float32 [3, height, width]."""
    how = {"window": window, "out_shape": (3, height, width), "resampling": Resampling.average, "masked": True}
    return dataset.read(_colors(dataset), **how).astype(np.float32)


def _stretch(dataset: Any) -> tuple[float, float]:
    """The 2nd and the 98th percentile of what the raster holds, all bands together, so that colours stay what they
    are; those of 8 bits are shown as they are."""
    if set(dataset.dtypes) == {"uint8"}:
        return 0.0, 255.0
    factor = max(1.0, max(dataset.width, dataset.height) / SAMPLED)
    seen = _read(dataset, max(1, round(dataset.height / factor)), max(1, round(dataset.width / factor))).compressed()
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, (2, 98)) if seen.size else (0.0, 1.0)
    return float(low), float(high)


def _colors(dataset: Any) -> list[int]:
    """Red, green and blue by what the file calls them; else the first three bands, or one three times."""
    known = {kind: number for number, kind in enumerate(dataset.colorinterp, 1)}
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(kind in known for kind in wanted):
        return [known[kind] for kind in wanted]
    return [1, 2, 3] if dataset.count >= 3 else [1, 1, 1]
