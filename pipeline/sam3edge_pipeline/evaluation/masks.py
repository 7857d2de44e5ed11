"""Outlines as COCO's run lengths, and how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pycocotools.mask as coco_mask
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.matching import BoolMask, Overlaps

Outline: TypeAlias = Polygon | MultiPolygon

Rle: TypeAlias = dict[str, object]
"""COCO's compressed run lengths of one mask: ``size`` [height, width] and ``counts``."""


def rasterize(outline: Outline, width: int, height: int) -> BoolMask:
    """Bool [height, width], the pixels whose centre is inside; holes are outside.

    Along each row the mask changes at every edge that crosses the line through the row's centres, so no library's rule
    for the pixels on an outline makes an object larger or smaller than it is.

    Args:
        outline: in pixels, origin at the top left corner of the top left pixel; what is beyond the image is cut off.
    """
    starts, ends = _edges(outline)
    down = starts[:, 1] <= ends[:, 1]
    top, bottom = np.where(down[:, None], starts, ends), np.where(down[:, None], ends, starts)
    # the rows r whose centre line r + 0.5 an edge crosses; of its two ends the upper one counts
    first = np.clip(np.ceil(top[:, 1] - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(bottom[:, 1] - 0.5), 0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(top)), after - first)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(after - first) - after, after - first)
    x0, y0, x1, y1 = top[edge, 0], top[edge, 1], bottom[edge, 0], bottom[edge, 1]
    x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    changes = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(changes, (row, column), 1)
    return np.bitwise_xor.accumulate(changes[:, :width], axis=1).astype(bool)


def to_rle(outline: Outline, width: int, height: int) -> Rle:
    """The run lengths of ``rasterize``."""
    encoded: Rle = coco_mask.encode(np.asfortranarray(rasterize(outline, width, height), np.uint8))
    return encoded


def rle_iou(found: Sequence[Rle], truth: Sequence[Rle], *, crowd: bool = False) -> Overlaps:
    """Intersection over union of each of D found masks with each of G true ones, float64 [D, G].

    Args:
        crowd: the true masks are regions of which anything may be found: the share of the found mask that is inside
            (``iscrowd`` of ``pycocotools.mask.iou``).
    """
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    return np.asarray(coco_mask.iou(list(found), list(truth), [int(crowd)] * len(truth)), np.float64)


def _edges(outline: Outline) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """float64 [E, 2] and [E, 2]: where the edges of all rings start and end, x and y."""
    rings = [ring for part in shapely.get_parts(outline) for ring in (part.exterior, *part.interiors)]
    points = [shapely.get_coordinates(ring) for ring in rings]
    if not points:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return np.concatenate([p[:-1] for p in points]), np.concatenate([p[1:] for p in points])
