"""All figures of one model on one split of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sam3edge.core.ports import Engine
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.evaluation.answers import Answers, AskOptions, ask
from sam3edge_pipeline.evaluation.calibration import Calibration, CalibrationError, calibrate, calibration_error
from sam3edge_pipeline.evaluation.cases import PolygonIou, polygon_iou
from sam3edge_pipeline.evaluation.cgf1 import CgF1, cgf1_of
from sam3edge_pipeline.evaluation.coco import AveragePrecision, CocoFigures, average_precision
from sam3edge_pipeline.evaluation.comparison import PhraseResult
from sam3edge_pipeline.evaluation.counting import Counts, FalseAlarms, count, false_alarms


@dataclass(frozen=True, slots=True)
class PhraseReport:
    """The figures of one phrase.

    Attributes:
        images: labeled for it exhaustively.
        objects: to be found in these.
        at_50, at_75: counted at IoU 0.5 and 0.75, at the threshold of all phrases.
        false_alarms: at the same threshold.
        mask_ap, box_ap: COCO's.
        polygons: of found objects.
        error: of its scores.
        calibration: its own threshold, from the validation split; None without an object there.
        calibrated_at_50, calibrated_false_alarms: the same counts at its own threshold; None without one.
    """

    images: int
    objects: int
    at_50: Counts
    at_75: Counts
    false_alarms: FalseAlarms
    mask_ap: AveragePrecision
    box_ap: AveragePrecision
    polygons: PolygonIou
    error: CalibrationError
    calibration: Calibration | None
    calibrated_at_50: Counts | None
    calibrated_false_alarms: FalseAlarms | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The figures of one model.

    Attributes:
        answers: what they were made of.
        options: how the engine was asked.
        images: that the figures are of.
        cgf1, mask_ap, box_ap, at_50, at_75, false_alarms, polygons, error: over all phrases, at one threshold.
        calibrated_at_50, calibrated_false_alarms: with each phrase at its own threshold, or at the common one where it
            has none; None when no phrase has one.
        validation_images: that thresholds were chosen on.
        validation_error: calibration error there; None when there were none.
        unusable: name and reason of images of both splits that could not be used, by id.
        phrases: the figures of each, by name.
    """

    answers: Answers
    options: AskOptions
    images: int
    cgf1: CgF1
    mask_ap: CocoFigures
    box_ap: CocoFigures
    at_50: Counts
    at_75: Counts
    false_alarms: FalseAlarms
    polygons: PolygonIou
    error: CalibrationError
    calibrated_at_50: Counts | None
    calibrated_false_alarms: FalseAlarms | None
    validation_images: int
    validation_error: CalibrationError | None
    unusable: Mapping[str, str]
    phrases: Mapping[str, PhraseReport]

    def latency(self, percentile: float) -> float | None:
        """Milliseconds of the engine for an image and its phrases; None when fewer than two images were usable."""
        times = self.answers.milliseconds
        return float(np.percentile(times, percentile)) if times else None


def evaluate(
    engine: Engine,
    examples: Sequence[Example],
    validation: Sequence[Example] = (),
    options: AskOptions | None = None,
) -> Evaluation:
    """Judge a model.

    Args:
        examples: what it is judged by; all of one split.
        validation: the validation split, which thresholds are chosen on; without it there are none.

    Raises:
        ValueError: there is nothing to judge by, no image can be used, or the two splits are not apart.
        EngineError: the model cannot run.
    """
    options = options or AskOptions()
    _check(examples, validation)
    answers = ask(engine, examples, options)
    if not answers.results:
        first = next(iter(answers.unusable.values()))
        raise ValueError(f"expected usable images, got {len(answers.unusable)} that are not; the first is {first}")
    chosen_on = ask(engine, validation, options)
    thresholds = {
        phrase: calibration
        for phrase, results in _by_phrase(chosen_on.results).items()
        if (calibration := calibrate([r.overlap for r in results], options.threshold, options.floor)) is not None
    }
    return summarize(answers, options, thresholds, chosen_on)


def summarize(
    answers: Answers,
    options: AskOptions,
    thresholds: Mapping[str, Calibration],
    chosen_on: Answers,
) -> Evaluation:
    """All figures of what an engine found.

    Args:
        thresholds: by phrase.
        chosen_on: what it found on the validation split, which these were chosen on; maybe nothing.
    """
    results = answers.results
    overlaps = [one.overlap for one in results]
    masks, boxes = average_precision(results, "segm"), average_precision(results, "bbox")
    phrases = {
        phrase: _phrase(
            some, options.threshold, masks.by_phrase[phrase], boxes.by_phrase[phrase], thresholds.get(phrase)
        )
        for phrase, some in sorted(_by_phrase(results).items())
    }
    calibrated = any(one.calibration is not None for one in phrases.values())
    own_counts = (one.calibrated_at_50 or one.at_50 for one in phrases.values())
    own_alarms = (one.calibrated_false_alarms or one.false_alarms for one in phrases.values())
    return Evaluation(
        answers=answers,
        options=options,
        images=len({one.example.id for one in results}),
        cgf1=cgf1_of(overlaps),
        mask_ap=masks,
        box_ap=boxes,
        at_50=count(overlaps, options.threshold, 0.5),
        at_75=count(overlaps, options.threshold, 0.75),
        false_alarms=false_alarms(overlaps, options.threshold),
        polygons=polygon_iou(results, options.threshold),
        error=calibration_error(overlaps),
        calibrated_at_50=sum(own_counts, Counts()) if calibrated else None,
        calibrated_false_alarms=sum(own_alarms, FalseAlarms()) if calibrated else None,
        validation_images=len({one.example.id for one in chosen_on.results}),
        validation_error=calibration_error([one.overlap for one in chosen_on.results]) if chosen_on.results else None,
        unusable={**answers.unusable, **chosen_on.unusable},
        phrases=phrases,
    )


def _phrase(
    results: Sequence[PhraseResult],
    threshold: float,
    mask_ap: AveragePrecision,
    box_ap: AveragePrecision,
    calibration: Calibration | None,
) -> PhraseReport:
    overlaps = [one.overlap for one in results]
    at_50 = count(overlaps, threshold, 0.5)
    return PhraseReport(
        images=len(results),
        objects=at_50.objects,
        at_50=at_50,
        at_75=count(overlaps, threshold, 0.75),
        false_alarms=false_alarms(overlaps, threshold),
        mask_ap=mask_ap,
        box_ap=box_ap,
        polygons=polygon_iou(results, threshold),
        error=calibration_error(overlaps),
        calibration=calibration,
        calibrated_at_50=count(overlaps, calibration.threshold, 0.5) if calibration else None,
        calibrated_false_alarms=false_alarms(overlaps, calibration.threshold) if calibration else None,
    )


def _by_phrase(results: Sequence[PhraseResult]) -> dict[str, list[PhraseResult]]:
    by_phrase: dict[str, list[PhraseResult]] = {}
    for one in results:
        by_phrase.setdefault(one.phrase, []).append(one)
    return by_phrase


def _check(examples: Sequence[Example], validation: Sequence[Example]) -> None:
    splits = sorted({one.split for one in examples})
    if len(splits) != 1 or not any(one.exhaustive for one in examples):
        raise ValueError(
            "expected examples of one split, at least one of them labeled for a phrase exhaustively, got "
            f"{len(examples)} examples of {', '.join(splits) or 'no split'}; check the dataset"
        )
    strangers = sum(one.split != "validation" for one in validation)
    if strangers:
        raise ValueError(f"expected thresholds to be chosen on the validation split, got {strangers} other examples")
    shared = {one.group for one in examples} & {one.group for one in validation}
    if shared:
        raise ValueError(
            f"expected groups of images to be in one split only, got {len(shared)} groups in both, {min(shared)!r} for "
            "one; split the dataset again"
        )
