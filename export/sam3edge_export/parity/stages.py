"""Where two runs of the same model part: the largest difference of every tensor that goes from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3edge.core.postprocess import scores_of

Tensors = Mapping[str, npt.NDArray[Any]]

COMPARED: Mapping[str, tuple[str, ...]] = {
    "vision": ("fine", "medium", "coarse", "geometry"),
    "decoder": ("logits", "presence", "scores", "boxes"),
}
"""Tensors of each stage that both sides give; the masks are compared instance by instance."""


class TensorRecorder:
    """Keeps what an engine's stages give; an engine calls it with each stage's name and tensors.

    A stage that runs several times for one frame, some prompts a time, is kept as if it had run once.
    """

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, npt.NDArray[np.float32]]] = {}

    def __call__(self, stage: str, tensors: Tensors) -> None:
        """Keep the tensors of one stage."""
        wanted = [name for name in COMPARED.get(stage, ()) if name in tensors]
        kept = self.seen.setdefault(stage, {})
        for name in wanted:
            fresh = np.asarray(tensors[name], np.float32)
            kept[name] = np.concatenate([kept[name], fresh]) if name in kept else fresh

    def forget(self) -> None:
        """Begin another frame."""
        self.seen.clear()


def differences(reference: TensorRecorder, ours: TensorRecorder) -> dict[str, dict[str, float]]:
    """Largest absolute difference of each tensor by stage, of what both have seen."""
    found: dict[str, dict[str, float]] = {}
    for stage, tensors in reference.seen.items():
        others = ours.seen.get(stage, {})
        found[stage] = {
            name: float(np.abs(tensor - others[name]).max()) for name, tensor in tensors.items() if name in others
        }
    return found


def score_rule_error(ours: TensorRecorder) -> float:
    """How far the decoder's scores are from the rule, applied anew to the logits and the presence that it gave."""
    decoder = ours.seen["decoder"]
    return float(np.abs(decoder["scores"] - scores_of(decoder["logits"], decoder["presence"])).max())


def largest(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The largest of each difference over several frames."""
    merged: dict[str, dict[str, float]] = {}
    for run in runs:
        for stage, tensors in run.items():
            into = merged.setdefault(stage, {})
            for name, value in tensors.items():
                into[name] = float(np.maximum(into.get(name, 0.0), value))  # unlike max, keeps a NaN
    return merged
