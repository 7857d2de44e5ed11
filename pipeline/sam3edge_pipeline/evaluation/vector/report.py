"""The report of an evaluation on a map, for machines (``report.json``) and for people (``index.html``, one file)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sam3edge_pipeline.evaluation.counting import Counts
from sam3edge_pipeline.evaluation.report_files import write_report_files
from sam3edge_pipeline.evaluation.vector.classification import as_text, classification
from sam3edge_pipeline.evaluation.vector.dates import Period
from sam3edge_pipeline.evaluation.vector.evaluation import MapEvaluation, MapInputs, MapOptions
from sam3edge_pipeline.evaluation.vector.maps import DIFFERENCES, class_colors
from sam3edge_pipeline.evaluation.vector.preparation import Prepared


def write_map_report(evaluation: MapEvaluation, inputs: MapInputs, options: MapOptions, folder: Path) -> dict[str, Any]:
    """Write ``report.json`` and ``index.html``.

    Args:
        folder: made when it is not there.

    Returns:
        The content of ``report.json``.

    Raises:
        OSError: they could not be written.
    """
    document = to_document(evaluation, inputs, options)
    write_report_files(folder, "map_report.html", _shown(document, evaluation), document)
    return document


def to_document(evaluation: MapEvaluation, inputs: MapInputs, options: MapOptions) -> dict[str, Any]:
    """All figures."""
    e = evaluation
    total = sum((one.counts for one in e.objects.values()), Counts())
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "raster": {
            "name": e.raster,
            "width": e.size[0],
            "height": e.size[1],
            "crs": e.crs,
            "date": _period(e.raster_date),
            "pixels": int(e.confusion.sum()),
        },
        "truth": {**_prepared(e.truth), "date": _period(e.truth_date), "attribute": inputs.truth_columns.value or None},
        "detections": {
            **_prepared(e.detections),
            "attribute": inputs.detection_columns.prompt,
            "threshold": inputs.detection_columns.threshold,
            "below_threshold": e.detections.below,
        },
        "classes": {"names": list(e.names), "by_value": e.by_value},
        "options": {"iou": options.iou, "median_blur": options.blur, "max_days": options.max_days},
        "warnings": list(e.warnings),
        "pixels": {
            "report": classification(e.confusion, e.names),
            "confusion": e.confusion.tolist(),
            "ambiguous": e.ambiguous,
        },
        "objects": {
            "by_class": {
                prompt: {**_counted(one.counts), "mean_iou": one.mean_iou} for prompt, one in e.objects.items()
            },
            "all": _counted(total),
        },
    }


def text_report(document: Mapping[str, Any]) -> str:
    """The pixels' report as scikit-learn prints it."""
    return as_text(document["pixels"]["report"])


def _period(period: Period | None) -> dict[str, str] | None:
    return None if period is None else {"first": str(period.first), "last": str(period.last)}


def _prepared(prepared: Prepared) -> dict[str, Any]:
    return {
        "name": prepared.name,
        "areas": prepared.areas.count,
        "geometries": asdict(prepared.counts),
        "without_class": dict(prepared.without_class),
    }


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "found": counts.found,
        "missed": counts.missed,
        "invented": counts.invented,
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
    }


def _shown(document: Mapping[str, Any], evaluation: MapEvaluation) -> dict[str, Any]:
    return {
        "raster_date": evaluation.raster_date,
        "truth_date": evaluation.truth_date,
        "overview": evaluation.overview,
        "close_ups": evaluation.close_ups,
        "colors": class_colors(evaluation.names[1:]),
        "differences": DIFFERENCES,
        "text": text_report(document),
    }
