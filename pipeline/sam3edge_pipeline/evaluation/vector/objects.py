"""Object by object: which detections are which areas of the truth, by the overlap of their outlines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sam3edge.core.matching import Overlaps, overlapping_outlines, pair_in_order
from sam3edge_pipeline.evaluation.counting import Counts
from sam3edge_pipeline.evaluation.vector.areas import AreaFile, Areas


@dataclass(frozen=True, slots=True)
class ObjectFigures:
    """Of one class.

    Attributes:
        counts: what was found, missed and invented.
        mean_iou: of what was found and its area; None where nothing was.
    """

    counts: Counts
    mean_iou: float | None


def match_class(detections: AreaFile, truth: AreaFile, number: int, at_least: float) -> ObjectFigures:
    """Pair the areas of one class, the best scored detection first, as COCO does (``pair_in_order``).

    The outlines of one class are in memory.

    Args:
        number: of the class.
        at_least: intersection over union from which on an area is found.
    """
    found, there = detections.of_class(number), truth.of_class(number)
    overlaps = [iou for _, _, iou in pairs(found, there, at_least)]
    counts = Counts(
        found=len(overlaps),
        missed=len(there.outlines) - len(overlaps),
        invented=len(found.outlines) - len(overlaps),
    )
    return ObjectFigures(counts, float(np.mean(overlaps)) if overlaps else None)


def pairs(found: Areas, there: Areas, at_least: float) -> Iterator[tuple[int, int, float]]:
    """Detection, area of the truth, and their overlap.

    Pairs that overlap less than ``at_least`` are none to any rule; what the others leave connected is small and is
    paired by itself, with the same result as all at once.
    """
    row, column, iou = overlapping_outlines(found.outlines, there.outlines)
    enough = iou >= at_least
    row, column, iou = row[enough], column[enough], iou[enough]
    rank = np.argsort(np.argsort(-found.scores, kind="stable"), kind="stable")
    for members in _connected(row, column, (len(found.outlines), len(there.outlines))):
        rows, columns = np.unique(row[members]), np.unique(column[members])
        rows = rows[np.argsort(rank[rows])]
        overlaps: Overlaps = np.zeros((len(rows), len(columns)))
        places = {one: place for place, one in enumerate(rows.tolist())}
        for member in members:
            overlaps[places[int(row[member])], np.searchsorted(columns, column[member])] = iou[member]
        for one, other in pair_in_order(overlaps, at_least):
            yield int(rows[one]), int(columns[other]), float(overlaps[one, other])


def _connected(
    row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], shape: tuple[int, int]
) -> list[npt.NDArray[np.int64]]:
    """Numbers of the pairs, by what they connect."""
    if not len(row):
        return []
    size = sum(shape)
    graph = coo_array((np.ones(len(row), bool), (row, column + shape[0])), shape=(size, size))
    _, part = connected_components(graph, directed=False)
    part = part[row]
    order = np.argsort(part, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[order])) + 1)
