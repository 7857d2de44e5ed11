"""COCO's average precision of masks and of boxes, by COCO's own evaluator (pycocotools).

A phrase is a category. An image counts for the phrases that it is labeled for exhaustively and for no others: others
have neither truth nor detections there, so the evaluator, which looks at each image and category alone, does not count
them. Ignored objects are COCO's crowds.

Detections below the score that the engine was asked for are unknown, where COCO's evaluation takes all, up to 100 an
image and category. So the figure is at most as high as it would be with them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam3edge.core.types import Box
from sam3edge.vector.run_lengths import Rle
from sam3edge_pipeline.evaluation.comparison import PhraseResult

Shape: TypeAlias = Literal["segm", "bbox"]
"""What is compared, as pycocotools calls it."""

MAX_DETECTIONS = 100
"""Of one phrase in one image, best first."""


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Area under the precision-recall curve at 101 points.

    Attributes:
        mean: over IoU 0.50 to 0.95; None where there is no object.
        at_50: at IoU 0.5.
        at_75: at IoU 0.75.
    """

    mean: float | None
    at_50: float | None
    at_75: float | None


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """Average precision over all phrases that have an object, and of each phrase.

    Attributes:
        total: mean of the phrases, as COCO averages categories.
        by_phrase: every phrase that was asked.
    """

    total: AveragePrecision
    by_phrase: Mapping[str, AveragePrecision]


def average_precision(results: Sequence[PhraseResult], shape: Shape) -> CocoFigures:
    """Run COCO's evaluator for objects of all sizes."""
    phrases = sorted({one.phrase for one in results})
    if not results:
        nothing = AveragePrecision(None, None, None)
        return CocoFigures(nothing, {})
    truth, found = _datasets(results, phrases)
    with contextlib.redirect_stdout(io.StringIO()):  # the evaluator prints its progress
        evaluation = COCOeval(_coco(truth), _coco(found), shape)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, float("inf")]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    ious = evaluation.params.iouThrs
    # [IoU, recall, category, area, detections]; -1 where a category has no object
    precision = np.asarray(evaluation.eval["precision"], np.float64)[..., 0, 0]
    by_phrase = {phrase: _average(precision[:, :, [k]], ious) for k, phrase in enumerate(phrases)}
    return CocoFigures(_average(precision, ious), by_phrase)


def _average(precision: npt.NDArray[np.float64], ious: npt.NDArray[np.float64]) -> AveragePrecision:
    """As ``COCOeval.summarize`` does it.

    Args:
        precision: float64 [IoU, recall, category].
    """
    at_50, at_75 = (precision[np.isclose(ious, iou)] for iou in (0.5, 0.75))
    return AveragePrecision(_mean(precision), _mean(at_50), _mean(at_75))


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _datasets(results: Sequence[PhraseResult], phrases: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The truth and the detections as COCO's documents (https://cocodataset.org/#format-data)."""
    examples = {one.example.id: one.example for one in results}
    image_of = {identity: number for number, identity in enumerate(examples, 1)}
    category_of = {phrase: number for number, phrase in enumerate(phrases, 1)}
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for one in results:
        where = {"image_id": image_of[one.example.id], "category_id": category_of[one.phrase]}
        for outlines, masks, crowd in ((one.truth, one.truth_masks, 0), (one.ignored, one.ignored_masks, 1)):
            for outline, mask in zip(outlines, masks, strict=True):
                truth.append({**where, "id": len(truth) + 1, "iscrowd": crowd, **_shape(outline.bounds, mask)})
        for detection, mask in zip(one.detections, one.detection_masks, strict=True):
            found.append({**where, "id": len(found) + 1, "score": detection.score, **_shape(detection.box, mask)})
    shared = {
        "images": [
            {"id": image_of[identity], "width": example.width, "height": example.height}
            for identity, example in examples.items()
        ],
        "categories": [{"id": number, "name": phrase} for phrase, number in category_of.items()],
    }
    return {**shared, "annotations": truth}, {**shared, "annotations": found}


def _shape(box: Box, mask: Rle) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    return {"bbox": [x0, y0, width, height], "area": width * height, "segmentation": dict(mask)}


def _coco(document: dict[str, Any]) -> Any:
    coco = COCO()
    coco.dataset = document
    coco.createIndex()
    return coco
