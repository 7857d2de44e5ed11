"""Two answers to the same question, instance by instance.

An instance of the reference and one of the export are the same object when no other pair of the same prompt overlaps
more. How well they agree is then measured where it counts: on the outlines in pixels of the frame, as a device would
publish them before simplification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from sam3edge.core.matching import Overlaps, mask_iou, outline_iou, pair_best_first
from sam3edge.core.polygons import outline_of
from sam3edge.core.types import Frame, Instance, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The same object in both answers.

    Attributes:
        ours: of the export.
        iou: intersection over union of the two outlines in the frame, 0..1.
        score: absolute difference of the scores.
        box: largest absolute difference of the boxes' sides, as a share of the frame's side.
        logits: largest absolute difference of the mask logits; NaN when the masks differ in size.
    """

    reference: Instance
    ours: Instance
    iou: float
    score: float
    box: float
    logits: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """How one frame was answered.

    Attributes:
        pairs: objects found by both.
        missing: objects that only the reference found.
        extra: objects that only the export found.
        borderline: of those, how many were left out of ``missing`` and ``extra`` because their score lies so near to
            their prompt's threshold that rounding decides.
    """

    frame: Frame
    pairs: tuple[Pair, ...]
    missing: tuple[Instance, ...]
    extra: tuple[Instance, ...]
    borderline: int

    @property
    def worst_iou(self) -> float:
        """Of all pairs; 1 when there is none."""
        return min((pair.iou for pair in self.pairs), default=1.0)


def compare(frame: Frame, reference: Sequence[Instance], ours: Sequence[Instance], slack: float) -> Comparison:
    """Pair the instances of two answers to the same prompts.

    Args:
        slack: an instance that the other answer lacks is borderline when its score exceeds its prompt's threshold by no
            more than this.
    """
    pairs: list[Pair] = []
    missing: list[Instance] = []
    extra: list[Instance] = []
    for theirs, mine in zip(*_by_prompt(reference, ours), strict=True):
        same = pair_best_first(_overlaps(theirs, mine))
        pairs += [_pair(frame, theirs[a], mine[b]) for a, b in same]
        paired_theirs, paired_mine = {a for a, _ in same}, {b for _, b in same}
        missing += [one for a, one in enumerate(theirs) if a not in paired_theirs]
        extra += [one for b, one in enumerate(mine) if b not in paired_mine]
    clear_missing = tuple(i for i in missing if i.score - i.prompt.threshold > slack)
    clear_extra = tuple(i for i in extra if i.score - i.prompt.threshold > slack)
    borderline = len(missing) + len(extra) - len(clear_missing) - len(clear_extra)
    return Comparison(frame, tuple(pairs), clear_missing, clear_extra, borderline)


def iou_in_frame(a: Instance, b: Instance, frame: Frame) -> float:
    """Intersection over union of two instances' outlines in the frame; 1 when both are empty."""
    ours, theirs = (outline_of(i.mask, frame.width, frame.height) for i in (a, b))
    return float(outline_iou([ours], [theirs], both_empty=1.0)[0, 0])


def _by_prompt(
    reference: Sequence[Instance], ours: Sequence[Instance]
) -> tuple[list[list[Instance]], list[list[Instance]]]:
    prompts = list(dict.fromkeys(i.prompt for i in (*reference, *ours)))
    return _grouped(reference, prompts), _grouped(ours, prompts)


def _grouped(instances: Sequence[Instance], prompts: Sequence[Prompt]) -> list[list[Instance]]:
    order = {prompt: i for i, prompt in enumerate(prompts)}
    groups = {k: list(g) for k, g in groupby(sorted(instances, key=lambda i: order[i.prompt]), lambda i: i.prompt)}
    return [groups.get(prompt, []) for prompt in prompts]


def _pair(frame: Frame, reference: Instance, ours: Instance) -> Pair:
    size = np.array([frame.width, frame.height, frame.width, frame.height])
    box = float((np.abs(np.array(reference.box) - np.array(ours.box)) / size).max())
    same_size = reference.mask.shape == ours.mask.shape
    logits = float(np.abs(reference.mask - ours.mask).max()) if same_size else float("nan")
    return Pair(reference, ours, iou_in_frame(reference, ours, frame), abs(reference.score - ours.score), box, logits)


def _overlaps(reference: Sequence[Instance], ours: Sequence[Instance]) -> Overlaps:
    """Of masks, on the finest of their grids, for pairing only; two empty ones are equal."""
    shapes = {i.mask.shape for i in (*reference, *ours)}
    height, width = max((h for h, _ in shapes), default=0), max((w for _, w in shapes), default=0)
    masks = ([_enlarged(i.mask, height, width) > 0 for i in side] for side in (reference, ours))
    return mask_iou(*masks, both_empty=1.0)


def _enlarged(mask: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    return np.asarray(mask[np.ix_(rows, columns)])
