"""An engine without a model: it finds colours. Deterministic, and true to the contract of ``Engine``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from sam3edge.core.types import Frame, Instance, ModelInfo, Prompt, Segmentation

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}


class FakeEngine:
    """Every connected region of a prompt's colour is an instance; its score falls with the distance from that colour.

    Args:
        fail: what ``segment`` raises instead of answering, to try how failures are handled.
    """

    def __init__(self, fail: Exception | None = None, version: str = "1.0.0") -> None:
        self._fail = fail
        self._model = ModelInfo("colors", version, "sha256:" + "0" * 64, "fp32", "fake")
        self.closed = False

    @property
    def model(self) -> ModelInfo:
        """Which model answers."""
        return self._model

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> Segmentation:
        """See ``Engine``."""
        if self._fail is not None:
            raise self._fail
        instances: list[Instance] = []
        for prompt in prompts:
            if prompt.text in COLORS:
                instances += self._find(frame, prompt)
        unanswered = {p.text: f"not one of {', '.join(COLORS)}" for p in prompts if p.text not in COLORS}
        return Segmentation(tuple(instances), {"vision": 0.0, "decoder": 0.0, "masks": 0.0}, unanswered)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _find(self, frame: Frame, prompt: Prompt) -> list[Instance]:
        distance = np.abs(frame.image.astype(np.int32) - COLORS[prompt.text]).max(2)
        count, labels = cv2.connectedComponents((distance < 100).astype(np.uint8))
        found = []
        for label in range(1, count):
            inside = labels == label
            score = 1 - float(distance[inside].mean()) / 255
            if score > prompt.threshold:
                y, x = np.nonzero(inside)
                box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
                found.append(Instance(prompt, score, box, np.where(inside, 4.0, -4.0).astype(np.float32)))
        return sorted(found, key=lambda i: -i.score)
