"""``POST /v1/uploads``: where to send a large image."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field

from sam3edge_serving.api.dependencies import Large, Parts
from sam3edge_serving.api.exchange import Reply, Request, json_reply
from sam3edge_serving.api.validation import read
from sam3edge_serving.http.errors import NotFound


class UploadRequest(BaseModel):
    """What will be sent; ``bytes`` where it is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    content_type: str
    bytes: int | None = Field(None, ge=1)


def offer(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    wanted = read(UploadRequest, request.json())
    large = must_be_offered(parts)

    def answer() -> Reply:
        return json_reply(large.uploads.offer(request.key_id, wanted.content_type.lower(), wanted.bytes), 201)

    asked = {"body": hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()}
    return parts.once.run(request, asked, answer)


def must_be_offered(parts: Parts) -> Large:
    """Raises NotFound where there is no way for large images."""
    if parts.large is None:
        raise NotFound("this API takes no uploads; send the image in the request", code="uploads_not_offered")
    return parts.large
