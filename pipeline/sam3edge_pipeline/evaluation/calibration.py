"""What scores mean: the threshold that suits a phrase best, and how far scores are from being probabilities.

Thresholds are chosen on the validation split: chosen on the test split they would make its figures flatter the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3edge_pipeline.evaluation.comparison import Overlap

IOU = 0.5
"""A detection is correct when it finds an object with at least this overlap."""

BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold of one phrase.

    Attributes:
        threshold: detections with a greater score are published.
        f1: mask F1 at IoU 0.5 that it reaches on the images that it was chosen on.
        images: these.
        objects: in these.
    """

    threshold: float
    f1: float
    images: int
    objects: int


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Detections whose scores are in one tenth of 0..1.

    Attributes:
        above: the lower end, not included but for 0; the bin is 1 / ``BINS`` wide.
        detections: how many.
        score: their mean score; 0 without detections.
        correct: share of correct ones; 0 without detections.
    """

    above: float
    detections: int
    score: float
    correct: float


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error, equation 3 of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    Attributes:
        ece: the mean distance between score and share of correct detections, by detections, 0..1; None without any.
        detections: that count.
        bins: ``BINS``, equally wide.
    """

    ece: float | None
    detections: int
    bins: tuple[ScoreBin, ...]


def calibrate(overlaps: Sequence[Overlap], default: float, floor: float) -> Calibration | None:
    """The threshold with the best F1 at IoU 0.5, for one phrase.

    It lies halfway between the scores that it parts, in as few digits as will do. Of equally good ones it is the one
    that is nearest to ``default``, which itself stays if nothing is better.

    Args:
        floor: detections with this score or less were not asked for, so no threshold can be lower.

    Returns:
        None where there is no object to find: then no threshold is better than another.
    """
    scores, correct = _judged(overlaps)
    objects = sum(one.objects for one in overlaps)
    if not objects:
        return None
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    found = np.concatenate([[0], np.cumsum(correct[order])])
    published = np.arange(len(falling) + 1)
    f1 = 2 * found / (objects + published)
    cuts = [cut for cut in published if cut in (0, len(falling)) or falling[cut - 1] > falling[cut]]
    best = max(f1[cut] for cut in cuts)
    candidates = [_threshold(falling, int(cut), default, floor) for cut in cuts if f1[cut] == best]
    threshold = min(candidates, key=lambda one: abs(one - default))
    return Calibration(threshold, float(best), len(overlaps), objects)


def calibration_error(overlaps: Sequence[Overlap]) -> CalibrationError:
    """How far the scores of all detections, published or not, are from the share of correct ones."""
    scores, correct = _judged(overlaps)
    number = np.clip(np.ceil(scores * BINS) - 1, 0, BINS - 1).astype(np.int64)
    bins = tuple(_bin(i / BINS, scores[number == i], correct[number == i]) for i in range(BINS))
    gap = math.fsum(one.detections * abs(one.correct - one.score) for one in bins)
    return CalibrationError(gap / len(scores) if len(scores) else None, len(scores), bins)


def _judged(overlaps: Sequence[Overlap]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores, float64 [N], and whether each detection is correct, bool [N]; those in ignored objects are left out."""
    scores, correct = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for one in overlaps:
        right = np.zeros(len(one.scores), np.bool_)
        right[[row for row, _ in one.pairs(IOU)]] = True
        counted = one.counted(IOU)
        scores.append(one.scores[counted])
        correct.append(right[counted])
    return np.concatenate(scores), np.concatenate(correct)


def _bin(above: float, scores: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_]) -> ScoreBin:
    if not len(scores):
        return ScoreBin(above, 0, 0.0, 0.0)
    return ScoreBin(above, len(scores), float(scores.mean()), float(correct.mean()))


def _threshold(falling: npt.NDArray[np.float64], cut: int, default: float, floor: float) -> float:
    """Between the ``cut`` best scores, which are greater than it, and the others, which are not."""
    low = float(falling[cut]) if cut < len(falling) else floor
    high = float(falling[cut - 1]) if cut else 1.0
    if low <= default < high:
        return default
    middle = (low + high) / 2
    shorter = (round(middle, digits) for digits in range(2, 17))
    return next((short for short in shorter if low <= short < high), low)
