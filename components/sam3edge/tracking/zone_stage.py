"""The detection stage of zones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sam3edge.core.types import Detection, Detections, Frame
from sam3edge.tracking.places import Places, PlacesInFrame


class ApplyZones:
    """A ``DetectionStage``: drops what is in an excluded zone or outside all included ones, and says of the rest in
    which zones it is, by their names: the property ``zones``, where there is a zone for its prompt. In a frame of which
    nobody knows where on Earth it is, zones on Earth name nobody and drop nothing.

    Args:
        places: what there is at present; asked for every frame.
    """

    def __init__(self, places: Callable[[], Places]) -> None:
        self._places = places

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``."""
        places = self._places()
        if not places.zones:
            return detections
        here = places.within(frame, detections.georeference)
        return replace(detections, detections=tuple(_kept(detections.detections, here)))


def _kept(detections: tuple[Detection, ...], places: PlacesInFrame) -> Iterator[Detection]:
    for detection in detections:
        prompt = detection.prompt.text
        meant = [zone for zone, _ in places.zones if zone.is_for(prompt)]
        if not meant:
            yield detection
            continue
        inside = places.zones_of(detection)
        kinds = {zone.kind for zone in inside}
        confined = any(zone.kind == "include" for zone in meant)
        if "exclude" not in kinds and ("include" in kinds or not confined):
            yield replace(detection, properties={**detection.properties, "zones": [zone.name for zone in inside]})
