"""Bodies of JSON: which format they are in, and whether they keep to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag, TypeAdapter, ValidationError
from pydantic_core import from_json

from sam3edge.validation import Complaint, complaints
from sam3edge_serving.endpoint.formats.azure import AzureRequest
from sam3edge_serving.endpoint.formats.geojson import PhraseRequest
from sam3edge_serving.endpoint.formats.roboflow import CONCEPT_PATH, VISUAL_PATH, RoboflowRequest, RoboflowVisualRequest
from sam3edge_serving.endpoint.formats.segmentations import PATH as SEGMENTATIONS_PATH
from sam3edge_serving.endpoint.formats.segmentations import SegmentationRequest, members_of
from sam3edge_serving.http.errors import BadRequest, TooLarge
from sam3edge_serving.http.multipart import MULTIPART, read_form

_AZURE, _ROBOFLOW, _PHRASES = "#azure", "#roboflow", "#phrases"
"""Tags of the formats, which pydantic writes into locations: no members of any of them."""


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return _AZURE if "input_data" in value else _ROBOFLOW if "prompts" in value else _PHRASES
    return _PHRASES


def _wrapped(value: Any) -> Any:
    """A bare table in pandas' ``split`` orientation, as MLflow's clients send it, is Azure's."""
    if isinstance(value, dict) and {"columns", "data"} <= value.keys() and "input_data" not in value:
        return {"input_data": value}
    return value


JsonRequest: TypeAlias = AzureRequest | RoboflowRequest | RoboflowVisualRequest | SegmentationRequest | PhraseRequest

_REQUEST: TypeAdapter[AzureRequest | RoboflowRequest | PhraseRequest] = TypeAdapter(
    Annotated[
        Annotated[AzureRequest, Tag(_AZURE)]
        | Annotated[RoboflowRequest, Tag(_ROBOFLOW)]
        | Annotated[PhraseRequest, Tag(_PHRASES)],
        Discriminator(_kind),
        BeforeValidator(_wrapped),
    ]
)
_BY_PATH: dict[str, TypeAdapter[Any]] = {
    CONCEPT_PATH: TypeAdapter(RoboflowRequest),
    VISUAL_PATH: TypeAdapter(RoboflowVisualRequest),
    SEGMENTATIONS_PATH: TypeAdapter(SegmentationRequest),
}
FORMAT_PATHS = tuple(_BY_PATH)
"""Paths that take one format of JSON, whatever the header Content-Type says; that of segmentations takes forms, too."""

_LINE = TypeAdapter(PhraseRequest)
_T = TypeVar("_T")


def read_request(body: bytes, path: str = "", content_type: str = "") -> JsonRequest:
    """A request in JSON, of the format that belongs to its path, else of the one it shows; raises BadRequest."""
    if path == SEGMENTATIONS_PATH and content_type.split(";")[0].strip().lower() == MULTIPART:
        body = json.dumps(members_of(read_form(content_type, body))).encode()
    if path in _BY_PATH:
        request: JsonRequest = _read(_BY_PATH[path], body)
        return request
    return _read(_REQUEST, body)


def read_line(line: bytes) -> PhraseRequest:
    """One line of JSON lines; raises BadRequest."""
    return _read(_LINE, line)


def split_lines(body: bytes, most: int) -> Sequence[bytes]:
    """The lines that are not blank.

    Raises:
        BadRequest: there is none.
        TooLarge: there are more than ``most``.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise BadRequest("expected lines of JSON, one request each; the body has none")
    if len(lines) > most:
        raise TooLarge(f"at most {most} images can be sent at once, these are {len(lines)} lines")
    return lines


def _read(adapter: TypeAdapter[_T], body: bytes) -> _T:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        worst = _worst(error, body)
        raise BadRequest(f"{worst.where or 'the body'}: {worst.expected}", param=worst.where or None) from error


def _worst(error: ValidationError, body: bytes) -> Complaint:
    """The first complaint; of those about alternatives for the same member the one that got furthest into it."""
    found = complaints(error)
    if found[0].kind == "json_invalid":
        return found[0]
    document = _wrapped(from_json(body))
    found = [complaint.within(document) for complaint in found]
    start = found[0].location
    return max((c for c in found if c.location[: len(start)] == start), key=lambda c: len(c.location))
