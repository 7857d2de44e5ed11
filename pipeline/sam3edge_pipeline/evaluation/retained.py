"""Concepts that a model knew before it was trained further: they must not fall.

The figures of now are put beside those of a baseline report (``report.json``) that was made on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sam3edge.validation import first_complaint


class BaselineError(ValueError):
    """A baseline report cannot be used."""


class PhraseFigures(BaseModel):
    """What a baseline says of one phrase; it says more, which is not needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    mask_f1_50: float | None
    false_alarms: float | None
    objects: int
    absent: int


class _Dataset(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    digest: str
    split: str


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    version: str
    digest: str


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    threshold: float
    nms_iou: float | None


class Baseline(BaseModel):
    """What is needed of an earlier ``report.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    format: Literal[1]
    model: _Model
    dataset: _Dataset
    options: _Options
    phrases: Mapping[str, PhraseFigures]


@dataclass(frozen=True, slots=True)
class Change:
    """One retained phrase, then and now.

    Attributes:
        phrase: a concept that the baseline's model knew.
        f1_before, f1: mask F1 at IoU 0.5; None where there was nothing to find and nothing was found, or the phrase was
            not asked.
        false_alarms_before, false_alarms: share of the images without it in which something was found; None where it is
            in every image, or was not asked.
        objects, absent: of the phrase, now: how much the figures rest on.
    """

    phrase: str
    f1_before: float | None
    f1: float | None
    false_alarms_before: float | None
    false_alarms: float | None
    objects: int
    absent: int

    @property
    def f1_change(self) -> float | None:
        """Below 0 where the concept has fallen; None where one of both is unknown."""
        return _difference(self.f1, self.f1_before)

    @property
    def false_alarms_change(self) -> float | None:
        """Above 0 where the model now sees more of what is not there; None where one of both is unknown."""
        return _difference(self.false_alarms, self.false_alarms_before)


@dataclass(frozen=True, slots=True)
class Retained:
    """What has become of the retained concepts.

    Attributes:
        baseline: name and version of the model before.
        baseline_digest: of its bundle.
        differs: why the two reports cannot be compared fairly; empty when they can.
        changes: by phrase, as they were listed.
    """

    baseline: str
    baseline_digest: str
    differs: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def worst_f1_change(self) -> Change | None:
        """The phrase whose F1 has fallen most or risen least; None where nothing can be compared."""
        return min((c for c in self.changes if c.f1_change is not None), key=lambda c: c.f1_change or 0.0, default=None)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Phrases whose F1 before or now is unknown: of these nobody can say that they were retained."""
        return tuple(change.phrase for change in self.changes if change.f1_change is None)


def read_baseline(path: Path) -> Baseline:
    """Read an earlier ``report.json``.

    Raises:
        BaselineError: it is not one.
        OSError: it cannot be read.
    """
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BaselineError(
            f"expected a report.json of this evaluation, got {path.name}: {first_complaint(error)}"
        ) from error


def compare_retained(
    baseline: Baseline,
    phrases: Sequence[str],
    now: Mapping[str, PhraseFigures],
    *,
    digest: str,
    split: str,
    threshold: float,
    nms_iou: float | None,
) -> Retained:
    """Put the figures of retained phrases beside those of the baseline.

    Args:
        now: figures by phrase.
        digest, split: of the dataset that they are of.
        threshold, nms_iou: that they were measured with.
    """
    differs = []
    for name, before, after in (
        ("dataset", baseline.dataset.digest, digest),
        ("split", baseline.dataset.split, split),
        ("threshold", baseline.options.threshold, threshold),
        ("suppression of repeats", baseline.options.nms_iou, nms_iou),
    ):
        if before != after:
            differs.append(f"the baseline's {name} is {before}, this report's is {after}")
    changes = tuple(_change(phrase, baseline.phrases.get(phrase), now.get(phrase)) for phrase in phrases)
    return Retained(f"{baseline.model.name} {baseline.model.version}", baseline.model.digest, tuple(differs), changes)


def _change(phrase: str, before: PhraseFigures | None, now: PhraseFigures | None) -> Change:
    return Change(
        phrase,
        before.mask_f1_50 if before else None,
        now.mask_f1_50 if now else None,
        before.false_alarms if before else None,
        now.false_alarms if now else None,
        now.objects if now else 0,
        now.absent if now else 0,
    )


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
