"""Which objects are the same: overlap, suppression of repeats, and one-to-one pairing.

Everything that compares objects does it here: the device, the golden run, the exporter's parity gate, the evaluation.
All rules but the last are greedy, as COCO's evaluation is (``evaluateImg`` in ``pycocotools/cocoeval.py``), and no pair
is ever revised. Of equal overlaps the first one counts; COCO takes the last.

    overlap        mask_iou, outline_iou, box_iou: intersection over union of each of one side with each of the other;
                   overlapping_outlines: of those pairs only that overlap, where each with each would be too many
    suppression    suppress: an object stays unless its overlap with a better scored one of its class is > the limit
    pairing        pair_in_order: each row takes the best column that is still free, as detections do in COCO
                   pair_best_first: the pair that overlaps most is made first, whatever its scores
                   pair_for_most: the pairs whose sum is largest, as tracks are found again
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.types import Box, Detection, Instance

BoolMask: TypeAlias = npt.NDArray[np.bool_]
"""bool [h, w], True inside the object."""

Overlaps: TypeAlias = npt.NDArray[np.float64]
"""float64 [A, B], intersection over union of each of A objects with each of B, 0..1."""


_AT_ONCE = 10_000
"""Pairs of outlines whose intersections are in memory together."""


def mask_iou(a: Sequence[BoolMask], b: Sequence[BoolMask], *, both_empty: float = 0.0) -> Overlaps:
    """Intersection over union of masks that all have the same shape.

    Args:
        both_empty: what two masks without any foreground have in common.
    """
    inner = np.array([[np.count_nonzero(x & y) for y in b] for x in a], np.float64).reshape(len(a), len(b))
    areas_a = np.array([np.count_nonzero(x) for x in a], np.float64)
    areas_b = np.array([np.count_nonzero(y) for y in b], np.float64)
    return _ratio(inner, areas_a[:, None] + areas_b[None, :] - inner, both_empty)


def outline_iou(
    a: Sequence[Polygon | MultiPolygon], b: Sequence[Polygon | MultiPolygon], *, both_empty: float = 0.0
) -> Overlaps:
    """Intersection over union of valid outlines.

    Args:
        both_empty: what two empty outlines have in common.
    """
    areas_a, areas_b = (shapely.area(_array(outlines)) for outlines in (a, b))
    overlaps = np.where(areas_a[:, None] + areas_b[None, :] > 0, 0.0, both_empty)
    row, column, overlap = overlapping_outlines(a, b)
    overlaps[row, column] = overlap
    return overlaps


def overlapping_outlines(
    a: Sequence[Polygon | MultiPolygon], b: Sequence[Polygon | MultiPolygon]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The pairs of valid outlines that touch or overlap: int64 [P] of the first and of the second side, and float64 [P]
    intersection over union."""
    rows, columns = _array(a), _array(b)
    row, column = shapely.STRtree(columns).query(rows, predicate="intersects")
    overlap = np.zeros(len(row))
    for start in range(0, len(row), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        one, other = rows[row[some]], columns[column[some]]
        inner, union = shapely.area(shapely.intersection(one, other)), shapely.area(shapely.union(one, other))
        overlap[some] = _ratio(inner, union, 0.0)
    return row, column, overlap


def _array(outlines: Sequence[Polygon | MultiPolygon]) -> npt.NDArray[np.object_]:
    return np.array([*outlines, None], object)[:-1]


def box_iou(a: Sequence[Box], b: Sequence[Box]) -> Overlaps:
    """Intersection over union of boxes x0, y0, x1, y1; 0 for boxes without area."""
    rows, columns = (np.array(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    low = np.maximum(rows[:, None, :2], columns[None, :, :2])
    high = np.minimum(rows[:, None, 2:], columns[None, :, 2:])
    inner = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas_a, areas_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (rows, columns))
    return _ratio(inner, areas_a[:, None] + areas_b[None, :] - inner, 0.0)


def suppress(
    scores: Sequence[float],
    classes: Sequence[Hashable],
    overlaps: Callable[[int, Sequence[int]], npt.ArrayLike],
    limit: float,
) -> list[int]:
    """Class-wise non-maximum suppression: from the best score down, an object stays unless it overlaps one of its class
    that has stayed with an intersection over union greater than ``limit``. Of equal scores the first one stays.

    Args:
        scores: of N objects.
        classes: of the same objects; different classes never suppress each other.
        overlaps: gives the intersection over union of one object with several, all by their number.

    Returns:
        The numbers of those that stay, rising.
    """
    kept: dict[Hashable, list[int]] = {}
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        better = kept.setdefault(classes[i], [])
        if not better or float(np.max(overlaps(i, better))) <= limit:
            better.append(i)
    return sorted(i for same in kept.values() for i in same)


def suppress_instances(instances: Sequence[Instance], limit: float, *, across_prompts: bool = False) -> list[Instance]:
    """``suppress`` by the overlap of masks at the model's resolution, the prompt being the class unless all are one;
    order is kept."""
    masks, scores = [i.mask > 0 for i in instances], [i.score for i in instances]
    classes = [None if across_prompts else i.prompt for i in instances]
    return [instances[i] for i in suppress_masks(masks, scores, classes, limit)]


def suppress_masks(
    masks: Sequence[BoolMask], scores: Sequence[float], classes: Sequence[Hashable], limit: float
) -> list[int]:
    """``suppress`` by the overlap of masks that all have the same shape."""
    compared = _Masks(masks)
    return suppress(scores, classes, lambda one, others: compared.iou(one, others, above=limit), limit)


class _Masks:
    """Masks of one shape, whose boxes and areas tell of most pairs that they cannot overlap enough: hundreds of small
    objects are compared in milliseconds."""

    def __init__(self, masks: Sequence[BoolMask]) -> None:
        self._masks = masks
        self._areas = np.array([np.count_nonzero(mask) for mask in masks], np.float64)
        self._boxes = np.array([_box_of(mask) for mask in masks], np.int64).reshape(-1, 4)

    def iou(self, one: int, others: Sequence[int], above: float) -> Overlaps:
        """Intersection over union of one with others; 0 where it is certainly not greater than ``above``."""
        them = np.array(others)
        box, boxes = self._boxes[one], self._boxes[them]
        sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
        most = np.minimum(np.prod(np.maximum(sides, 0), axis=1), np.minimum(self._areas[one], self._areas[them]))
        union = self._areas[one] + self._areas[them]
        overlaps = np.zeros(len(them))
        for number in np.flatnonzero(most > above * (union - most)):
            overlaps[number] = mask_iou([self._masks[one]], [self._masks[them[number]]])[0, 0]
        return overlaps


def _box_of(mask: BoolMask) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what is true, x1 and y1 not included; zeros where nothing is."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return x, y, x + width, y + height


def suppress_detections(detections: Sequence[Detection], limit: float) -> tuple[Detection, ...]:
    """``suppress`` by the overlap of outlines, the prompt being the class; order is kept."""
    outlines = [d.geometry for d in detections]
    kept = suppress(
        [d.score for d in detections],
        [d.prompt for d in detections],
        lambda one, others: outline_iou([outlines[one]], [outlines[k] for k in others]),
        limit,
    )
    return tuple(detections[i] for i in kept)


def pair_in_order(overlaps: Overlaps, at_least: float) -> list[tuple[int, int]]:
    """Row by row, with the column that is still free and overlaps most, if that is ``at_least`` so much.

    This is how COCO's evaluation matches detections (rows, best scored first) with the truth (columns).
    """
    free = np.asarray(overlaps, np.float64).copy()
    pairs: list[tuple[int, int]] = []
    for row in range(free.shape[0] if free.size else 0):
        column = int(free[row].argmax())
        if free[row, column] >= at_least:
            pairs.append((row, column))
            free[:, column] = -1.0
    return pairs


def pair_best_first(overlaps: Overlaps, at_least: float = 0.0) -> list[tuple[int, int]]:
    """The pair that overlaps most first, then the next of what is still free, down to ``at_least``.

    What does not overlap at all is not paired. Right where no side is ranked, as with two models' results.
    """
    rows, columns = set(range(overlaps.shape[0])), set(range(overlaps.shape[1]))
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlaps.shape[1])
        if overlaps[row, column] < at_least or overlaps[row, column] <= 0:
            break
        if row in rows and column in columns:
            pairs.append((row, column))
            rows.remove(row)
            columns.remove(column)
    return pairs


def pair_for_most(scores: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """The pairs whose scores have the largest sum; what is not positive is not paired.

    Shortest augmenting paths (Crouse, On Implementing 2D Rectangular Assignment Algorithms, IEEE Transactions on
    Aerospace and Electronic Systems 52, 2016), with a column beside the others for each row that stays alone.

    Args:
        scores: [A, B], finite or negative infinity.
    """
    rows, columns = scores.shape
    costs = np.hstack([-np.maximum(scores, 0.0), np.zeros((rows, rows))])
    by_row, by_column = np.zeros(rows), np.zeros(columns + rows)
    owner, chosen = np.full(columns + rows, -1), np.full(rows, -1)
    for first in range(rows):
        distance, before = np.full(columns + rows, np.inf), np.full(columns + rows, -1)
        visited = np.zeros(columns + rows, bool)
        row, column, shortest = first, -1, 0.0
        while row >= 0:
            through = shortest + costs[row] - by_row[row] - by_column
            nearer = ~visited & (through < distance)
            distance[nearer], before[nearer] = through[nearer], row
            column = int(np.where(visited, np.inf, distance).argmin())
            shortest, row = float(distance[column]), int(owner[column])
            visited[column] = True
        taken = visited & (owner >= 0)
        by_row[first] += shortest
        by_row[owner[taken]] += shortest - distance[taken]
        by_column[visited] -= shortest - distance[visited]
        while row != first:
            row = int(before[column])
            owner[column], chosen[row], column = row, column, int(chosen[row])
    return [(row, int(column)) for row, column in enumerate(chosen) if column < columns and scores[row, column] > 0]


def _ratio(inner: Overlaps, union: Overlaps, both_empty: float) -> Overlaps:
    return np.divide(inner, union, out=np.full_like(inner, both_empty), where=union > 0)
