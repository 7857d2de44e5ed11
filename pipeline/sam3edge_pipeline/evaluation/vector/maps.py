"""Pictures of a part of a raster, north up: the image, what was detected, what is there, and where the two differ.

Each is drawn in a projection around its middle (Lambert's equal-area one), in which north is up there whatever the
raster's own reference system is.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from sam3edge.core.matching import BoolMask
from sam3edge.geo.plane import WGS84
from sam3edge.images.overlay import color_of
from sam3edge_pipeline.evaluation.cases import DETECTION_COLOR, TRUTH_COLOR
from sam3edge_pipeline.evaluation.vector.grid import Block, Grid
from sam3edge_pipeline.evaluation.vector.pixels import ClassRaster

Rgb = tuple[int, int, int]

RIGHT, CONFUSED = (70, 120, 220), (250, 190, 0)
DIFFERENCES: tuple[tuple[str, Rgb], ...] = (
    ("detected and there", RIGHT),
    ("missed", TRUTH_COLOR),
    ("invented", DETECTION_COLOR),
    ("another class", CONFUSED),
)
"""What the colours of the third picture mean."""

OPACITY = 0.6

ENLARGED = 1.5
"""Of what there is, at most: what is turned needs more pixels, anything else gains nothing by them."""


@dataclass(frozen=True, slots=True)
class MapPictures:
    """Four pictures of one place, as data URLs.

    Attributes:
        metres: from left to right.
    """

    image: str
    detected: str
    truth: str
    difference: str
    metres: float


def class_colors(prompts: Sequence[str]) -> list[tuple[str, Rgb]]:
    """As in our overlays."""
    return [(prompt, color_of(prompt, prompts)[::-1]) for prompt in prompts]


def draw_maps(
    grid: Grid,
    block: Block,
    predicted: ClassRaster,
    truth: ClassRaster,
    has_data: BoolMask,
    prompts: Sequence[str],
    side: int,
) -> MapPictures:
    """Draw a part of the raster.

    Args:
        block: the part.
        predicted, truth, has_data: [h, w] of it, perhaps thinned out.
        prompts: of the classes, by number from 1 on.
        side: longer side of a picture at most, pixels.
    """
    height, width = truth.shape
    where = _north_up(grid, block, min(side, math.ceil(ENLARGED * max(width, height))))
    from_pixels = grid.transform_of(block, width, height)

    def turned(layer: npt.NDArray[np.uint8], how: Resampling) -> npt.NDArray[np.uint8]:
        target = np.zeros((*layer.shape[:-2], *where.size), np.uint8)
        crs = grid.crs.to_wkt()
        reproject(
            layer,
            target,
            src_transform=from_pixels,
            src_crs=crs,
            dst_transform=where.transform,
            dst_crs=where.crs,
            resampling=how,
        )
        return target

    picture = turned(grid.picture(block, width, height).transpose(2, 0, 1), Resampling.bilinear).transpose(1, 2, 0)
    found, there, data = (turned(np.asarray(one, np.uint8), Resampling.nearest) for one in (predicted, truth, has_data))
    colors = np.array([(0, 0, 0), *(rgb for _, rgb in class_colors(prompts))], np.uint8)
    faint = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    kinds = np.array([(0, 0, 0), *(rgb for _, rgb in DIFFERENCES)], np.uint8)
    layers = (
        picture,
        _tinted(faint, colors[found], found > 0),
        _tinted(faint, colors[there], there > 0),
        _tinted(faint, kinds[(kind := _kind_of(found, there))], kind > 0),
    )
    image, detected, drawn, difference = (_data_url(np.where(data[..., None] > 0, one, 255)) for one in layers)
    return MapPictures(image, detected, drawn, difference, where.metres)


def _kind_of(found: ClassRaster, there: ClassRaster) -> npt.NDArray[np.int64]:
    """Numbers of ``DIFFERENCES`` from 1 on; 0 where there is nothing and nothing was detected."""
    both = (found > 0) & (there > 0)
    kinds = [both & (found == there), (there > 0) & (found == 0), (found > 0) & (there == 0), both & (found != there)]
    return np.select(kinds, [1, 2, 3, 4], 0)


@dataclass(frozen=True, slots=True)
class _NorthUp:
    """A grid of square pixels; ``size`` is height and width."""

    crs: str
    transform: Affine
    size: tuple[int, int]
    metres: float


def _north_up(grid: Grid, block: Block, side: int) -> _NorthUp:
    x0, y0, x1, y1 = block
    [middle] = grid.to_crs(np.array([[(x0 + x1) / 2, (y0 + y1) / 2]]))
    longitude, latitude = map(float, Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(*middle))
    around = CRS.from_proj4(f"+proj=laea +lon_0={longitude!r} +lat_0={latitude!r} +datum=WGS84 +units=m")
    share = np.linspace(0, 1, 21)
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    edge_x = np.concatenate([x, x, np.full(21, x0), np.full(21, x1)])
    edge_y = np.concatenate([np.full(21, y0), np.full(21, y1), y, y])
    there = Transformer.from_crs(grid.crs, around, always_xy=True)
    edge = grid.to_crs(np.column_stack([edge_x, edge_y]))
    east, north = (np.asarray(one)[np.isfinite(one)] for one in there.transform(edge[:, 0], edge[:, 1]))
    west, south = east.min(), north.min()
    across, up = east.max() - west, north.max() - south
    pixel = max(across, up) / side
    size = max(1, round(up / pixel)), max(1, round(across / pixel))
    return _NorthUp(around.to_wkt(), Affine(pixel, 0, west, 0, -pixel, north.max()), size, float(across))


def _tinted(picture: npt.NDArray[np.uint8], tint: npt.NDArray[np.uint8], where: BoolMask) -> npt.NDArray[np.uint8]:
    mixed = (1 - OPACITY) * picture + OPACITY * tint
    return np.where(where[..., None], mixed, picture).astype(np.uint8)


def _data_url(picture: npt.NDArray[np.uint8]) -> str:
    encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1].astype(np.uint8)))[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
