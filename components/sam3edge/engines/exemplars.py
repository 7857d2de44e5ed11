"""Exemplars of prompts as the exemplar graph takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sam3edge.core.types import Exemplar, Frame, Prompt

POSITIVE, NEGATIVE, PADDING = 1, 0, -10
"""Labels of boxes."""


def outside(exemplars: Sequence[Exemplar], frame: Frame) -> list[Exemplar]:
    """Those that cover nothing of the frame."""
    boxes = [_inside(e, frame) for e in exemplars]
    return [e for e, (x0, y0, x1, y1) in zip(exemplars, boxes, strict=True) if x1 <= x0 or y1 <= y0]


def boxes_of(prompts: Sequence[Prompt], frame: Frame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Boxes float32 [N, K, 4] (cx, cy, w, h in 0..1) and labels int64 [N, K] of N prompts, padded to the most that one
    of them has. A box that reaches over the frame's border ends there."""
    most = max(len(p.exemplars) for p in prompts)
    boxes = np.full((len(prompts), most, 4), 0.5, np.float32)
    labels = np.full((len(prompts), most), PADDING, np.int64)
    for row, prompt in enumerate(prompts):
        for column, exemplar in enumerate(prompt.exemplars):
            x0, y0, x1, y1 = _inside(exemplar, frame)
            centre = ((x0 + x1) / 2 / frame.width, (y0 + y1) / 2 / frame.height)
            boxes[row, column] = (*centre, (x1 - x0) / frame.width, (y1 - y0) / frame.height)
            labels[row, column] = POSITIVE if exemplar.positive else NEGATIVE
    return boxes, labels


def _inside(exemplar: Exemplar, frame: Frame) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = exemplar.box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(frame.width)), min(y1, float(frame.height))
