"""Azure ML's table for SAM (``mask-generation``): images with points, boxes and labels, and masks as PNG.

SAM 3 also finds by phrase, for which Azure's table has no column. Here it may have one more, ``text_prompt``: a phrase,
or a JSON list of phrases, in place of points and boxes. Its predictions are the phrases, the masks of each are what was
found, and ``iou_score`` is the score.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.postprocess import fill_holes
from sam3edge.core.types import Frame, MaskLogits, MaskPrediction, PointPrompt, VisualPrompt
from sam3edge.validation import first_complaint
from sam3edge_serving.endpoint.formats.masks import full_mask, to_png
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    VisualQuery,
    VisualResult,
    image_of,
    prompts_of,
)
from sam3edge_serving.http.errors import BadRequest, ErrorMember, HttpError, TooLarge

LABELS = (1, 0, -1, -10)
PADDING = -10
"""As the processors of SAM write labels: on the object, beside it, background, and no point at all."""

COLUMNS = ("image", "input_points", "input_boxes", "input_labels", "multimask_output", "text_prompt")

Pixel: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Point: TypeAlias = tuple[Pixel, Pixel]
Corners: TypeAlias = tuple[Pixel, Pixel, Pixel, Pixel]

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_POINTS: TypeAdapter[list[list[Point]]] = TypeAdapter(list[list[Point]])
_BOXES: TypeAdapter[list[Corners]] = TypeAdapter(list[Corners])
_LABELS: TypeAdapter[list[list[int]]] = TypeAdapter(list[list[int]])
_PHRASES: TypeAdapter[list[str]] = TypeAdapter(list[str])


class AzureMask(TypedDict):
    """A PNG of 0 and 255 at the size of the image, base64; and how good the model takes it to be, 0..1."""

    encoded_binary_mask: str
    iou_score: float


class AzurePrediction(TypedDict):
    """The masks of one object or phrase."""

    masks_per_prediction: list[AzureMask]


class AzurePredictions(TypedDict):
    """One prediction for each object or phrase of a row."""

    predictions: list[AzurePrediction]


class AzureRow(TypedDict):
    """The response to one row; ``error`` says why it has no predictions, ``unsupported_prompts`` why phrases have no
    masks."""

    response: AzurePredictions
    error: NotRequired[ErrorMember]
    unsupported_prompts: NotRequired[dict[str, str]]


AzureResponse: TypeAlias = list[AzureRow]


class AzureTable(BaseModel):
    """A data frame in pandas' ``split`` orientation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: list[str]
    index: list[int | str] | None = None
    data: list[list[JsonValue]] = Field(min_length=1)


class AzureRequest(BaseModel):
    """Azure's request; ``params`` is left alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input_data: AzureTable
    params: dict[str, JsonValue] = Field(default_factory=dict)

    def queries(self, threshold: float, most: int, most_images: int) -> list[DetectionQuery | VisualQuery | HttpError]:
        """One for each row, in their order, or why it cannot be read; raises BadRequest, TooLarge for the table."""
        columns, rows = self.input_data.columns, self.input_data.data
        if len(rows) > most_images:
            raise TooLarge(f"at most {most_images} images can be sent at once, these are {len(rows)}")
        if "image" not in columns or not set(columns) <= set(COLUMNS) or len(set(columns)) != len(columns):
            raise BadRequest(
                f"input_data.columns must be of {', '.join(COLUMNS)}, each once; only image must be among them",
                param="input_data.columns",
            )
        return [self._query(number, row, threshold, most) for number, row in enumerate(rows)]

    def _query(
        self, number: int, row: list[JsonValue], threshold: float, most: int
    ) -> DetectionQuery | VisualQuery | HttpError:
        columns, where = self.input_data.columns, row_name(number)
        if len(row) != len(columns):
            return BadRequest(f"{where} has {len(row)} values for {len(columns)} columns", param=where)
        try:
            return _query(dict(zip(columns, row, strict=True)), threshold, most)
        except ValidationError as error:
            return BadRequest(f"{where}: {first_complaint(error).expected}", param=where)
        except ValueError as error:
            return BadRequest(f"{where}: {error}", param=where)
        except HttpError as error:
            return type(error)(f"{where}: {error}", param=where)


def row_name(number: int) -> str:
    """Where a row is in the request."""
    return f"input_data.data.{number}"


def refused_row(number: int, error: HttpError) -> AzureRow:
    """The response to a row that could not be answered."""
    member = error.body()["error"]
    where = row_name(number)
    message = member["message"] if member["message"].startswith(where) else f"{where}: {member['message']}"
    return {"response": {"predictions": []}, "error": {**member, "message": message, "param": where}}


def row_of(seen: DetectionResult | VisualResult) -> AzureRow:
    """The answer to one row; takes the time to encode its masks."""
    frame = seen.frame
    if isinstance(seen, VisualResult):
        return _row(_prediction(frame, _shown(prediction)) for prediction in seen.predictions)
    found = seen.output.instances
    row = _row(_prediction(frame, ((i.mask, i.score) for i in found if i.prompt == p)) for p in seen.prompts)
    if seen.output.unsupported_prompts:
        row["unsupported_prompts"] = dict(seen.output.unsupported_prompts)
    return row


def write(rows: Sequence[AzureRow]) -> bytes:
    """The answers to all rows, in their order."""
    return json.dumps(rows, separators=(",", ":"), allow_nan=False).encode()


def _row(predictions: Iterable[AzurePrediction]) -> AzureRow:
    return {"response": {"predictions": list(predictions)}}


def _shown(prediction: MaskPrediction) -> Iterable[tuple[MaskLogits, float]]:
    """Masks with their small holes filled, as Meta's predictor shows them, and what each is worth."""
    return ((fill_holes(mask), iou) for mask, iou in zip(prediction.masks, prediction.iou_predictions, strict=True))


def _prediction(frame: Frame, masks: Iterable[tuple[MaskLogits, float]]) -> AzurePrediction:
    written: list[AzureMask] = []
    for mask, score in masks:
        encoded = to_png(full_mask(mask, frame.width, frame.height))
        written.append({"encoded_binary_mask": encoded, "iou_score": round(float(score), 4)})
    return {"masks_per_prediction": written}


def _query(row: dict[str, JsonValue], threshold: float, most: int) -> DetectionQuery | VisualQuery:
    image = row["image"]
    if not isinstance(image, str) or not image:
        raise ValueError("image must be base64, a data URL or an address")
    phrases = _phrases(row.get("text_prompt"))
    clicks = _clicks(row, most)
    if phrases and clicks:
        raise ValueError("give text_prompt, or input_points and input_boxes, not both")
    if phrases:
        return DetectionQuery(image_of(image), prompts_of(phrases, threshold, most))
    return VisualQuery(image_of(image), clicks)


def _phrases(value: Any) -> list[str]:
    """A phrase, or a list of phrases, which may be JSON in a string."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _JSON.validate_json(value)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else _PHRASES.validate_python(value)


def _clicks(row: dict[str, JsonValue], most: int) -> tuple[VisualPrompt, ...]:
    multimask = row.get("multimask_output")
    if multimask in (None, ""):
        multimask = True
    if not isinstance(multimask, bool):
        raise ValueError("multimask_output must be true or false")
    points = _points(_value(row, "input_points"))
    boxes = _boxes(_value(row, "input_boxes"))
    labels = _labels(_value(row, "input_labels"), points)
    if points and boxes and len(points) != len(boxes):
        raise ValueError(f"there are points for {len(points)} objects and boxes for {len(boxes)}; give both for each")
    count = max(len(points), len(boxes))
    if count > most:
        raise TooLarge(f"at most {most} objects can be asked for at once, these are {count}")
    clicks = []
    for i in range(count):
        own = zip(points[i], labels[i], strict=True) if points else ()
        given = tuple(PointPrompt(x, y, label == 1) for (x, y), label in own if label != PADDING)
        if not given and not boxes:
            raise ValueError("input_labels calls every point of an object padding")
        clicks.append(VisualPrompt(given, boxes[i] if boxes else None, None, multimask))
    return tuple(clicks)


def _value(row: dict[str, JsonValue], name: str) -> Any:
    """JSON in a string, as Azure's clients write it, or the value itself; None when there is none."""
    value = row.get(name)
    if isinstance(value, str):
        value = _JSON.validate_json(value) if value.strip() else None
    return None if value == [] else value


def _points(value: Any) -> list[list[Point]]:
    """Points of every object. A list of points is one object for each; [[[x, y], [x, y]]] is one object."""
    depth = _depth(value)
    if value is None:
        return []
    if depth not in (1, 2, 3):
        raise ValueError("input_points must be lists of [x, y], such as [[[280, 320], [300, 350]]] for one object")
    nested = [[value]] if depth == 1 else [[point] for point in value] if depth == 2 else value
    points = _POINTS.validate_python(nested)
    if not all(points):
        raise ValueError("input_points has an object without points")
    return points


def _boxes(value: Any) -> list[Corners]:
    if value is None:
        return []
    return _BOXES.validate_python([value] if _depth(value) == 1 else value[0] if _depth(value) == 3 else value)


def _labels(value: Any, points: Sequence[Sequence[Point]]) -> list[list[int]]:
    """1 for a point on the object, 0 for one beside it; all 1 where none are given."""
    if value is None:
        return [[1] * len(own) for own in points]
    if _depth(value) == 1:
        value = [value] if len(points) == 1 else [[label] for label in value]
    labels = _LABELS.validate_python(value)
    if [len(own) for own in labels] != [len(own) for own in points]:
        raise ValueError("input_labels must have one label for each of input_points, nested alike")
    if any(label not in LABELS for own in labels for label in own):
        raise ValueError("input_labels are 1 for a point on the object, 0 or -1 for one beside it, -10 for padding")
    return labels


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth
