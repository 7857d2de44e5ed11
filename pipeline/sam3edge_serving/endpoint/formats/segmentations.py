"""``POST /v1/images/segmentations``: a prompt about an image, in the shape of OpenAI's paths for images.

An image and a prompt as JSON or as a form, as ``/v1/images/edits`` takes them; the response has an entry of ``data``
for every found object, with its mask as ``b64_json``.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from sam3edge.core.messages.envelope import to_json
from sam3edge.invocations.request import SEGMENTATIONS
from sam3edge_serving.endpoint.formats.masks import box_of, full_mask, to_png
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    ImageText,
    ImageValue,
    Share,
    image_of,
    prompts_of,
)
from sam3edge_serving.http.errors import BadRequest
from sam3edge_serving.http.multipart import Form
from sam3edge_serving.sentences import phrases_in

MEDIA_TYPE = SEGMENTATIONS
PATH = "/v1/images/segmentations"


class SegmentationRequest(BaseModel):
    """An image and what to look for in it. What it says beside this (sizes, quality, users) is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image: ImageText | ImageValue
    prompt: str | list[str] = Field(description="phrases: a list, or a text that is a list or a sentence")
    model: str = Field("", description="left alone: an endpoint has one")
    threshold: Share | None = None
    n: int | None = Field(None, ge=1, description="the best so many objects; all where it is missing")
    response_format: Literal["b64_json"] = "b64_json"

    def query(self, threshold: float, most: int) -> DetectionQuery:
        """Raises BadRequest, TooLarge."""
        phrases = phrases_in(self.prompt) if isinstance(self.prompt, str) else tuple(self.prompt)
        if not phrases:
            raise BadRequest("prompt must say what to look for, such as 'scratch, dent'; it is empty", param="prompt")
        at = threshold if self.threshold is None else self.threshold
        return DetectionQuery(image_of(self.image), prompts_of(phrases, at, most))


class Segmentation(TypedDict):
    """A found object: a PNG of 0 and 255 at the size of the image, base64; the mask's box x0, y0, x1, y1 in pixels."""

    b64_json: str
    label: str
    score: float
    box: list[int]


class SegmentationResponse(TypedDict):
    """All found objects, the best first; seconds since 1970; and why which prompt could not be answered."""

    created: int
    model: str
    width: int
    height: int
    data: list[Segmentation]
    unsupported_prompts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Written:
    """How a response is written: which name the model has, and how many objects there are at most."""

    model: str
    most: int | None = None


def members_of(form: Form) -> dict[str, object]:
    """A form as the members of a request; the file is base64 then."""
    if form.image is None:
        return dict(form.members)
    return {**form.members, "image": base64.b64encode(form.image.data).decode()}


def write(found: DetectionResult, written: Written) -> bytes:
    """The found objects with their masks."""
    frame = found.frame
    best = sorted(found.output.instances, key=lambda instance: -instance.score)[: written.most]
    data: list[Segmentation] = []
    for one in best:
        mask = full_mask(one.mask, frame.width, frame.height)
        if mask.any():
            x, y, width, height = box_of(mask)
            box = [x, y, x + width, y + height]
            data.append({"b64_json": to_png(mask), "label": one.prompt.name, "score": round(one.score, 4), "box": box})
    answer: SegmentationResponse = {
        "created": int(time.time()),
        "model": written.model,
        "width": frame.width,
        "height": frame.height,
        "data": data,
        "unsupported_prompts": dict(found.output.unsupported_prompts),
    }
    return to_json(answer)
