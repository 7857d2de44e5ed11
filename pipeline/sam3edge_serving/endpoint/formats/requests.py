"""Bodies of JSON: which format they are in, and whether they keep to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag, TypeAdapter, ValidationError

from sam3edge.validation import first_complaint
from sam3edge_serving.endpoint.formats.azure import AzureRequest
from sam3edge_serving.endpoint.formats.geojson import PhraseRequest
from sam3edge_serving.endpoint.formats.roboflow import CONCEPT_PATH, VISUAL_PATH, RoboflowRequest, RoboflowVisualRequest
from sam3edge_serving.http.errors import BadRequest, TooLarge


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "input_data" if "input_data" in value else "prompts" if "prompts" in value else "text_prompt"
    return "text_prompt"


def _wrapped(value: Any) -> Any:
    """A bare table in pandas' ``split`` orientation, as MLflow's clients send it, is Azure's."""
    if isinstance(value, dict) and {"columns", "data"} <= value.keys() and "input_data" not in value:
        return {"input_data": value}
    return value


JsonRequest: TypeAlias = AzureRequest | RoboflowRequest | RoboflowVisualRequest | PhraseRequest

_REQUEST: TypeAdapter[AzureRequest | RoboflowRequest | PhraseRequest] = TypeAdapter(
    Annotated[
        Annotated[AzureRequest, Tag("input_data")]
        | Annotated[RoboflowRequest, Tag("prompts")]
        | Annotated[PhraseRequest, Tag("text_prompt")],
        Discriminator(_kind),
        BeforeValidator(_wrapped),
    ]
)
_BY_PATH: dict[str, TypeAdapter[Any]] = {
    CONCEPT_PATH: TypeAdapter(RoboflowRequest),
    VISUAL_PATH: TypeAdapter(RoboflowVisualRequest),
}
FORMAT_PATHS = tuple(_BY_PATH)
"""Paths that take one format of JSON, whatever the header Content-Type says."""

_LINE = TypeAdapter(PhraseRequest)
_T = TypeVar("_T")


def read_request(body: bytes, path: str = "") -> JsonRequest:
    """A request in JSON, of the format that belongs to its path, else of the one it shows; raises BadRequest."""
    if path in _BY_PATH:
        request: JsonRequest = _read(_BY_PATH[path], body, tagged=0)
        return request
    return _read(_REQUEST, body, tagged=1)


def read_line(line: bytes) -> PhraseRequest:
    """One line of JSON lines; raises BadRequest."""
    return _read(_LINE, line, tagged=0)


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


def _read(adapter: TypeAdapter[_T], body: bytes, tagged: int) -> _T:
    """``tagged`` parts of every location are the tag of the union, not part of the request."""
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        first = first_complaint(error)
        where = ".".join(map(str, first.location[tagged:]))
        raise BadRequest(f"{where or 'the body'}: {first.expected}", param=where or None) from error
