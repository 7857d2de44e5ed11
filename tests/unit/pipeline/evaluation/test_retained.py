"""Concepts that a model knew before, then and now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam3edge_pipeline.evaluation.retained import (
    Baseline,
    BaselineError,
    PhraseFigures,
    Retained,
    compare_retained,
    read_baseline,
)


def figures(f1: float | None, alarms: float | None) -> PhraseFigures:
    return PhraseFigures(mask_f1_50=f1, false_alarms=alarms, objects=7, absent=9)


def baseline(**phrases: PhraseFigures) -> Baseline:
    document: dict[str, Any] = {
        "format": 1,
        "model": {"name": "m", "version": "1.0.0", "digest": "sha256:aa", "precision": "fp32"},
        "dataset": {"digest": "sha256:dd", "split": "test", "images": 3},
        "options": {"threshold": 0.5, "floor": 0.05, "nms_iou": 0.5},
        "phrases": {name: {**one.model_dump(), "mask_ap": 0.5} for name, one in phrases.items()},
    }
    return Baseline.model_validate(document)


def compared(before: Baseline, phrases: list[str], digest: str = "sha256:dd", **now: PhraseFigures) -> Retained:
    return compare_retained(before, phrases, now, digest=digest, split="test", threshold=0.5, nms_iou=0.5)


def test_changes_of_f1_and_of_false_alarms_by_phrase() -> None:
    before = baseline(car=figures(0.8, 0.1), tree=figures(0.6, 0.0))
    found = compared(before, ["tree", "car"], car=figures(0.5, 0.3), tree=figures(0.7, 0.0))
    assert [change.phrase for change in found.changes] == ["tree", "car"]
    assert [change.f1_change for change in found.changes] == pytest.approx([0.1, -0.3])
    assert [change.false_alarms_change for change in found.changes] == pytest.approx([0.0, 0.2])
    assert found.worst_f1_change is not None
    assert found.worst_f1_change.phrase == "car"
    assert (found.differs, found.unmeasured, found.baseline) == ((), (), "m 1.0.0")


def test_a_phrase_that_one_of_both_did_not_measure_is_named() -> None:
    before = baseline(car=figures(0.8, 0.1), tree=figures(None, 0.0))
    found = compared(before, ["car", "tree", "ship"], tree=figures(0.7, 0.0), ship=figures(0.7, 0.0))
    assert found.unmeasured == ("car", "tree", "ship")
    assert found.worst_f1_change is None


def test_other_images_are_said_to_be_others() -> None:
    found = compared(baseline(car=figures(0.8, 0.1)), ["car"], digest="sha256:ee", car=figures(0.8, 0.1))
    assert found.differs == ("the baseline's dataset is sha256:dd, this report's is sha256:ee",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"phrases": {"car": {"mask_f1_50": "high"}}}'])
def test_what_is_not_a_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"expected a report\.json"):
        read_baseline(path)


def test_a_report_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**baseline(car=figures(0.8, 0.1)).model_dump(), "format": 2}))
    with pytest.raises(BaselineError, match="format"):
        read_baseline(path)
