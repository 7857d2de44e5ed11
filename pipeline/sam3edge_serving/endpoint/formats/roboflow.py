"""Roboflow's ways to ask SAM 3, by the paths of its inference server.

``/sam3/concept_segment``: a list of prompts, each a phrase or boxes around examples, and an answer to each.
``/sam3/visual_segment``: points and boxes, an object each, and the best mask of each.

Boxes of the first are given by their top left corner, those of the second by their centre: so does Roboflow's server
(``Sam2PromptSet.to_sam2_inputs``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.matching import suppress_instances
from sam3edge.core.messages.envelope import to_json
from sam3edge.core.phrases import single_spaced
from sam3edge.core.polygons import TOLERANCE, outline_of, simplify, to_detections
from sam3edge.core.postprocess import fill_holes
from sam3edge.core.types import VISUAL, Detection, Exemplar, Instance, PointPrompt, Prompt, VisualPrompt
from sam3edge.vector.run_lengths import Rle
from sam3edge_serving.endpoint.formats.masks import full_mask, to_rle
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    ImageText,
    ImageValue,
    Share,
    VisualQuery,
    VisualResult,
    checked,
    image_of,
)
from sam3edge_serving.http.errors import BadRequest, TooLarge

Pixel: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Format: TypeAlias = Literal["polygon", "rle"]

CONCEPT_PATH, VISUAL_PATH = "/sam3/concept_segment", "/sam3/visual_segment"


class SizedBox(BaseModel):
    """A box by its size and a place, pixels: its top left corner where it is around an example, its centre where it
    is around one object."""

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
    box_labels: list[Literal[0, 1] | bool] | None = None
    output_prob_thresh: Share | None = None


class RoboflowRequest(BaseModel):
    """Roboflow's request. What it says beside this (keys, model names) is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image: ImageText | ImageValue
    prompts: list[RoboflowPrompt] = Field(min_length=1)
    format: Format = "polygon"
    output_prob_thresh: Share = 0.5
    nms_iou_threshold: Share | None = Field(None, description="across prompts: of objects that overlap more, the best")

    def query(self, most: int) -> DetectionQuery:
        """Raises BadRequest, TooLarge."""
        return DetectionQuery(image_of(self.image), checked(self.each(), most))

    def each(self) -> tuple[Prompt, ...]:
        """The prompts as they were listed, repetitions and all."""
        return tuple(_prompt(p, i, self.output_prob_thresh) for i, p in enumerate(self.prompts))


class ClickedPoint(BaseModel):
    """A point on the object, or beside it, pixels."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    x: Pixel
    y: Pixel
    positive: bool = True


class RoboflowVisualPrompt(BaseModel):
    """One object: points, a box, or both."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    points: list[ClickedPoint] | None = None
    box: SizedBox | None = None


class RoboflowVisualPrompts(BaseModel):
    """The list, as Roboflow's reference nests it; its examples leave the nesting out."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    prompts: list[RoboflowVisualPrompt] | None = None


class RoboflowVisualRequest(BaseModel):
    """Roboflow's request by points and boxes; without any, everything in the image is outlined."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image: ImageText | ImageValue
    prompts: RoboflowVisualPrompts | list[RoboflowVisualPrompt] | None = None
    format: Literal["json", "polygon", "rle"] = "json"
    multimask_output: bool = True

    def query(self, most: int) -> VisualQuery:
        """Raises BadRequest, TooLarge."""
        given = self.prompts.prompts if isinstance(self.prompts, RoboflowVisualPrompts) else self.prompts
        listed = given or []
        if len(listed) > most:
            raise TooLarge(f"at most {most} objects can be asked for at once, these are {len(listed)}")
        return VisualQuery(image_of(self.image), tuple(self._prompt(one, i) for i, one in enumerate(listed)))

    def _prompt(self, one: RoboflowVisualPrompt, index: int) -> VisualPrompt:
        if not one.points and one.box is None:
            raise BadRequest(f"prompts.{index} has neither points nor a box; give it at least one of them")
        points = tuple(PointPrompt(p.x, p.y, p.positive) for p in one.points or ())
        box = None
        if (b := one.box) is not None:
            box = (b.x - b.width / 2, b.y - b.height / 2, b.x + b.width / 2, b.y + b.height / 2)
        return VisualPrompt(points, box, None, self.multimask_output)


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
    if request.nms_iou_threshold is not None:
        kept = suppress_instances(found.output.instances, request.nms_iou_threshold, across_prompts=True)
        found = replace(found, output=replace(found.output, instances=tuple(kept)))
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
    return to_json(answer)


class VisualPromptResult(TypedDict):
    """The answer to one object pointed at."""

    prompt_index: int
    predictions: list[Prediction]


class RoboflowVisualResponse(TypedDict):
    """The best mask of every object, in order; ``time`` is the model's, in seconds. Roboflow's server writes
    ``predictions``, its reference documents ``prompt_results``: this has both."""

    predictions: list[Prediction]
    prompt_results: list[VisualPromptResult]
    time: float


def write_visual(request: RoboflowVisualRequest, found: VisualResult, seconds: float) -> bytes:
    """The best mask of every object."""
    form: Format = "rle" if request.format == "rle" else "polygon"
    width, height = found.frame.width, found.frame.height
    predictions: list[Prediction] = []
    for one in found.predictions:
        mask = fill_holes(one.best)
        outline = simplify(outline_of(mask, width, height), TOLERANCE) if form == "polygon" else None
        masks = to_rle(full_mask(mask, width, height)) if outline is None else _shells(outline)
        score = round(float(one.iou_predictions.max()), 4)
        predictions.append({"masks": masks, "confidence": score, "format": form})
    answer: RoboflowVisualResponse = {
        "predictions": predictions,
        "prompt_results": [{"prompt_index": i, "predictions": [one]} for i, one in enumerate(predictions)],
        "time": round(seconds, 4),
    }
    return to_json(answer)


def _prompt(listed: RoboflowPrompt, index: int, threshold: float) -> Prompt:
    boxes = listed.boxes or []
    labels = listed.box_labels if listed.box_labels is not None else [True] * len(boxes)
    if len(labels) != len(boxes):
        raise BadRequest(f"prompts.{index} has {len(boxes)} boxes and {len(labels)} box_labels; give one for each")
    text = single_spaced(listed.text or "")
    if not text and not boxes:
        raise BadRequest(f"prompts.{index} has neither text nor boxes; give it at least one of them")
    exemplars = tuple(_exemplar(box, bool(label), index) for box, label in zip(boxes, labels, strict=True))
    at = threshold if listed.output_prob_thresh is None else listed.output_prob_thresh
    return Prompt(text or VISUAL, at, exemplars=exemplars)


def _exemplar(box: SizedBox | CornerBox, positive: bool, index: int) -> Exemplar:
    if isinstance(box, SizedBox):
        return Exemplar((box.x, box.y, box.x + box.width, box.y + box.height), positive)
    if not (box.x0 < box.x1 and box.y0 < box.y1):
        raise BadRequest(f"prompts.{index} has a box without area; give it as x0 < x1 and y0 < y1")
    return Exemplar((box.x0, box.y0, box.x1, box.y1), positive)


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
    parts = [part for part in parts if not part.is_empty]
    return [[[round(x, 1), round(y, 1)] for x, y in part.exterior.coords] for part in parts]
