"""Roboflow's way to ask SAM 3 (``/sam3/concept_segment`` of its inference server): a list of prompts, each a phrase or
boxes around examples, and an answer to each."""

from __future__ import annotations

import json
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.phrases import single_spaced
from sam3edge.core.polygons import to_detections
from sam3edge.core.types import VISUAL, Detection, Exemplar, Instance, Prompt
from sam3edge_serving.endpoint.formats.masks import Rle, full_mask, to_rle
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    ImageText,
    ImageValue,
    Share,
    checked,
    image_of,
)
from sam3edge_serving.http.errors import BadRequest

Pixel: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Format: TypeAlias = Literal["polygon", "rle"]


class SizedBox(BaseModel):
    """A box by its top left corner and its size, pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    x: Pixel
    y: Pixel
    width: Annotated[Pixel, Field(gt=0)]
    height: Annotated[Pixel, Field(gt=0)]


class CornerBox(BaseModel):
    """A box by two corners, pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    x0: Pixel
    y0: Pixel
    x1: Pixel
    y1: Pixel


class RoboflowPrompt(BaseModel):
    """A phrase, or boxes around examples, or both. Labels are 1 for what is meant and 0 for what is not."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    type: Literal["text", "visual"] = "text"
    text: str | None = None
    boxes: list[SizedBox | CornerBox] | None = None
    box_labels: list[Literal[0, 1]] | None = None
    output_prob_thresh: Share | None = None


class RoboflowRequest(BaseModel):
    """Roboflow's request. What it says beside this (keys, model names) is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image: ImageText | ImageValue
    prompts: list[RoboflowPrompt] = Field(min_length=1)
    format: Format = "polygon"
    output_prob_thresh: Share = 0.5

    def query(self, most: int) -> DetectionQuery:
        """Raises BadRequest, TooLarge."""
        return DetectionQuery(image_of(self.image), checked(self.each(), most))

    def each(self) -> tuple[Prompt, ...]:
        """The prompts as they were listed, repetitions and all."""
        return tuple(_prompt(p, i, self.output_prob_thresh) for i, p in enumerate(self.prompts))


class Prediction(TypedDict):
    """One found object: polygons of x, y in pixels, or run lengths."""

    masks: list[list[list[float]]] | Rle
    confidence: float
    format: Format


class Echo(TypedDict):
    """What was asked."""

    prompt_index: int
    type: Literal["text", "visual"]
    text: str | None
    num_boxes: int


class PromptResult(TypedDict):
    """The answer to one listed prompt; ``error`` says why it has none."""

    prompt_index: int
    echo: Echo
    predictions: list[Prediction]
    error: NotRequired[str]


class RoboflowResponse(TypedDict):
    """The answers to all listed prompts; ``time`` is the model's, in seconds."""

    prompt_results: list[PromptResult]
    time: float


def write(request: RoboflowRequest, found: DetectionResult) -> bytes:
    """An answer to every listed prompt, in their order."""
    unsupported_prompts = found.output.unsupported_prompts
    predictions = _predictions(found, request.format)
    results: list[PromptResult] = []
    for index, prompt in enumerate(request.each()):
        listed = request.prompts[index]
        result: PromptResult = {
            "prompt_index": index,
            "echo": {
                "prompt_index": index,
                "type": listed.type,
                "text": listed.text,
                "num_boxes": len(listed.boxes or ()),
            },
            "predictions": [prediction for asked, prediction in predictions if asked == prompt],
        }
        if prompt.text in unsupported_prompts:
            result["error"] = unsupported_prompts[prompt.text]
        results.append(result)
    seconds = round(sum(found.output.timing.values()) / 1000, 4)
    answer: RoboflowResponse = {"prompt_results": results, "time": seconds}
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _prompt(listed: RoboflowPrompt, index: int, threshold: float) -> Prompt:
    boxes = listed.boxes or []
    labels = listed.box_labels if listed.box_labels is not None else [1] * len(boxes)
    if len(labels) != len(boxes):
        raise BadRequest(f"prompts.{index} has {len(boxes)} boxes and {len(labels)} box_labels; give one for each")
    text = single_spaced(listed.text or "")
    if not text and not boxes:
        raise BadRequest(f"prompts.{index} has neither text nor boxes; give it at least one of them")
    exemplars = tuple(_exemplar(box, label, index) for box, label in zip(boxes, labels, strict=True))
    at = threshold if listed.output_prob_thresh is None else listed.output_prob_thresh
    return Prompt(text or VISUAL, at, exemplars=exemplars)


def _exemplar(box: SizedBox | CornerBox, label: int, index: int) -> Exemplar:
    if isinstance(box, SizedBox):
        return Exemplar((box.x, box.y, box.x + box.width, box.y + box.height), label == 1)
    if not (box.x0 < box.x1 and box.y0 < box.y1):
        raise BadRequest(f"prompts.{index} has a box without area; give it as x0 < x1 and y0 < y1")
    return Exemplar((box.x0, box.y0, box.x1, box.y1), label == 1)


def _predictions(found: DetectionResult, form: Format) -> list[tuple[Prompt, Prediction]]:
    """All found objects, each with the prompt it answers."""
    frame, output = found.frame, found.output
    masks: list[tuple[Instance | Detection, list[list[list[float]]] | Rle]]
    if form == "rle":
        masks = [(i, to_rle(full_mask(i.mask, frame.width, frame.height))) for i in output.instances]
    else:
        masks = [(d, _shells(d.geometry)) for d in to_detections(output, frame, found.model).detections]
    return [(o.prompt, {"masks": m, "confidence": round(o.score, 4), "format": form}) for o, m in masks]


def _shells(geometry: Polygon | MultiPolygon) -> list[list[list[float]]]:
    """A list of polygons without holes, which this format has no place for."""
    parts = [geometry] if isinstance(geometry, Polygon) else list(geometry.geoms)
    return [[[round(x, 1), round(y, 1)] for x, y in part.exterior.coords] for part in parts]
