"""A raster that says which pixels of another one count: clear sky, one's own land."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from sam3edge.rasters.windows import SeenWindow


class CountingMask:
    """Read by windows of the raster that it is for. What it does not cover does not count.

    Args:
        mask: dataset of rasterio, of which the first band counts.
        raster: dataset of rasterio.
        crs: what its transform leads to, which need not be in the file; None where it has no transform. A mask that
            says where it is is warped to it; another one is stretched over the raster.
        values: of the mask, where pixels count; empty for all but 0.

    Raises:
        RasterioError: it does not fit the raster.
    """

    def __init__(self, mask: Any, raster: Any, crs: CRS | None, values: tuple[int, ...]) -> None:
        self._values = np.array(values)
        placed = bool(mask.crs) and not mask.transform.is_identity
        if placed and crs is None:
            raise RasterioError(
                f"it says where on Earth it is ({mask.crs}), and the raster has no transform to that; expected a mask "
                "in the raster's own pixels, without a reference system, or a raster that gdalwarp has placed"
            )
        self._factors = (1.0, 1.0) if placed else (mask.width / raster.width, mask.height / raster.height)
        if not placed and abs(mask.width * raster.height / raster.width - mask.height) > 1:
            raise RasterioError(
                f"expected {raster.width} x {raster.height} pixels or a part of that, for it does not say where it is; "
                f"got {mask.width} x {mask.height}"
            )
        self._mask = _warped(mask, raster, crs) if placed else mask

    def read(self, part: SeenWindow) -> npt.NDArray[np.bool_]:
        """bool [h, w] of the part's shape."""
        window, (across, down) = part.window, self._factors
        at = Window(window.col_off * across, window.row_off * down, window.width * across, window.height * down)
        values = self._mask.read(1, window=at, out_shape=part.shape, resampling=Resampling.nearest)
        covered = self._mask.read_masks(1, window=at, out_shape=part.shape) > 0
        return np.asarray(covered & (np.isin(values, self._values) if self._values.size else values != 0))


def _warped(mask: Any, raster: Any, crs: CRS | None) -> WarpedVRT:
    return WarpedVRT(
        mask,
        crs=crs,
        transform=raster.transform,
        width=raster.width,
        height=raster.height,
        resampling=Resampling.nearest,
        add_alpha=ColorInterp.alpha not in mask.colorinterp,
    )
