"""Right, missed and invented: mask F1 at one overlap, and false alarms where nothing is.

Counted over every pair of image and phrase that is labeled exhaustively, those without an object included, as a person
would who looks at what the device publishes. (``evaluation/bundle.py`` and cgF1's positive part leave the latter out.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam3edge_pipeline.evaluation.comparison import Overlap


@dataclass(frozen=True, slots=True)
class Counts:
    """Detections and objects.

    Attributes:
        found: objects that a detection covers well enough.
        missed: the other objects.
        invented: detections that found no object; those in ignored objects are left out.
    """

    found: int = 0
    missed: int = 0
    invented: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.found + other.found, self.missed + other.missed, self.invented + other.invented)

    @property
    def objects(self) -> int:
        """All that should be found."""
        return self.found + self.missed

    @property
    def f1(self) -> float | None:
        """None where there was nothing to find and nothing was found."""
        return _share(2 * self.found, 2 * self.found + self.missed + self.invented)

    @property
    def precision(self) -> float | None:
        """None where nothing was found."""
        return _share(self.found, self.found + self.invented)

    @property
    def recall(self) -> float | None:
        """None where there was nothing to find."""
        return _share(self.found, self.objects)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Pairs of image and phrase of which it is known that nothing is there.

    Attributes:
        absent: such pairs.
        alarms: those among them with at least one detection.
    """

    absent: int = 0
    alarms: int = 0

    def __add__(self, other: FalseAlarms) -> FalseAlarms:
        return FalseAlarms(self.absent + other.absent, self.alarms + other.alarms)

    @property
    def share(self) -> float | None:
        """None where every phrase is in every image."""
        return _share(self.alarms, self.absent)


def count(overlaps: Sequence[Overlap], threshold: float, iou: float) -> Counts:
    """Count detections with a score greater than ``threshold``; an object is found from an overlap of ``iou`` on."""
    return sum((_count(one, threshold, iou) for one in overlaps), Counts())


def false_alarms(overlaps: Sequence[Overlap], threshold: float) -> FalseAlarms:
    """Count detections with a score greater than ``threshold`` where nothing is."""
    absent = [one for one in overlaps if one.absent]
    return FalseAlarms(len(absent), sum(one.published(threshold) > 0 for one in absent))


def _count(overlap: Overlap, threshold: float, iou: float) -> Counts:
    published = overlap.published(threshold)
    found = sum(row < published for row, _ in overlap.pairs(iou))
    counted = int(np.count_nonzero(overlap.counted(iou)[:published]))
    return Counts(found, overlap.objects - found, counted - found)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
