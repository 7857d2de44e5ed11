"""Elevation models: how high the ground is that a raster with RPCs shows.

GDAL's own (RPC_DEM) is not used: it opens files of any format, which may name others and addresses, and takes missing
cells as a height of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.transform import rowcol
from rasterio.windows import Window

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points
from sam3edge.geo.gdal import opened_elevation
from sam3edge.geo.plane import WGS84, finite

Heights = npt.NDArray[np.float64]

MAX_CELLS = 50_000_000
"""Of an elevation model, under one raster: 7000 x 7000, which are 200 km at 30 m."""

LOWEST, HIGHEST = -1000.0, 10_000.0
"""Metres between which there is ground; other numbers are cells without a height in a model that does not say so."""

MARGIN = 2
"""Cells around the raster."""

STEP = 1e-3
"""Metres: the height of a pixel is found when it changes by no more than this."""

MAX_STEPS = 60
"""The height of the ground and where a line of sight meets it depend on each other; on a slope that is half as steep as
the line of sight each step halves what is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """Heights on a grid.

    Attributes:
        heights: float32 [h, w], metres above the ellipsoid, at the middle of each cell; NaN where unknown.
        to_cells: float64 [2, 3], from coordinates of the model's reference system to cells; the middle of the first
            one is 0, 0.
        to_crs: from positions to the model's reference system.
    """

    heights: npt.NDArray[np.float32]
    to_cells: npt.NDArray[np.float64]
    to_crs: Transformer

    def at(self, positions: Points) -> Heights:
        """[n], metres above the ellipsoid between the four cells around each position; NaN where one is unknown."""
        there = finite(*self.to_crs.transform(positions[:, 0], positions[:, 1]))
        x, y = self.to_cells[:, :2] @ there.T + self.to_cells[:, 2:]
        height, width = self.heights.shape
        within = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)  # false for NaN, too
        x, y = np.where(within, x, 0.0), np.where(within, y, 0.0)
        left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
        right_share, lower_share = x - left, y - top
        upper = self.heights[top, left] * (1 - right_share) + self.heights[top, left + 1] * right_share
        lower = self.heights[top + 1, left] * (1 - right_share) + self.heights[top + 1, left + 1] * right_share
        return np.where(within, upper * (1 - lower_share) + lower * lower_share, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class TerrainGrid:
    """A ``PixelGrid`` of a raster with RPCs over a terrain.

    Attributes:
        transformer: rasterio's, of the RPCs.
        terrain: the ground.
        start: metres, from which the height of a pixel is sought.
        error: see ``PixelGrid``.
    """

    transformer: Any
    terrain: Terrain
    start: float
    error: float = 0.0

    def forward(self, pixels: Points) -> Points:
        """See ``PixelGrid``; NaN where the terrain is unknown, or so steep that the ground is not seen."""
        heights = np.full(len(pixels), self.start)
        positions = np.full((len(pixels), 2), np.nan)
        sought: npt.NDArray[np.bool_] = np.asarray(np.isfinite(pixels).all(axis=1))
        for _ in range(MAX_STEPS):
            if not sought.any():
                break
            rows, columns = pixels[sought, 1], pixels[sought, 0]
            there = finite(*self.transformer.xy(rows, columns, zs=heights[sought], offset="ul"))
            ground = self.terrain.at(there)
            found = np.abs(ground - heights[sought]) <= STEP
            positions[np.flatnonzero(sought)[found]] = there[found]
            heights[sought] = ground
            sought[sought] = ~found & np.isfinite(ground)
        return positions

    def back(self, coordinates: Points) -> Points:
        """See ``PixelGrid``; NaN where the terrain is unknown."""
        heights = self.terrain.at(coordinates)
        pixels = np.full((len(coordinates), 2), np.nan)
        known = np.isfinite(heights)
        if known.any():
            x, y = coordinates[known].T.copy()
            rows, columns = self.transformer.rowcol(x, y, zs=heights[known], op=np.positive)
            pixels[known] = finite(columns, rows)
        return pixels


def open_terrain(path: Path, positions: Points, offset: float) -> Terrain:
    """An elevation model under a raster.

    Args:
        path: a GeoTIFF, or a file of SRTM (.hgt).
        positions: [n, 2], between which the raster lies.
        offset: metres, added to its heights.

    Raises:
        GeoreferenceError: it cannot be read, says no reference system, or is not under the raster.
    """
    with opened_elevation(path) as dataset:
        if dataset.crs is None:
            raise GeoreferenceError(f"the elevation model {path.name} names no reference system; give it one")
        if dataset.transform.is_identity or dataset.transform.is_degenerate:
            raise GeoreferenceError(f"expected a transform in the elevation model {path.name}, got none")
        to_crs = Transformer.from_crs(WGS84, _horizontal(dataset, path), always_xy=True)
        there = finite(*to_crs.transform(positions[:, 0], positions[:, 1]))
        there = there[np.isfinite(there).all(axis=1)]
        window = _window(dataset, there, path)
        values = dataset.read(1, window=window, masked=True).astype(np.float32).filled(np.nan)
        heights = values * np.float32(dataset.scales[0]) + np.float32(dataset.offsets[0])
        inverse = ~dataset.transform
        to_cells = np.array(
            [
                [inverse.a, inverse.b, inverse.c - 0.5 - window.col_off],
                [inverse.d, inverse.e, inverse.f - 0.5 - window.row_off],
            ]
        )
    heights[~((heights > LOWEST) & (heights < HIGHEST))] = np.nan
    return Terrain(heights + np.float32(offset), to_cells, to_crs)


def _horizontal(dataset: Any, path: Path) -> CRS:
    """What its heights refer to is said by the configuration: PROJ's grids of the geoid are not on devices."""
    try:
        crs = CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019"))
    except CRSError as error:
        raise GeoreferenceError(f"PROJ cannot read the reference system of {path.name}: {error}") from error
    return crs.sub_crs_list[0] if crs.is_compound else crs.to_2d()


def _window(dataset: Any, there: Points, path: Path) -> Window:
    """The cells under these coordinates."""
    nowhere = GeoreferenceError(f"the elevation model {path.name} is not where the raster is; use one that covers it")
    if not len(there):
        raise nowhere
    rows, columns = rowcol(dataset.transform, there[:, 0], there[:, 1], op=np.positive)
    top, bottom = _range(np.asarray(rows), dataset.height)
    left, right = _range(np.asarray(columns), dataset.width)
    if bottom - top < 2 or right - left < 2:
        raise nowhere
    if (bottom - top) * (right - left) > MAX_CELLS:
        raise GeoreferenceError(
            f"expected an elevation model of at most {MAX_CELLS} cells under the raster, {path.name} has "
            f"{right - left} x {bottom - top}; use a coarser one"
        )
    return Window(left, top, right - left, bottom - top)


def _range(cells: Heights, count: int) -> tuple[int, int]:
    first, last = float(np.nanmin(cells)) - MARGIN, float(np.nanmax(cells)) + MARGIN
    return int(np.clip(np.floor(first), 0, count)), int(np.clip(np.ceil(last) + 1, 0, count))
