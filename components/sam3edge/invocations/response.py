"""The endpoint's response, checked before it is believed, in pixels of the frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import shapely
import shapely.errors
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import EndpointError
from sam3edge.core.messages.features import STANDARD_PROPERTIES
from sam3edge.core.polygons import simplify
from sam3edge.core.types import Detection, Detections, Frame, JsonValue, ModelInfo, Prompt
from sam3edge.images.jpeg import Picture
from sam3edge.validation import first_complaint

SLACK = 1.0
"""Pixels of the uploaded image by which an outline may lie outside, for rounding."""

MAX_ADDED, MAX_ADDED_BYTES = 32, 4000
"""Properties that a feature may bring beside those of every feature; the smallest transport carries 7,000 bytes."""

Share: TypeAlias = Annotated[FiniteFloat, Field(ge=0, le=1)]
Name: TypeAlias = Annotated[str, Field(max_length=300)]
Point: TypeAlias = tuple[FiniteFloat, FiniteFloat]
Ring: TypeAlias = Annotated[list[Point], Field(min_length=4, max_length=200_000)]
Rings: TypeAlias = Annotated[list[Ring], Field(min_length=1, max_length=10_000)]


class _Checked(BaseModel):
    """Unknown members are left alone: an endpoint may be newer than the device."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Polygon(_Checked):
    type: Literal["Polygon"]
    coordinates: Rings


class _MultiPolygon(_Checked):
    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Rings], Field(min_length=1, max_length=10_000)]


class _Properties(_Checked):
    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    imageGeometry: Annotated[_Polygon | _MultiPolygon, Field(discriminator="type")]  # noqa: N815, as OSML writes it
    prompt: Name
    score: Share
    area: Annotated[FiniteFloat, Field(ge=0)]


class _Feature(_Checked):
    type: Literal["Feature"]
    properties: _Properties


class _Frame(_Checked):
    width: int
    height: int


class _Model(_Checked):
    name: Name
    version: Name
    digest: Name
    precision: Name
    provider: Name


class _Response(_Checked):
    type: Literal["FeatureCollection"]
    features: Annotated[list[_Feature], Field(max_length=20_000)]
    frame: _Frame
    model: _Model
    unsupported_prompts: dict[Name, Annotated[str, Field(max_length=2000)]]


def read_response(body: bytes, frame: Frame, picture: Picture, prompts: Sequence[Prompt]) -> Detections:
    """The detections of a response about ``picture``, in pixels of ``frame``.

    Raises:
        EndpointError: not JSON, not the detections message, about another image or other phrases, or with outlines
            that are not valid or lie outside the image.
    """
    try:
        response = _Response.model_validate_json(body)
    except ValidationError as error:
        raise EndpointError(f"the response is not a detections message: {first_complaint(error)}") from error
    if (response.frame.width, response.frame.height) != (picture.width, picture.height):
        raise EndpointError(
            f"expected a response about an image of {picture.width} x {picture.height} pixels, "
            f"got {response.frame.width} x {response.frame.height}"
        )
    texts = {prompt.text for prompt in prompts}
    strangers = sorted({*response.unsupported_prompts, *(f.properties.prompt for f in response.features)} - texts)
    if strangers:
        raise EndpointError(f"the response is about {strangers[0][:80]!r}, which was not asked for")
    unsupported = response.unsupported_prompts
    contradicted = [f.properties.prompt for f in response.features if f.properties.prompt in unsupported]
    if contradicted:
        raise EndpointError(f"the response calls {contradicted[0][:80]!r} unsupported, and has a detection of it")
    try:
        detections = tuple(d for f in response.features for d in _detections(f.properties, frame, picture, prompts))
    except (shapely.errors.ShapelyError, ValueError) as error:
        raise EndpointError(f"invalid outline: {error}") from error
    model = ModelInfo(**response.model.model_dump())
    return Detections(model, detections, {}, {text: reason[:200] for text, reason in unsupported.items()})


def _detections(
    properties: _Properties, frame: Frame, picture: Picture, prompts: Sequence[Prompt]
) -> Iterator[Detection]:
    """One for every prompt with that phrase which admits it."""
    scale = np.array([frame.width / picture.width, frame.height / picture.height])
    outline = _outline(properties.imageGeometry, picture)
    scaled = shapely.transform(outline, lambda at: np.clip(at * scale, 0, [frame.width, frame.height]))
    geometry = simplify(scaled, 0.0)
    if geometry.is_empty:
        return
    area = properties.area * float(scale.prod())
    x0, y0, x1, y1 = geometry.bounds
    for prompt in prompts:
        admitted = properties.score > prompt.threshold and area >= prompt.min_area
        if prompt.text == properties.prompt and admitted:
            yield Detection(prompt, properties.score, (x0, y0, x1, y1), area, geometry, _added(properties))


def _outline(geometry: _Polygon | _MultiPolygon, picture: Picture) -> Polygon | MultiPolygon:
    parts = [geometry.coordinates] if isinstance(geometry, _Polygon) else geometry.coordinates
    polygons = [Polygon(shell, holes) for shell, *holes in parts]
    outline = polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
    x0, y0, x1, y1 = outline.bounds
    if x0 < -SLACK or y0 < -SLACK or x1 > picture.width + SLACK or y1 > picture.height + SLACK:
        raise EndpointError(
            f"an outline from {x0:g}, {y0:g} to {x1:g}, {y1:g} is outside the image of "
            f"{picture.width} x {picture.height} pixels"
        )
    if not outline.is_valid:
        raise EndpointError(f"invalid outline: {shapely.is_valid_reason(outline)}")
    return outline


def _added(properties: _Properties) -> dict[str, JsonValue]:
    """What the endpoint's own stages have added to a feature; raises ValueError where it is too much to pass on."""
    extra = properties.model_extra or {}
    added = {name: value for name, value in extra.items() if name not in STANDARD_PROPERTIES}
    size = len(json.dumps(added, allow_nan=False))  # a message cannot hold NaN
    if len(added) > MAX_ADDED or size > MAX_ADDED_BYTES:
        raise ValueError(
            f"expected at most {MAX_ADDED} more properties of {MAX_ADDED_BYTES} bytes, got {len(added)} of {size}"
        )
    return added
