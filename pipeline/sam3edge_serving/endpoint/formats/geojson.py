"""The device's own detections, whole: a GeoJSON FeatureCollection with OSML's properties. And requests by phrase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import Polygon

from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.polygons import to_detections
from sam3edge.core.types import Detection
from sam3edge_serving.endpoint.formats.queries import (
    DetectionQuery,
    DetectionResult,
    ImageText,
    ImageValue,
    Share,
    image_of,
    prompts_of,
)
from sam3edge_serving.http.errors import TooLarge

MEDIA_TYPE = "application/geo+json"
COARSEST = 4.0
"""Pixels by which an outline may be simplified before the answer counts as too large, as on the device."""

MAX_RESPONSE_BYTES = 25 * 2**20
"""Bytes of an answer: what SageMaker passes on."""


class PhraseRequest(BaseModel):
    """An image and phrases. Also one line of a batch transform."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    image: ImageText | ImageValue
    text_prompt: str | list[str] | None = Field(None, description="one phrase or several; else the endpoint's own")
    threshold: Share | None = None
    image_id: str = Field("", max_length=256)

    def query(self, phrases: tuple[str, ...], threshold: float, most: int) -> DetectionQuery:
        """With defaults for phrases and threshold where the request names none; raises BadRequest, TooLarge."""
        own = (self.text_prompt,) if isinstance(self.text_prompt, str) else tuple(self.text_prompt or ())
        at = threshold if self.threshold is None else self.threshold
        return DetectionQuery(image_of(self.image), prompts_of(own or phrases, at, most), self.image_id)


@dataclass(frozen=True, slots=True)
class GeoJsonOptions:
    """How answers are written.

    Attributes:
        endpoint: where a device writes its own name.
        model_name: ``modelName`` of every feature, as OversightML's readers expect it.
        ontology_version: ``ontologyVersion`` of every feature; empty for the bundle's version.
        polygons_only: whether an object in several parts becomes a feature for each, for readers that know no
            MultiPolygon. Such features have the property ``object``, equal for all parts of one.
    """

    endpoint: str
    model_name: str
    ontology_version: str
    polygons_only: bool = False


def write(found: DetectionResult, options: GeoJsonOptions) -> bytes:
    """The answer as the device publishes it, undivided.

    Raises:
        TooLarge: it is larger than can be passed on.
    """
    detections = to_detections(found.output, found.frame, found.model)
    if options.polygons_only:
        detections = replace(detections, detections=tuple(_single_polygons(detections.detections)))
    result = replace(
        frame_result(options.endpoint, found.frame, found.prompts, detections),
        origin=None,
        model_name=options.model_name,
        ontology_version=options.ontology_version,
    )
    parts = encode(result, "", MAX_RESPONSE_BYTES, COARSEST)
    if len(parts) > 1:
        raise TooLarge(f"the answer takes more than {MAX_RESPONSE_BYTES} bytes; ask for fewer prompts")
    return parts[0].payload


def _single_polygons(detections: Iterable[Detection]) -> Iterator[Detection]:
    for number, whole in enumerate(detections):
        if isinstance(whole.geometry, Polygon):
            yield whole
            continue
        for part in whole.geometry.geoms:
            share = part.area / whole.geometry.area
            yield replace(
                whole,
                geometry=part,
                box=part.bounds,
                area=whole.area * share,
                properties={**whole.properties, "object": number},
            )
