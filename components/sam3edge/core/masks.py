"""Outlines as masks: the pixels whose centre is inside. The way back is ``core/polygons.py``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.matching import BoolMask


def run_lengths(outline: Polygon | MultiPolygon, width: int, height: int) -> npt.NDArray[np.int64]:
    """int64 [R], how many pixels are outside, then inside, and so on by turns, column by column from the left and down
    each, as COCO counts them (``rleEncode`` of cocoapi ``common/maskApi.c``). They add up to ``width * height``.

    Along each column the mask changes at every edge that crosses the line through the column's centres, so no library's
    rule for the pixels on an outline makes an object larger or smaller than it is. Memory is that of the outline, not
    of the image.

    Args:
        outline: in pixels, origin at the top left corner of the top left pixel; what is beyond the image is cut off.
    """
    starts, ends = _edges(outline)
    rising = starts[:, 0] <= ends[:, 0]
    left, right = np.where(rising[:, None], starts, ends), np.where(rising[:, None], ends, starts)
    first, after = _crossed(left[:, 0], width), _crossed(right[:, 0], width)
    edge = np.repeat(np.arange(len(left)), after - first)
    column = np.arange(len(edge)) - np.repeat(np.cumsum(after - first) - after, after - first)
    x0, y0, x1, y1 = left[edge, 0], left[edge, 1], right[edge, 0], right[edge, 1]
    y = y0 + (column + 0.5 - x0) * (y1 - y0) / (x1 - x0)
    row = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
    changes, times = np.unique(column * height + row, return_counts=True)
    changes = changes[(times % 2 == 1) & (changes < width * height)]
    return np.diff(np.concatenate([[0], changes, [width * height]]))


def crossings(outline: Polygon | MultiPolygon, width: int) -> int:
    """How many columns all edges cross together: what ``run_lengths`` takes memory by, about 100 bytes for each."""
    starts, ends = _edges(outline)
    return int(np.abs(_crossed(starts[:, 0], width) - _crossed(ends[:, 0], width)).sum())


def rasterize(outline: Polygon | MultiPolygon, width: int, height: int) -> BoolMask:
    """Bool [height, width] of the same; holes are outside."""
    runs = run_lengths(outline, width, height)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def _crossed(x: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.int64]:
    """The first column c whose centre line c + 0.5 is not left of x; so of an edge's two ends the left one counts."""
    return np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)


def _edges(outline: Polygon | MultiPolygon) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """float64 [E, 2] and [E, 2]: where the edges of all rings start and end, x and y."""
    rings = [ring for part in shapely.get_parts(outline) for ring in (part.exterior, *part.interiors)]
    points = [shapely.get_coordinates(ring) for ring in rings]
    if not points:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return np.concatenate([p[:-1] for p in points]), np.concatenate([p[1:] for p in points])
