"""One phrase in one image: what is there against what was found. All figures are made of these.

Only phrases that an image is labeled for exhaustively are compared: of any other phrase nobody can say whether a
detection is a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3edge.core.matching import Overlaps, pair_in_order
from sam3edge.core.types import Detection
from sam3edge.vector.run_lengths import Rle, rle_of
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.evaluation.masks import Outline, rle_iou


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """How D detections, by falling score, cover G true objects and I ignored ones.

    Attributes:
        scores: float64 [D], 0..1.
        truth: float64 [D, G], intersection over union of masks.
        ignored: float64 [D, I], the share of the detection's mask that is inside the ignored object, as COCO has it for
            crowds.
    """

    scores: npt.NDArray[np.float64]
    truth: Overlaps
    ignored: Overlaps

    @property
    def objects(self) -> int:
        """True objects that should be found."""
        return int(self.truth.shape[1])

    @property
    def absent(self) -> bool:
        """Whether nothing is there that the phrase could mean: not even an ignored object."""
        return int(self.truth.shape[1]) + int(self.ignored.shape[1]) == 0

    def published(self, threshold: float) -> int:
        """How many detections, the first ones, have a score greater than ``threshold``, as a device admits them."""
        return int(np.count_nonzero(self.scores > threshold))

    def pairs(self, iou: float) -> list[tuple[int, int]]:
        """Which detection finds which object, by COCO's rule. Those among the first detections are the same whether or
        not there are further ones."""
        return pair_in_order(self.truth, iou)

    def counted(self, iou: float) -> npt.NDArray[np.bool_]:
        """Bool [D], whether a detection is right or wrong at all: False for those that find no object and lie in an
        ignored one."""
        counted = np.array([not np.any(shares >= iou) for shares in self.ignored], np.bool_)
        counted[[row for row, _ in self.pairs(iou)]] = True
        return counted


@dataclass(frozen=True, slots=True, eq=False)
class PhraseResult:
    """What is there and what was found, in full.

    Attributes:
        example: the image.
        phrase: what was asked.
        truth: outlines of the objects, in pixels of the image.
        ignored: outlines of the ignored objects.
        detections: by falling score.
        truth_masks, ignored_masks, detection_masks: the same as run lengths.
        overlap: of the masks.
    """

    example: Example
    phrase: str
    truth: tuple[Outline, ...]
    ignored: tuple[Outline, ...]
    detections: tuple[Detection, ...]
    truth_masks: tuple[Rle, ...]
    ignored_masks: tuple[Rle, ...]
    detection_masks: tuple[Rle, ...]
    overlap: Overlap


def compare(example: Example, phrase: str, detections: Sequence[Detection]) -> PhraseResult:
    """Put the detections of one phrase beside the truth.

    Args:
        detections: in pixels of the image, in any order.

    Raises:
        ValueError: the example is not labeled for this phrase exhaustively.
    """
    if phrase not in example.exhaustive:
        raise ValueError(f"expected a phrase that example {example.id} is exhaustive for, got {phrase!r}; leave it out")
    objects = example.of(phrase)
    truth = tuple(one.outline for one in objects if not one.ignored)
    ignored = tuple(one.outline for one in objects if one.ignored)
    found = tuple(sorted(detections, key=lambda one: -one.score))
    size = (example.width, example.height)
    truth_masks = tuple(rle_of(outline, *size) for outline in truth)
    ignored_masks = tuple(rle_of(outline, *size) for outline in ignored)
    found_masks = tuple(rle_of(one.geometry, *size) for one in found)
    overlap = Overlap(
        np.array([one.score for one in found], np.float64),
        rle_iou(found_masks, truth_masks),
        rle_iou(found_masks, ignored_masks, crowd=True),
    )
    return PhraseResult(example, phrase, truth, ignored, found, truth_masks, ignored_masks, found_masks, overlap)
