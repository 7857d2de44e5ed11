"""``POST /v1/images/segmentations``: masks of what a prompt names, in the shape of OpenAI's paths for images."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from sam3edge.invocations.request import SEGMENTATIONS
from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import JSON, Reply, Request, json_reply
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.prompts import check_phrases
from sam3edge_serving.api.routes.chat_request import Open
from sam3edge_serving.api.routes.models import must_be_known
from sam3edge_serving.api.validation import read
from sam3edge_serving.http.errors import BadGateway, BadRequest, UnsupportedMedia
from sam3edge_serving.http.multipart import MULTIPART, read_form
from sam3edge_serving.sentences import phrases_in


class SegmentationRequest(Open):
    """An image and what to look for in it.

    Attributes:
        image: a data URL, base64, or an https address; in a form, a file.
        prompt: phrases; a text is a list or a sentence (``sentences.py``).
        n: the best so many objects; all where it is missing.
    """

    model: str | None = None
    image: str | None = Field(None, min_length=1)
    prompt: str | list[str] = ""
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    n: int | None = Field(None, ge=1)
    response_format: Literal["b64_json"] = "b64_json"


def segment(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    if request.media_type == MULTIPART:
        form = read_form(request.headers["content-type"], request.body)
        wanted, file = read(SegmentationRequest, form.members), form.image
    elif request.media_type in (JSON, ""):
        wanted, file = read(SegmentationRequest, request.json()), None
    else:
        raise UnsupportedMedia(f"the body must be {JSON} or {MULTIPART}, it is {request.media_type[:60]}")
    if wanted.model is not None:
        must_be_known(parts, wanted.model)
    phrases = phrases_in(wanted.prompt) if isinstance(wanted.prompt, str) else tuple(wanted.prompt)
    query = DetectionQuery(check_phrases(phrases, parts.max_prompts, "prompt"), wanted.threshold)
    data = file.data if file else (wanted.image or "").encode()
    if not data:
        raise BadRequest(
            "the request must have an image: the member 'image' of a JSON body (data URL, base64 or https address), or "
            "a file 'image' of a multipart body",
            param="image",
            code="missing_image",
        )

    def image() -> Image:
        return parts.images.from_bytes(file.data, "image") if file else parts.images.from_text(data.decode(), "image")

    def answer() -> Reply:
        return json_reply(_named(parts, parts.model.ask(image(), query, SEGMENTATIONS), wanted.n))

    asked = {"image": hashlib.sha256(data).hexdigest(), "form": ["segmentations", wanted.n], **asdict(query)}
    return parts.once.run(request, asked, answer)


def _named(parts: Parts, body: str, most: int | None) -> dict[str, Any]:
    """The endpoint's response in the API's name."""
    response = json.loads(body)
    if not isinstance(response, dict) or not isinstance(response.get("data"), list):
        raise BadGateway("the model's endpoint responded with JSON that is not a list of segmentations; try again")
    return {**response, "created": int(time.time()), "model": parts.model_id, "data": response["data"][:most]}
