"""One found object in a detections message: a GeoJSON feature with OversightML's properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.messages.geometries import (
    PixelGeometry,
    PlaceBounds,
    WorldGeometry,
    bbox_of,
    coarser,
    pixel_geometry,
    world_geometry,
)
from sam3edge.core.polygons import simplify
from sam3edge.core.types import Detection, Place

Position: TypeAlias = tuple[float, float]
"""Longitude and latitude, degrees of WGS 84."""


class FeatureClass(TypedDict):
    """OSML: what the feature is, and how sure the model is of it."""

    iri: str
    score: float


class ModelMetadata(TypedDict):
    """OSML: which model and which ontology (here: the phrase asked for)."""

    modelName: str
    ontologyName: str
    ontologyVersion: str


class Properties(TypedDict):
    """Properties of one found object; stages may add others (``core/stages.py``).

    With a place: square metres and centroid on the ellipsoid, ``position`` where it stands, metres within which that is
    right in 95 of 100 cases, and the share of its pixels that have no place, if any.
    """

    imageGeometry: PixelGeometry
    imageBBox: list[float]
    featureClasses: list[FeatureClass]
    modelMetadata: ModelMetadata
    image_id: str
    label: str
    prompt: str
    score: float
    area: float
    geometry_quality: Literal["exact", "coarse", "hull"]
    area_m2: NotRequired[float]
    centroid: NotRequired[Position]
    position: NotRequired[Position]
    accuracy_m: NotRequired[float]
    outside: NotRequired[float]
    properties_omitted: NotRequired[int]


STANDARD_PROPERTIES = frozenset(Properties.__annotations__) - {"properties_omitted"}
"""Names that properties added by stages may not have."""


class Feature(TypedDict):
    """One found object; ``geometry`` is null where its place on Earth is not known. ``bbox`` is west, south, east,
    north, and west is greater than east across the antimeridian."""

    type: Literal["Feature"]
    id: str
    geometry: WorldGeometry | None
    bbox: NotRequired[PlaceBounds]
    properties: Properties


@dataclass(frozen=True, slots=True)
class Shape:
    """A feature's outline in pixels and its area on Earth, if that is known, as they are written."""

    outline: Polygon | MultiPolygon
    area: Polygon | MultiPolygon | None
    quality: Literal["exact", "coarse", "hull"]


def exact(detection: Detection) -> Shape:
    """As it was outlined."""
    place = detection.place
    return Shape(detection.geometry, None if place is None else place.geometry, "exact")


def coarse(detection: Detection, tolerance: float) -> Shape:
    """Moved by at most this many pixels to save vertices."""
    place = detection.place
    area = None if place is None else coarser(place, tolerance)
    return Shape(simplify(detection.geometry, tolerance), area, "coarse")


def feature(identity: str, detection: Detection, shape: Shape, image_id: str, model: ModelMetadata) -> Feature:
    """One found object as it is written.

    Args:
        identity: the feature's id.
        image_id: what a person calls the image.
        model: which one found it.

    Raises:
        ValueError: a stage's property has the name of a standard one.
    """
    prompt, score = detection.prompt, round(detection.score, 4)
    place = detection.place
    bounds: dict[str, Any] = {} if place is None else {"bbox": [round(v, 7) for v in bbox_of(place.geometry)]}
    return {
        "type": "Feature",
        "id": identity,
        "geometry": None if shape.area is None else world_geometry(shape.area),
        **bounds,  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "properties": {
            "imageGeometry": pixel_geometry(shape.outline),
            "imageBBox": [round(v, 1) for v in shape.outline.bounds],
            "featureClasses": [{"iri": prompt.name, "score": score}],
            "modelMetadata": model,
            "image_id": image_id,
            "label": prompt.name,
            "prompt": prompt.text,
            "score": score,
            "area": round(detection.area, 1),
            "geometry_quality": shape.quality,
            **_located(place),
            **_added(detection),
        },
    }


def _located(place: Place | None) -> Any:
    """What is said of a place beside its geometry."""
    if place is None:
        return {}
    located = {
        "area_m2": round(place.area, 2),
        "centroid": [round(v, 7) for v in place.centroid],
        "position": [round(v, 7) for v in place.position],
        "accuracy_m": round(place.accuracy, 2),
    }
    return {**located, "outside": round(place.outside, 4)} if place.outside >= 5e-5 else located


def _added(detection: Detection) -> Any:
    """What stages have added; raises ValueError where it would replace a member of every feature."""
    taken = sorted(STANDARD_PROPERTIES & detection.properties.keys())
    if taken:
        raise ValueError(f"a stage's property must have a name of its own, got {', '.join(taken)}; rename it")
    return detection.properties
