"""The figures as a JSON document, whose keys stay as they are: later reports, gates and the model registry read them.

    figures.<name>           {"value", "n", "of"}: the figure (null where it is not defined), over how many of what
    phrases.<phrase>.<name>  the figures of one phrase, beside the numbers of images and objects that they rest on
    calibration              score against share of correct detections, in tenths, and the thresholds' source
    retained                 what has become of the concepts of a baseline; null without one

Shares, F1, precision and IoU are 0..1, times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sam3edge_pipeline.evaluation.cgf1 import IOUS
from sam3edge_pipeline.evaluation.counting import Counts
from sam3edge_pipeline.evaluation.evaluation import Evaluation, PhraseReport
from sam3edge_pipeline.evaluation.retained import Change, PhraseFigures, Retained

FORMAT = 1


@dataclass(frozen=True, slots=True)
class DatasetIdentity:
    """Which images a model was judged by.

    Attributes:
        name: for people.
        digest: or version: the same for the same images, labels and splits, and for no others.
        split: that the figures are of.
    """

    name: str
    digest: str
    split: str


def to_document(
    evaluation: Evaluation, dataset: DatasetIdentity, date: str, retained: Retained | None = None
) -> dict[str, Any]:
    """The report.

    Args:
        date: when it was made, ISO 8601.
        retained: the comparison with a baseline, if there is one.
    """
    calibration = evaluation.validation_error
    document: dict[str, Any] = _rounded(
        {
            "format": FORMAT,
            "date": date,
            "model": asdict(evaluation.answers.model),
            "dataset": {
                **asdict(dataset),
                "images": evaluation.images,
                "pairs": evaluation.cgf1.pairs,
                "objects": evaluation.at_50.objects,
                "validation_images": evaluation.validation_images,
            },
            "options": asdict(evaluation.options),
            "figures": {name: _figure(*figure) for name, figure in _figures(evaluation).items()},
            "cgf1_positive_micro_f1_by_iou": {
                f"{iou:.2f}": f1 for iou, f1 in zip(IOUS, evaluation.cgf1.by_iou, strict=True)
            },
            "phrases": {phrase: _phrase(one) for phrase, one in evaluation.phrases.items()},
            "calibration": {
                "bins": [asdict(one) for one in evaluation.error.bins],
                "validation_ece": calibration.ece if calibration else None,
                "validation_detections": calibration.detections if calibration else 0,
            },
            "retained": _retained(retained) if retained else None,
            "unsupported": dict(evaluation.answers.unsupported),
            "unusable": dict(evaluation.unusable),
        }
    )
    return document


def figures_of(evaluation: Evaluation) -> Mapping[str, PhraseFigures]:
    """What ``retained.compare_retained`` needs."""
    return {
        phrase: PhraseFigures(
            mask_f1_50=one.at_50.f1,
            false_alarms=one.false_alarms.share,
            objects=one.objects,
            absent=one.false_alarms.absent,
        )
        for phrase, one in evaluation.phrases.items()
    }


def _figures(evaluation: Evaluation) -> dict[str, tuple[float | None, int, str]]:
    """By name: the value, over how many, of what."""
    objects = evaluation.at_50.objects
    figures: dict[str, tuple[float | None, int, str]] = {
        "cgf1": (evaluation.cgf1.cgf1, evaluation.cgf1.pairs, "pairs"),
        "positive_micro_f1": (evaluation.cgf1.positive_micro_f1, evaluation.cgf1.positive, "pairs with objects"),
        "il_mcc": (evaluation.cgf1.il_mcc, evaluation.cgf1.pairs, "pairs"),
    }
    for kind, precision in (("mask", evaluation.mask_ap.total), ("box", evaluation.box_ap.total)):
        figures[f"{kind}_ap"] = (precision.mean, objects, "objects")
        figures[f"{kind}_ap_50"] = (precision.at_50, objects, "objects")
        figures[f"{kind}_ap_75"] = (precision.at_75, objects, "objects")
    figures |= _counts("50", evaluation.at_50) | _counts("75", evaluation.at_75)
    alarms, own_alarms = evaluation.false_alarms, evaluation.calibrated_false_alarms
    own = evaluation.calibrated_at_50
    latency = len(evaluation.answers.milliseconds)
    return figures | {
        "false_alarms": (alarms.share, alarms.absent, "pairs without objects"),
        "polygon_iou_mean": (evaluation.polygons.mean, evaluation.polygons.found, "found objects"),
        "polygon_iou_worst": (evaluation.polygons.worst, evaluation.polygons.found, "found objects"),
        "ece": (evaluation.error.ece, evaluation.error.detections, "detections"),
        "calibrated_mask_f1_50": (own.f1 if own else None, objects, "objects"),
        "calibrated_false_alarms": (
            own_alarms.share if own_alarms else None,
            alarms.absent,
            "pairs without objects",
        ),
        "latency_median_ms": (evaluation.latency(50), latency, "images"),
        "latency_p95_ms": (evaluation.latency(95), latency, "images"),
    }


def _counts(iou: str, counts: Counts) -> dict[str, tuple[float | None, int, str]]:
    return {
        f"mask_f1_{iou}": (counts.f1, counts.objects, "objects"),
        f"mask_precision_{iou}": (counts.precision, counts.found + counts.invented, "published detections"),
        f"mask_recall_{iou}": (counts.recall, counts.objects, "objects"),
    }


def _figure(value: float | None, n: int, of: str) -> dict[str, Any]:
    return {"value": value, "n": n, "of": of}


def _phrase(one: PhraseReport) -> dict[str, Any]:
    own, own_alarms = one.calibrated_at_50, one.calibrated_false_alarms
    return {
        "images": one.images,
        "objects": one.objects,
        "absent": one.false_alarms.absent,
        "mask_f1_50": one.at_50.f1,
        "mask_precision_50": one.at_50.precision,
        "mask_recall_50": one.at_50.recall,
        "mask_f1_75": one.at_75.f1,
        "false_alarms": one.false_alarms.share,
        "mask_ap": one.mask_ap.mean,
        "mask_ap_50": one.mask_ap.at_50,
        "box_ap": one.box_ap.mean,
        "box_ap_50": one.box_ap.at_50,
        "polygon_iou_mean": one.polygons.mean,
        "polygon_iou_worst": one.polygons.worst,
        "found": one.at_50.found,
        "ece": one.error.ece,
        "ece_detections": one.error.detections,
        "calibration": asdict(one.calibration) if one.calibration else None,
        "calibrated_mask_f1_50": own.f1 if own else None,
        "calibrated_false_alarms": own_alarms.share if own_alarms else None,
    }


def _retained(retained: Retained) -> dict[str, Any]:
    worst = retained.worst_f1_change
    return {
        "baseline": retained.baseline,
        "baseline_digest": retained.baseline_digest,
        "differs": list(retained.differs),
        "unmeasured": list(retained.unmeasured),
        "worst_f1_change": worst.f1_change if worst else None,
        "worst_phrase": worst.phrase if worst else None,
        "phrases": {change.phrase: _change(change) for change in retained.changes},
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "objects": change.objects,
        "absent": change.absent,
        "mask_f1_50_before": change.f1_before,
        "mask_f1_50": change.f1,
        "mask_f1_50_change": change.f1_change,
        "false_alarms_before": change.false_alarms_before,
        "false_alarms": change.false_alarms,
        "false_alarms_change": change.false_alarms_change,
    }


def _rounded(node: Any) -> Any:
    """Six decimals, so that reports can be compared by eye; thresholds keep all, since they part two scores."""
    if isinstance(node, dict):
        return {key: value if key == "threshold" else _rounded(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_rounded(item) for item in node]
    return round(node, 6) if isinstance(node, float) else node
