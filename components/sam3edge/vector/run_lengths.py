"""COCO's run lengths of outlines, and its segmentations (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from typing import TypeAlias

import pycocotools.mask as coco_mask
import shapely
from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import TypedDict

from sam3edge.core.masks import run_lengths

Rings: TypeAlias = list[list[float]]
"""x, y, x, y, ... of the border of each part, pixels; not closed, without holes."""


class Rle(TypedDict):
    """COCO's compressed run lengths; ``size`` is [height, width]."""

    size: list[int]
    counts: str


def rle_of(outline: Polygon | MultiPolygon, width: int, height: int) -> Rle:
    """The pixels of an image of this size whose centre is inside; outlines are in pixels."""
    runs = {"size": [height, width], "counts": run_lengths(outline, width, height).tolist()}
    encoded = coco_mask.frPyObjects(runs, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def segmentation_of(outline: Polygon | MultiPolygon, width: int, height: int) -> Rings | Rle:
    """As COCO writes an object: its borders; or run lengths where it has a hole, which borders cannot say."""
    if has_holes(outline):
        return rle_of(outline, width, height)
    return [shapely.get_coordinates(part.exterior)[:-1].ravel().tolist() for part in shapely.get_parts(outline)]


def has_holes(outline: Polygon | MultiPolygon) -> bool:
    """Whether borders alone do not say it."""
    return any(part.interiors for part in shapely.get_parts(outline))
