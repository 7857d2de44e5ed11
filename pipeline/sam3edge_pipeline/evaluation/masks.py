"""Outlines as COCO's run lengths, and how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pycocotools.mask as coco_mask
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.matching import Overlaps
from sam3edge.vector.run_lengths import Rle

Outline: TypeAlias = Polygon | MultiPolygon


def rle_iou(found: Sequence[Rle], truth: Sequence[Rle], *, crowd: bool = False) -> Overlaps:
    """Intersection over union of each of D found masks with each of G true ones, float64 [D, G].

    Args:
        crowd: the true masks are regions of which anything may be found: the share of the found mask that is inside
            (``iscrowd`` of ``pycocotools.mask.iou``).
    """
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    return np.asarray(coco_mask.iou(list(found), list(truth), [int(crowd)] * len(truth)), np.float64)
