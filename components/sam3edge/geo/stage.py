"""The detection stage that says where on Earth things are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeferencing
from sam3edge.core.types import Detections, Frame
from sam3edge.geo.places import place_of


class Locate:
    """A ``DetectionStage``: gives every detection its place, and later stages the frame's georeference. Where a frame
    has none, all stays in pixels.

    Args:
        georeferencing: what knows where frames are.
        located: told of every frame: None, or why it has no place.
    """

    def __init__(self, georeferencing: Georeferencing, located: Callable[[GeoreferenceError | None], None]) -> None:
        self._georeferencing = georeferencing
        self._located = located

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``; adds the milliseconds that this takes as ``places``."""
        started = time.perf_counter()
        try:
            georeference = self._georeferencing.georeference_of(frame)
            placed = tuple(replace(d, place=place_of(d.geometry, d.box, georeference)) for d in detections.detections)
        except GeoreferenceError as error:
            self._located(error)
            return detections
        self._located(None)
        timing = {**detections.timing, "places": (time.perf_counter() - started) * 1000}
        return replace(detections, detections=placed, timing=timing, georeference=georeference)
