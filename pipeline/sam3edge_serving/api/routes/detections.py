"""``POST /v1/detections`` and ``GET /v1/detections/{id}``: OversightML's GeoJSON, at once or by a job."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from sam3edge.core.phrases import split_phrases
from sam3edge.invocations.request import ACCEPT
from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import JSON, Reply, Request, json_reply
from sam3edge_serving.api.images import Image
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.prompts import check_phrases
from sam3edge_serving.api.routes.uploads import must_be_offered
from sam3edge_serving.api.validation import read
from sam3edge_serving.http.errors import BadRequest, UnsupportedMedia
from sam3edge_serving.http.multipart import MULTIPART, File, read_form

Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

POLL_SECONDS = 5
"""After which a client should look again."""


class DetectionRequest(BaseModel):
    """An image, or an upload, and what to look for in it.

    Attributes:
        image: a data URL, base64, or an https address.
        upload: id of an upload.
        text_prompt: phrases; a single text is split at commas and line breaks, a list is taken as it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    image: str | None = Field(None, min_length=1)
    upload: str | None = Field(None, min_length=1, max_length=64)
    text_prompt: str | list[str] = ""
    threshold: Share | None = None
    image_id: str = Field("", max_length=256)

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.image is not None and self.upload is not None:
            raise ValueError("give image or upload, not both")
        return self

    def query(self, most: int) -> DetectionQuery:
        """Raises BadRequest."""
        text = self.text_prompt
        phrases = split_phrases(text) if isinstance(text, str) else tuple(text)
        return DetectionQuery(check_phrases(phrases, most, "text_prompt"), self.threshold, self.image_id)


def detect(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    if request.media_type == MULTIPART:
        form = read_form(request.headers["content-type"], request.body)
        wanted = read(DetectionRequest, form.members)
        if form.image is not None:
            return _answer_file(parts, request, wanted, form.image)
    elif request.media_type in (JSON, ""):
        wanted = read(DetectionRequest, request.json())
    else:
        raise UnsupportedMedia(f"the body must be {JSON} or {MULTIPART}, it is {request.media_type[:60]}")
    if wanted.upload is not None:
        return _start(parts, request, wanted, wanted.upload)
    if wanted.image is None:
        raise BadRequest(
            "the request must have an image: the member 'image' of a JSON body (data URL, base64 or https address), a "
            "file 'image' of a multipart body, or 'upload' with the id of an upload",
            param="image",
            code="missing_image",
        )
    return _answer_text(parts, request, wanted, wanted.image)


def look(parts: Parts, request: Request, job_id: str) -> Reply:
    """Raises HttpError."""
    state = must_be_offered(parts).jobs.look(request.key_id, job_id)
    headers = {"Retry-After": str(POLL_SECONDS)} if state["status"] == "queued" else {}
    return json_reply(state, headers=headers)


def _answer_file(parts: Parts, request: Request, wanted: DetectionRequest, form: File) -> Reply:
    query = wanted.query(parts.max_prompts)
    query = query if query.image_id else replace(query, image_id=form.name[:256])

    def answer() -> Reply:
        return _found(parts, parts.images.from_bytes(form.data, "image"), query)

    asked = {"image": hashlib.sha256(form.data).hexdigest(), **asdict(query)}
    return parts.once.run(request, asked, answer)


def _answer_text(parts: Parts, request: Request, wanted: DetectionRequest, text: str) -> Reply:
    query = wanted.query(parts.max_prompts)

    def answer() -> Reply:
        return _found(parts, parts.images.from_text(text, "image"), query)

    asked = {"image": hashlib.sha256(text.encode()).hexdigest(), **asdict(query)}
    return parts.once.run(request, asked, answer)


def _found(parts: Parts, image: Image, query: DetectionQuery) -> Reply:
    return Reply(200, parts.model.ask(image, query), ACCEPT)


def _start(parts: Parts, request: Request, wanted: DetectionRequest, upload: str) -> Reply:
    large, query = must_be_offered(parts), wanted.query(parts.max_prompts)

    def answer() -> Reply:
        image, media_type = large.uploads.find(request.key_id, upload)
        state = large.jobs.start(request.key_id, image, media_type, query)
        headers = {"Location": f"/v1/detections/{state['id']}", "Retry-After": str(POLL_SECONDS)}
        return json_reply(state, 202, headers)

    return parts.once.run(request, {"upload": upload, **asdict(query)}, answer)
