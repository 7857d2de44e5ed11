"""From the graphs' outputs to instances and masks: which queries are admitted, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.types import Confidence, Instance, MaskLogits, MaskPrediction, Prompt

MASK_RANGE = 32.0
"""The reference bounds the logits of a mask that it hands on to be refined (``sam1_task_predictor.py``)."""

HOLE_SHARE = 256 / 288**2
"""Share of a mask's area up to which a hole is filled before the mask is shown: the reference's 256 pixels of a mask of
288 x 288 (``max_hole_area`` in ``sam1_task_predictor.py``)."""


def scores_of(logits: npt.NDArray[np.float32], presence: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The reference's score rule: sigmoid(query logit) * sigmoid(presence logit).

    Args:
        logits: float32 [P, Q].
        presence: float32 [P, 1].

    Returns:
        float32 [P, Q], 0..1.
    """
    return np.asarray(_sigmoid(logits) * _sigmoid(presence), np.float32)


def admit(
    scores: npt.NDArray[np.float32], prompts: Sequence[Prompt], top_k: int
) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """Queries whose score is greater than their prompt's threshold, at most ``top_k`` a prompt, best first.

    Args:
        scores: float32 [P, Q], one row for each of ``prompts``.

    Returns:
        (row, int64 [k] query indices) of every prompt that has any.
    """
    admitted = []
    for row, prompt in enumerate(prompts):
        best = np.argsort(-scores[row], kind="stable")[:top_k]
        best = best[scores[row][best] > prompt.threshold]
        if len(best):
            admitted.append((row, best.astype(np.int64)))
    return admitted


def confidence_of(
    scores: npt.NDArray[np.float32], presence: npt.NDArray[np.float32], prompts: Sequence[Prompt]
) -> dict[Prompt, Confidence]:
    """How sure the model is about each prompt as a whole.

    Args:
        scores: float32 [P, Q], one row for each of ``prompts``.
        presence: float32 [P, 1], logits.
    """
    probability = _sigmoid(presence)[:, 0]
    missed = np.where(scores > np.array([[p.threshold] for p in prompts]), 0, scores).max(1)
    return {
        prompt: Confidence(float(probability[row]), float(scores[row].max()), float(missed[row]))
        for row, prompt in enumerate(prompts)
    }


def to_instances(
    prompts: Sequence[Prompt],
    admitted: Sequence[tuple[int, npt.NDArray[np.int64]]],
    scores: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    masks: MaskLogits,
    width: int,
    height: int,
) -> list[Instance]:
    """Put what the graphs said of the admitted queries together.

    Args:
        admitted: from ``admit``.
        scores: float32 [P, Q].
        boxes: float32 [P, Q, 4], x0, y0, x1, y1 in 0..1.
        masks: float32 [T, h, w], in the order of ``admitted``.
        width: of the frame in pixels.
        height: of the frame in pixels.
    """
    scale = np.array([width, height, width, height], np.float32)
    instances: list[Instance] = []
    for row, queries in admitted:
        for query in queries:
            x0, y0, x1, y1 = (float(v) for v in np.clip(boxes[row, query], 0, 1) * scale)
            mask = masks[len(instances)]
            instances.append(Instance(prompts[row], float(scores[row, query]), (x0, y0, x1, y1), mask))
    return instances


def to_mask_prediction(
    masks: npt.NDArray[np.float32],
    iou_predictions: npt.NDArray[np.float32],
    presence: float,
    single: int,
    multimask_output: bool,
) -> MaskPrediction:
    """What is predicted from clicks, by the reference's rule: the three masks that a click may mean, or the single one.

    Args:
        masks: float32 [4, h, w] logits, the first for prompts that leave no doubt.
        iou_predictions: float32 [4].
        presence: logit.
        single: which of the four is predicted when one is wanted.
        multimask_output: whether several are wanted.
    """
    chosen = slice(1, None) if multimask_output else slice(single, single + 1)
    bounded = np.clip(np.asarray(masks[chosen], np.float32), -MASK_RANGE, MASK_RANGE)
    probability = float(_sigmoid(np.asarray(presence, np.float32)))
    return MaskPrediction(bounded, np.asarray(iou_predictions[chosen], np.float32), probability)


def fill_holes(mask: MaskLogits, share: float = HOLE_SHARE, level: float = 10.0) -> MaskLogits:
    """Fill holes of at most ``share`` of the mask's area by setting them to ``level``; for showing a mask.

    Meta's predictor does so before a mask of clicks is shown, and hands the unfilled mask on to be refined
    (``postprocess_masks`` in ``sam3/model/utils/sam1_utils.py``). Background is connected over corners, and a small
    background region at the border counts as a hole, as there.

    Returns:
        A new mask; the given one where nothing is filled.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask <= 0).astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= share * mask.size
    small[0] = False  # the foreground
    return np.where(small[labels], np.float32(level), mask) if count > 1 else mask


def _sigmoid(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-x.astype(np.float32))), np.float32)
