"""cgF1, the figure that SAM 3 was published with: does a model say that something is there, and does it find it?

By the rules of Meta's ``sam3/eval/cgf1_eval.py``. Meta's package does not install where this project's tests run (it
needs triton and CUDA), so this is held to examples that were worked out by hand and not to Meta's evaluator; compare
the two on a GPU machine before a figure is published beside Meta's. Where several people labeled the same images, as
for SA-Co/Gold, Meta takes the best annotator of each pair; here an image has one truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from sam3edge_pipeline.evaluation.comparison import Overlap

SCORE = 0.5
"""Detections with at least this score count."""

IOUS: tuple[float, ...] = tuple(float(iou) for iou in np.linspace(0.5, 0.95, 10))
"""A detection is right when its overlap with its object is at least this, from 0.50 to 0.95."""

_MCC_EPSILON, _F1_EPSILON = 1e-6, 1e-4
"""The reference adds them to denominators, so that a perfect result is just below 1."""


@dataclass(frozen=True, slots=True)
class CgF1:
    """Classification-gated F1.

    Attributes:
        cgf1: ``positive_micro_f1`` times ``il_mcc``, -1..1; Meta publishes it times 100.
        positive_micro_f1: mean of ``by_iou``, 0..1.
        il_mcc: Matthews correlation of "is there anything", by pairs of image and phrase, -1..1.
        by_iou: positive micro-F1 at each of ``IOUS``.
        pairs: of image and phrase.
        positive: pairs with at least one object.
    """

    cgf1: float
    positive_micro_f1: float
    il_mcc: float
    by_iou: tuple[float, ...]
    pairs: int
    positive: int


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One image and phrase.

    Attributes:
        objects, detections: how many there are and how many were found.
        matched: float64 [M], overlaps of the assignment.
    """

    objects: int
    detections: int
    matched: npt.NDArray[np.float64]


def cgf1_of(overlaps: Sequence[Overlap]) -> CgF1:
    """The figure over pairs of image and phrase, each labeled exhaustively; ignored objects are left out."""
    pairs = [_assign(one) for one in overlaps]
    matthews = _matthews(pairs)
    by_iou = tuple(_positive_micro_f1(pairs, iou) for iou in IOUS)
    f1 = math.fsum(by_iou) / len(by_iou)
    return CgF1(f1 * matthews, f1, matthews, by_iou, len(pairs), sum(pair.objects > 0 for pair in pairs))


def _assign(overlap: Overlap) -> _Pair:
    """One assignment of detections to objects for all of ``IOUS``: that with the largest sum of overlaps."""
    truth = overlap.truth[overlap.scores >= SCORE]
    rows, columns = linear_sum_assignment(truth, maximize=True)
    return _Pair(truth.shape[1], truth.shape[0], truth[rows, columns])


def _matthews(pairs: Sequence[_Pair]) -> float:
    tp = sum(pair.objects > 0 and pair.detections > 0 for pair in pairs)
    fp = sum(pair.objects == 0 and pair.detections > 0 for pair in pairs)
    fn = sum(pair.objects > 0 and pair.detections == 0 for pair in pairs)
    tn = len(pairs) - tp - fp - fn
    return (tp * tn - fp * fn) / (math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + _MCC_EPSILON)


def _positive_micro_f1(pairs: Sequence[_Pair], iou: float) -> float:
    """Detections where nothing is are left to ``_matthews``; objects are missed here where nothing was found, too."""
    tp = fp = fn = 0
    for pair in pairs:
        right = int(np.count_nonzero(pair.matched >= iou))
        tp += right
        fn += pair.objects - right
        if pair.objects and pair.detections:
            fp += pair.detections - right
    precision, recall = tp / (tp + fp + _F1_EPSILON), tp / (tp + fn + _F1_EPSILON)
    return 2 * precision * recall / (precision + recall + _F1_EPSILON)
