"""From scores to instances: who is admitted, and who repeats somebody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sam3edge.core.types import Instance, MaskLogits, Prompt


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
        scores: float32 [P, Q], row by row the answers to ``prompts``.

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


def suppress_repeats(instances: Sequence[Instance], limit: float) -> list[Instance]:
    """Class-wise mask suppression: of instances of one prompt whose masks overlap with an intersection over union
    greater than ``limit``, only the best scored stays. Order is kept."""
    kept: list[int] = []
    masks: dict[Prompt, list[tuple[npt.NDArray[np.bool_], int]]] = {}
    for i in sorted(range(len(instances)), key=lambda i: -instances[i].score):
        inside = instances[i].mask > 0
        area = int(inside.sum())
        better = masks.setdefault(instances[i].prompt, [])
        if all(_iou(inside, area, other, other_area) <= limit for other, other_area in better):
            kept.append(i)
            better.append((inside, area))
    return [instances[i] for i in sorted(kept)]


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


def _iou(a: npt.NDArray[np.bool_], a_area: int, b: npt.NDArray[np.bool_], b_area: int) -> float:
    inner = int(np.count_nonzero(a & b))
    return inner / max(1, a_area + b_area - inner)


def _sigmoid(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-x.astype(np.float32))), np.float32)
