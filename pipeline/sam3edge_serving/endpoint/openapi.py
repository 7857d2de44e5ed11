"""The OpenAPI document. Its schemas are made of the very types that requests are read into and answers written from."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from sam3edge.core.messages.detections import DetectionsMessage
from sam3edge.invocations.attributes import HEADER
from sam3edge_serving.endpoint.formats.azure import AzureRequest, AzureResponse
from sam3edge_serving.endpoint.formats.coco import CocoResponse
from sam3edge_serving.endpoint.formats.geojson import PhraseRequest
from sam3edge_serving.endpoint.formats.roboflow import (
    CONCEPT_PATH,
    VISUAL_PATH,
    RoboflowRequest,
    RoboflowResponse,
    RoboflowVisualRequest,
    RoboflowVisualResponse,
)
from sam3edge_serving.endpoint.formats.segmentations import MEDIA_TYPE as SEGMENTATIONS
from sam3edge_serving.endpoint.formats.segmentations import PATH as SEGMENTATIONS_PATH
from sam3edge_serving.endpoint.formats.segmentations import SegmentationRequest, SegmentationResponse
from sam3edge_serving.endpoint.negotiation import COCO_RLE, GEOJSON, IMAGES, JSON, LINES
from sam3edge_serving.http.errors import (
    BadRequest,
    Busy,
    ErrorBody,
    GatewayTimeout,
    HttpError,
    ModelFailed,
    NotAcceptable,
    NotReady,
    RequestTimeout,
    TooLarge,
    Unanswerable,
    UnsupportedMedia,
)
from sam3edge_serving.http.multipart import MULTIPART

TITLE, VERSION = "sam3edge endpoint", "1.0"

_REQUESTS: tuple[Any, ...] = (PhraseRequest, RoboflowRequest, AzureRequest)
_ANSWERS: tuple[Any, ...] = (
    DetectionsMessage,
    RoboflowResponse,
    RoboflowVisualResponse,
    AzureResponse,
    CocoResponse,
    SegmentationResponse,
    ErrorBody,
)
_BY_PATH: dict[str, tuple[Any, Any, str]] = {
    CONCEPT_PATH: (RoboflowRequest, RoboflowResponse, "Prompts, as Roboflow's inference server takes them"),
    VISUAL_PATH: (RoboflowVisualRequest, RoboflowVisualResponse, "Points and boxes, as Roboflow's server takes them"),
    SEGMENTATIONS_PATH: (SegmentationRequest, SegmentationResponse, "Masks, in the shape of OpenAI's images"),
}
"""Paths that take one format: what is asked, what is answered, and what it is."""

_PING_ERRORS: tuple[type[HttpError], ...] = (NotReady,)
_ERRORS: tuple[type[HttpError], ...] = (
    BadRequest,
    NotAcceptable,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
    Unanswerable,
    Busy,
    ModelFailed,
    NotReady,
    GatewayTimeout,
)


def document(app: FastAPI) -> dict[str, Any]:
    """Describe an application whose routes are those of ``app.py``."""
    written = get_openapi(title=TITLE, version=VERSION, routes=app.routes, description=__package__ or "")
    written["info"]["description"] = "Promptable segmentation (SAM 3) over HTTP, as SageMaker serves containers."
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
        *((kind, "validation", TypeAdapter(kind)) for kind in (*_REQUESTS, RoboflowVisualRequest, SegmentationRequest)),
        *((_name(kind), "serialization", TypeAdapter(kind)) for kind in _ANSWERS),
    ]
    schemas, shared = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    written["components"] = {"schemas": shared["$defs"]}
    requests = [schemas[kind, "validation"] for kind in _REQUESTS]
    answers = {_name(kind): schemas[_name(kind), "serialization"] for kind in _ANSWERS}
    failed = {"content": {JSON: {"schema": answers[_name(ErrorBody)]}}}
    written["paths"] = {
        "/ping": {
            "get": {
                "summary": "Whether the model is verified and warm",
                "responses": {"200": {"description": "ready"}, **_refusals(failed, _PING_ERRORS)},
            }
        },
        "/metrics": {
            "get": {
                "summary": "Metrics for Prometheus",
                "responses": {
                    "200": {"description": "metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
                },
            }
        },
        "/invocations": {
            "post": {
                "summary": "Find what is named or pointed at in images",
                "parameters": [_ATTRIBUTES],
                "requestBody": {"required": True, "content": _bodies(requests)},
                "responses": {
                    "200": {"description": "what was found", "content": _found(answers)},
                    **_refusals(failed, _ERRORS),
                },
            }
        },
        **{
            path: {
                "post": {
                    "summary": summary,
                    "requestBody": {
                        "required": True,
                        "content": {JSON: {"schema": schemas[asked, "validation"]}, **_FORMS.get(path, {})},
                    },
                    "responses": {
                        "200": {
                            "description": "what was found",
                            "content": {JSON: {"schema": answers[_name(answered)]}},
                        },
                        **_refusals(failed, _ERRORS),
                    },
                }
            }
            for path, (asked, answered, summary) in _BY_PATH.items()
        },
    }
    return written


_FORMS: dict[str, Any] = {
    SEGMENTATIONS_PATH: {
        MULTIPART: {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "string", "format": "binary"},
                    "prompt": {"type": "string"},
                    "threshold": {"type": "number", "minimum": 0, "maximum": 1},
                    "n": {"type": "integer", "minimum": 1},
                },
                "required": ["image", "prompt"],
            }
        }
    }
}
"""Paths that take a form, too."""

_ATTRIBUTES = {
    "name": HEADER,
    "in": "header",
    "description": "pairs such as text_prompt=car|ship,threshold=0.4,image_id=x with URL-encoded values; commas or "
    "semicolons between them",
    "schema": {"type": "string", "maxLength": 1024},
    "example": "text_prompt=car|ship,threshold=0.4",
}


def _bodies(requests: list[Any]) -> dict[str, Any]:
    image = {"schema": {"type": "string", "format": "binary"}}
    lines = {"schema": {"type": "string", "description": "one request by phrase a line"}}
    return {
        **dict.fromkeys(IMAGES, image),
        JSON: {"schema": {"anyOf": requests}},
        **dict.fromkeys(LINES, lines),
    }


def _found(answers: dict[str, Any]) -> dict[str, Any]:
    own = [answers[_name(kind)] for kind in (DetectionsMessage, RoboflowResponse, AzureResponse)]
    return {
        GEOJSON: {"schema": answers[_name(DetectionsMessage)]},
        JSON: {"schema": {"anyOf": own}},
        COCO_RLE: {"schema": answers[_name(CocoResponse)]},
        SEGMENTATIONS: {"schema": answers[_name(SegmentationResponse)]},
        **{kind: {"schema": {"type": "string"}} for kind in LINES},
    }


def _refusals(failed: dict[str, Any], kinds: tuple[type[HttpError], ...]) -> dict[str, Any]:
    return {str(kind.status): {"description": (kind.__doc__ or "").strip(), **failed} for kind in kinds}


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
