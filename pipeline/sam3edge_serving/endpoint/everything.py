"""Everything in an image, without being told what: a grid of points, of whose masks the good and different ones stay.

As Meta's ``SamAutomaticMaskGenerator`` (segment-anything, ``automatic_mask_generator.py``) does it, with its thresholds
of quality and of repeats, on a coarser grid: a request has one image's share of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam3edge.core.matching import suppress_masks
from sam3edge.core.types import MaskPrediction, PointPrompt, VisualPrompt

SIDE = 12
"""Points along each side of the image."""

MIN_QUALITY = 0.88
"""Of a mask, by the intersection over union that the model expects (``pred_iou_thresh``)."""

MAX_OVERLAP = 0.7
"""Of two masks, above which the worse one is a repeat (``box_nms_thresh``; here by masks)."""


def grid(width: int, height: int) -> tuple[VisualPrompt, ...]:
    """A point for each place of the grid, with several masks to choose from; pixels of the frame."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    return tuple(
        VisualPrompt((PointPrompt(float(x * width), float(y * height)),), None, None, True)
        for y in places
        for x in places
    )


def distinct(predictions: Sequence[MaskPrediction]) -> tuple[MaskPrediction, ...]:
    """Of everything that was predicted, each object once, the best first."""
    single = [
        MaskPrediction(p.masks[i : i + 1], p.iou_predictions[i : i + 1], p.presence)
        for p in predictions
        for i in range(len(p.masks))
        if p.iou_predictions[i] >= MIN_QUALITY and (p.masks[i] > 0).any()
    ]
    masks = [p.masks[0] > 0 for p in single]
    scores = [float(p.iou_predictions[0]) for p in single]
    kept = suppress_masks(masks, scores, [""] * len(single), MAX_OVERLAP)
    return tuple(single[i] for i in sorted(kept, key=lambda i: -scores[i]))
