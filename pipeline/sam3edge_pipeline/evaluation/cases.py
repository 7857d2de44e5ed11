"""The worst cases, worst first: objects that were missed, objects that were invented, outlines that are bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import shapely

from sam3edge.core.matching import outline_iou
from sam3edge.core.types import Box, Frame
from sam3edge.images.views import View, close_up
from sam3edge_pipeline.evaluation.comparison import PhraseResult

Kind: TypeAlias = Literal["missed", "invented", "badly outlined"]
KINDS: tuple[Kind, ...] = get_args(Kind)

IOU = 0.5
"""An object is found from this overlap of masks on."""

WELL_OUTLINED = 0.9
"""Outlines with this overlap and more are not shown."""

TRUTH_COLOR, DETECTION_COLOR = (0, 190, 90), (235, 40, 130)
"""RGB of the outlines."""

SIDE = 320
"""Pixels of a picture's longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One object, or one detection.

    Attributes:
        kind: what is wrong.
        badness: orders cases of one kind: of a missed object its share of the image, of an invented one its score, of a
            bad outline 1 - IoU of the outlines.
        result: where.
        box: around what is wrong, x0, y0, x1, y1 in pixels of the image.
        score: of the detection; None for a missed object.
        iou: of the outlines; None unless there are two.
    """

    kind: Kind
    badness: float
    result: PhraseResult
    box: Box
    score: float | None
    iou: float | None


@dataclass(frozen=True, slots=True)
class PolygonIou:
    """How well what was found is outlined: intersection over union of polygons, as they are published.

    Attributes:
        mean, worst: None where nothing was found.
        found: objects.
    """

    mean: float | None
    worst: float | None
    found: int


def polygon_iou(results: Sequence[PhraseResult], threshold: float) -> PolygonIou:
    """Over all objects that published detections find at IoU 0.5."""
    found = [iou for one in results for _, _, iou in _found(one, threshold)]
    return PolygonIou(float(np.mean(found)) if found else None, min(found, default=None), len(found))


def worst_cases(results: Sequence[PhraseResult], threshold: float, most: int) -> tuple[Case, ...]:
    """At most ``most`` cases of each kind among what is published, by kind, worst first."""
    cases = [case for one in results for case in _cases(one, threshold)]
    chosen: list[Case] = []
    for kind in KINDS:
        chosen += sorted((c for c in cases if c.kind == kind), key=lambda c: -c.badness)[:most]
    return tuple(chosen)


def picture(case: Case, frame: Frame, threshold: float) -> View:
    """The surroundings of a case with all that is there of its phrase, and over it all that was published of it."""
    view = close_up(frame, case.box, SIDE)
    published = case.result.detections[: case.result.overlap.published(threshold)]
    for outline in case.result.truth:
        view.draw(outline, TRUTH_COLOR, 4)
    for detection in published:
        view.draw(detection.geometry, DETECTION_COLOR, 2)
    return view


def _found(result: PhraseResult, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Published detection, the object that it finds, and the overlap of their outlines."""
    published = result.overlap.published(threshold)
    for row, column in result.overlap.pairs(IOU):
        if row < published:
            iou = outline_iou([result.detections[row].geometry], [result.truth[column]])[0, 0]
            yield row, column, float(iou)


def _cases(result: PhraseResult, threshold: float) -> Iterator[Case]:
    area = result.example.width * result.example.height
    found = list(_found(result, threshold))
    for row, column, iou in found:
        if iou < WELL_OUTLINED:
            detection = result.detections[row]
            box = shapely.union(result.truth[column], detection.geometry).bounds
            yield Case("badly outlined", 1 - iou, result, box, detection.score, iou)
    seen = {column for _, column, _ in found}
    for column, outline in enumerate(result.truth):
        if column not in seen:
            yield Case("missed", outline.area / area, result, outline.bounds, None, None)
    right = {row for row, _, _ in found}
    counted = result.overlap.counted(IOU)
    for row, detection in enumerate(result.detections[: result.overlap.published(threshold)]):
        if row not in right and counted[row]:
            yield Case("invented", detection.score, result, detection.box, detection.score, None)
