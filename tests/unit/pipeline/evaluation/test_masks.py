"""How much masks overlap, as COCO counts it."""

from __future__ import annotations

import shapely

from sam3edge.vector.run_lengths import rle_of
from sam3edge_pipeline.evaluation.masks import rle_iou


def test_overlaps_of_boxes() -> None:
    whole, half, far = (rle_of(shapely.box(*b), 30, 20) for b in ((0, 0, 10, 10), (0, 0, 10, 5), (20, 0, 30, 10)))
    assert rle_iou([half, far], [whole]).tolist() == [[0.5], [0.0]]
    assert rle_iou([half], [whole], crowd=True).tolist() == [[1.0]]
    assert rle_iou([], [whole]).shape == (0, 1)
    assert rle_iou([whole], []).shape == (1, 0)
