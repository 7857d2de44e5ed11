"""Pixel by pixel: what a classifier's users know, a confusion matrix summed over the windows of a raster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.matching import BoolMask
from sam3edge_pipeline.evaluation.vector.areas import AreaFile, by_falling_class, by_rising_score, claimed_twice, paint
from sam3edge_pipeline.evaluation.vector.grid import Block, Grid

ClassRaster = npt.NDArray[np.uint8]
"""uint8 [h, w], numbers of classes; 0 is the background."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A block of the raster.

    Attributes:
        block: where.
        predicted: what was detected, blurred if that was asked for.
        truth: what is there.
        has_data: pixels that are counted.
        ambiguous: how many of them the truth says two classes of.
    """

    block: Block
    predicted: ClassRaster
    truth: ClassRaster
    has_data: BoolMask
    ambiguous: int

    @property
    def differs(self) -> BoolMask:
        """bool [h, w], counted pixels of which the two say something else."""
        return np.asarray(self.has_data & (self.predicted != self.truth))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Detections and truth on one raster.

    Attributes:
        grid: the raster.
        detections, truth: their areas.
        blur: side of the median filter, pixels, odd; 1 for none.
    """

    grid: Grid
    detections: AreaFile
    truth: AreaFile
    blur: int = 1

    def windows(self) -> Iterator[Compared]:
        """All of the raster, a window at a time."""
        for block in self.grid.windows():
            yield self.at(block)

    def at(self, block: Block) -> Compared:
        """One block; blurred as the whole raster would be."""
        x0, y0, x1, y1 = block
        margin = self.blur // 2
        left, top = max(0, x0 - margin), max(0, y0 - margin)
        wide = left, top, min(self.grid.width, x1 + margin), min(self.grid.height, y1 + margin)
        found = self.detections.within(wide)
        predicted = median(paint(found, by_rising_score(found), wide), self.blur)
        predicted = np.ascontiguousarray(predicted[y0 - top : y1 - top, x0 - left : x1 - left])
        there = self.truth.within(block)
        has_data = self.grid.has_data(block)
        ambiguous = int(np.count_nonzero(claimed_twice(there, block) & has_data))
        return Compared(block, predicted, paint(there, by_falling_class(there), block), has_data, ambiguous)


def median(classes: ClassRaster, side: int) -> ClassRaster:
    """Without speckle: a pixel becomes what most pixels of the square around it are, and stays what it is where none
    has most.

    With two classes that is ``cv2.medianBlur``, edges replicated. Of more classes the numbers have no order of which a
    middle could be taken, so each is blurred alone.

    Args:
        side: of the square, pixels, odd; 1 for none.
    """
    if side == 1:
        return classes
    blurred = classes.copy()
    for number in np.unique(classes):
        blurred[cv2.medianBlur((classes == number).astype(np.uint8), side) > 0] = number
    return blurred


def confusion(compared: Compared, classes: int) -> npt.NDArray[np.int64]:
    """int64 [classes, classes], pixels by what is there (rows) and what was detected (columns), background included."""
    pairs = compared.truth[compared.has_data].astype(np.int64) * classes + compared.predicted[compared.has_data]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
