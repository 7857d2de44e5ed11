"""The detection stage that has frames kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.hard_examples.example import Candidate
from sam3edge.hard_examples.folder import HardExamples
from sam3edge.hard_examples.selection import Selector, asked_for


class KeepHardExamples:
    """A ``DetectionStage`` that changes nothing: it offers the frames that a selector chooses.

    Args:
        prompts: what is asked for at present.
    """

    def __init__(self, selector: Selector, examples: HardExamples, prompts: Callable[[], Sequence[Prompt]]) -> None:
        self._selector = selector
        self._examples = examples
        self._prompts = prompts

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``."""
        prompts = asked_for(self._prompts(), detections)
        choice = self._selector.choose(frame, prompts, detections)
        if choice is not None:
            self._examples.keep(Candidate(frame, prompts, choice, detections))
        return detections
