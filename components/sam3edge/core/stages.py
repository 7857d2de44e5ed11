"""What happens to detections between the engine and the message: tracking, zones, georeference, drift.

A stage adds what it knows to ``Detection.properties``, drops detections, or leaves them as they are. The flow applies
its stages in order; what they add is written into the features of the message. What a stage has to say in messages of
its own, as events, it adds to ``Detections.messages``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sam3edge.core.types import Detections, Frame


class DetectionStage(Protocol):
    """One step after the detector. Used by the flow's thread, frame by frame in the order of capture."""

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """The detections that continue to the next stage, or into the message.

        Raises:
            FrameError: this frame cannot be used; it is rejected and reported.
        """


def apply_stages(stages: Sequence[DetectionStage], frame: Frame, detections: Detections) -> Detections:
    """One stage after the other."""
    for stage in stages:
        detections = stage(frame, detections)
    return detections
