"""Engines without a model: they see colours. Deterministic, and true to their contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import PromptError
from sam3edge.core.types import EngineOutput, Frame, Instance, MaskPrediction, ModelInfo, Prompt, VisualPrompt

COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}


class FakeEngine:
    """Every connected region of a prompt's colour is an instance; its score falls with the distance from that colour.

    A positive exemplar of a region of some other colour makes that colour count, too; a negative one takes the regions
    out that it touches.

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

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """See ``Engine``."""
        if self._fail is not None:
            raise self._fail
        instances: list[Instance] = []
        for prompt in prompts:
            if prompt.text in COLORS:
                instances += self._find(frame, prompt)
        unsupported_prompts = {p.text: f"not one of {', '.join(COLORS)}" for p in prompts if p.text not in COLORS}
        return EngineOutput(tuple(instances), {"vision": 0.0, "decoder": 0.0, "masks": 0.0}, unsupported_prompts)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _find(self, frame: Frame, prompt: Prompt) -> list[Instance]:
        image = frame.image.astype(np.int32)
        distance = np.abs(image - COLORS[prompt.text]).max(2)
        for exemplar in prompt.exemplars:
            x, y = _pixel(frame, (exemplar.box[0] + exemplar.box[2]) / 2, (exemplar.box[1] + exemplar.box[3]) / 2)
            alike = np.abs(image - image[y, x]).max(2)
            distance = np.minimum(distance, alike) if exemplar.positive else np.where(alike < 100, 255, distance)
        count, labels = cv2.connectedComponents((distance < 100).astype(np.uint8))
        found = []
        for label in range(1, count):
            inside = labels == label
            score = 1 - float(distance[inside].mean()) / 255
            if score > prompt.threshold:
                rows, columns = np.nonzero(inside)
                across, down = frame.width / image.shape[1], frame.height / image.shape[0]
                x0, x1 = float(columns.min() * across), float((columns.max() + 1) * across)
                y0, y1 = float(rows.min() * down), float((rows.max() + 1) * down)
                box = (x0, y0, x1, y1)
                found.append(Instance(prompt, score, box, np.where(inside, 4.0, -4.0).astype(np.float32)))
        return sorted(found, key=lambda i: -i.score)


class FakeInteractiveSegmenter:
    """The region of even colour under the first positive click, or in the middle of the box, is the object.

    With ``multimask_output`` the masks are the region, the region with its holes filled, and the whole frame.
    """

    def predict(self, frame: Frame, prompts: Sequence[VisualPrompt]) -> Sequence[MaskPrediction]:
        """See ``InteractiveSegmenter``."""
        return tuple(self._one(frame, one) for one in prompts)

    def _one(self, frame: Frame, prompt: VisualPrompt) -> MaskPrediction:
        region = self._region(frame, prompt)
        masks = [region]
        if prompt.multimask_output:
            contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            filled = cv2.drawContours(np.zeros(region.shape, np.uint8), contours, -1, 1, cv2.FILLED)
            masks += [filled > 0, np.ones_like(region)]
        logits = np.stack([np.where(mask, 4.0, -4.0) for mask in masks]).astype(np.float32)
        return MaskPrediction(logits, np.array([0.9, 0.8, 0.1][: len(masks)], np.float32), 0.99)

    def _region(self, frame: Frame, prompt: VisualPrompt) -> npt.NDArray[np.bool_]:
        pointed = [(p.x, p.y) for p in prompt.points if p.positive]
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            pointed.append(((x0 + x1) / 2, (y0 + y1) / 2))
        if not pointed:
            if prompt.mask_input is None:
                raise PromptError("nothing was pointed at: give at least one click, a box, or a mask to refine")
            return np.asarray(prompt.mask_input > 0)
        x, y = pointed[0]
        if not (0 <= x <= frame.width and 0 <= y <= frame.height):
            raise PromptError(f"{x}, {y} is outside of the frame of {frame.width} x {frame.height} pixels")
        height, width = frame.image.shape[:2]
        flooded = np.zeros((height + 2, width + 2), np.uint8)
        start, tolerance = _pixel(frame, x, y), (20, 20, 20)
        cv2.floodFill(frame.image.copy(), flooded, start, 0, tolerance, tolerance, cv2.FLOODFILL_MASK_ONLY)
        return np.asarray(flooded[1:-1, 1:-1] > 0)


def _pixel(frame: Frame, x: float, y: float) -> tuple[int, int]:
    """Column and row of the pixel of ``Frame.image`` under a point; the last one for a point on the far border."""
    height, width = frame.image.shape[:2]
    column, row = int(x * width / frame.width), int(y * height / frame.height)
    return min(max(column, 0), width - 1), min(max(row, 0), height - 1)
