"""Objects that a person points at, segmented with the bundle's interactive graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import EngineError, PromptError
from sam3edge.core.postprocess import to_mask_prediction
from sam3edge.core.types import Frame, MaskPrediction, VisualPrompt
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import Graphs, Value
from sam3edge.engines.vision import TOKENS, Vision, identity

NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -10
"""Labels of points; a box is its two corners."""

_MAPS = ("embedding", "middle", "finest")


class InteractiveEngine:
    """An ``InteractiveSegmenter`` beside an ``OnnxEngine``, on the same look at the frame.

    A second question about a frame runs only the small decoder, for all objects at once.

    Raises:
        EngineError: the bundle has no interactive graphs, or they do not load.
    """

    def __init__(self, graphs: Graphs, vision: Vision) -> None:
        if not graphs.holds("interactive_vision", "interactive") or TOKENS not in graphs.outputs("vision"):
            raise EngineError(
                f"bundle {graphs.model.name} {graphs.model.version} answers no clicks: it was exported without the "
                "tracker's weights; export it from a checkpoint that has them"
            )
        graphs.load("interactive_vision", "interactive")
        self._graphs, self._vision = graphs, vision
        self._seen: tuple[object, Mapping[str, ort.OrtValue]] | None = None

    def predict(self, frame: Frame, prompts: Sequence[VisualPrompt]) -> Sequence[MaskPrediction]:
        """Segment one object for each of ``prompts``; see ``InteractiveSegmenter``."""
        if not prompts:
            return ()
        points, labels = points_of(prompts, frame)
        try:
            maps = self._maps(frame)
            side = maps["finest"].shape()[-1]
            before, has_before = _masks_of(prompts, side)
            inputs: dict[str, Value] = {
                **{name: maps[name] for name in _MAPS},
                "image_index": np.zeros(len(prompts), np.int64),
                "points": points,
                "labels": labels,
                "before": before,
                "has_before": has_before,
            }
            names = ("masks", "quality", "presence", "single")
            # all four masks cross to the host, 1.3 MB an object at 1008 pixels: a person does not click that fast
            answer = {k: v.numpy() for k, v in self._graphs.run("interactive", inputs, (), names).items()}
        except PromptError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{self._graphs.model.provider} failed on frame {frame.id}: {error}") from error
        return tuple(
            to_mask_prediction(
                answer["masks"][i],
                answer["quality"][i],
                float(answer["presence"][i, 0]),
                int(answer["single"][i]),
                prompts[i].multimask_output,
            )
            for i in range(len(prompts))
        )

    def _maps(self, frame: Frame) -> Mapping[str, ort.OrtValue]:
        key = identity(frame)
        if self._seen is None or self._seen[0] != key:
            self._seen = None
            tokens = self._vision.encode(frame)[TOKENS]
            self._seen = (key, self._graphs.run("interactive_vision", {TOKENS: tokens}, _MAPS))
        return self._seen[1]


def points_of(prompts: Sequence[VisualPrompt], frame: Frame) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Points float32 [N, P, 2] (x, y in 0..1) and labels int64 [N, P] of N objects, padded to the most that one has; a
    box comes first, as its corners.

    Raises:
        PromptError: a point is outside of the frame, a box covers nothing of it, or there is nothing at all.
    """
    rows = [_points(prompt, frame) for prompt in prompts]
    most = max(1, *(len(row) for row in rows))
    points = np.zeros((len(rows), most, 2), np.float32)
    labels = np.full((len(rows), most), PADDING, np.int64)
    for i, row in enumerate(rows):
        for k, (x, y, label) in enumerate(row):
            points[i, k] = x / frame.width, y / frame.height
            labels[i, k] = label
    return points, labels


def _points(prompt: VisualPrompt, frame: Frame) -> list[tuple[float, float, int]]:
    if not prompt.points and prompt.box is None and prompt.mask_input is None:
        raise PromptError("nothing was pointed at: give at least one click, a box, or a mask to refine")
    size = f"the frame of {frame.width} x {frame.height} pixels"
    points: list[tuple[float, float, int]] = []
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        if not (x0 < x1 and y0 < y1 and x0 < frame.width and y0 < frame.height and x1 > 0 and y1 > 0):
            raise PromptError(f"the box {prompt.box} covers nothing of {size}; give it as x0, y0, x1, y1")
        points += [(x0, y0, TOP_LEFT), (x1, y1, BOTTOM_RIGHT)]
    for point in prompt.points:
        if not (0 <= point.x <= frame.width and 0 <= point.y <= frame.height):
            raise PromptError(f"the click at {point.x}, {point.y} is outside of {size}")
        points.append((point.x, point.y, POSITIVE if point.positive else NEGATIVE))
    return points


def _masks_of(prompts: Sequence[VisualPrompt], side: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Masks to refine, float32 [N, 1, side, side], and which objects have one.

    Raises:
        PromptError: a mask has another size.
    """
    before = np.zeros((len(prompts), 1, side, side), np.float32)
    for i, one in enumerate(prompts):
        if one.mask_input is not None:
            if one.mask_input.shape != (side, side):
                raise PromptError(
                    f"expected a mask of {side} x {side} to refine, got one of shape {one.mask_input.shape}; give it "
                    "as it was predicted"
                )
            before[i, 0] = one.mask_input
    return before, np.array([one.mask_input is not None for one in prompts])
