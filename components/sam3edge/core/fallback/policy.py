"""When to ask a model in the cloud, and which detections to publish when both have some.

    before the device looks    unavailable, degraded, slow       the cloud is asked instead
    after it has looked        unsupported, uncertain            the cloud is asked, too

Nothing here waits, reads a clock or does input and output: ``core/fallback/detector.py`` does what is decided here.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from sam3edge.core.errors import SettingsError
from sam3edge.core.matching import outline_iou, pair_best_first
from sam3edge.core.types import Detection, Detections, ModelInfo, Prompt, Reason

CPU = "CPUExecutionProvider"
"""ONNX Runtime's name of what every device has."""

SAME_OBJECT = 0.5
"""Outlines with at least this intersection over union are taken to be of the same object."""


@dataclass(frozen=True, slots=True)
class FallbackOptions:
    """What counts as a reason to ask the cloud.

    Attributes:
        reasons: those that are considered at all.
        max_seconds: the device is slow when its last frame took longer than this; 0 for never.
        recheck_seconds: after which a slow device is tried again.
        max_backlog: the device is slow when more frames than this wait; 0 for never.
        uncertain_scores: a score from the first to the second, both included, is uncertain; 0..1.
        presence: the model contradicts itself when the probability that something is in the frame is at least this and
            nothing was admitted, or at most one minus this and something was; 0.5..1, and 1 for never.
    """

    reasons: frozenset[Reason]
    max_seconds: float = 0.0
    recheck_seconds: float = 60.0
    max_backlog: int = 0
    uncertain_scores: tuple[float, float] = (0.4, 0.6)
    presence: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.uncertain_scores[0] <= self.uncertain_scores[1] <= 1:
            raise SettingsError(f"expected two scores from 0 to 1, the lower first, got {self.uncertain_scores}")
        if not 0.5 < self.presence <= 1:
            raise SettingsError(f"expected a presence of more than 0.5 and at most 1, got {self.presence}")


@dataclass(frozen=True, slots=True)
class Escalation:
    """A reason to ask the cloud about a frame.

    Attributes:
        detail: why, for people.
    """

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the device is.

    Attributes:
        seconds: that its last frame took; 0 before the first.
        age: seconds since then.
        backlog: frames that wait.
    """

    seconds: float = 0.0
    age: float = 0.0
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """Finds the reason, if there is one, to ask the cloud about a frame.

    Attributes:
        accelerator: whether the device is meant to have one.
    """

    options: FallbackOptions
    accelerator: bool = False

    def unavailable(self, problem: str) -> Escalation | None:
        """For a device without a model, or with one that fails."""
        return self._escalate("unavailable", problem)

    def instead(self, model: ModelInfo, load: Load) -> Escalation | None:
        """Before the device looks: whether the cloud had better do it."""
        options = self.options
        if self.accelerator and model.provider == CPU:
            escalation = self._escalate("degraded", f"an accelerator was expected, got {model.provider}")
            if escalation is not None:
                return escalation
        if 0 < options.max_backlog < load.backlog:
            return self._escalate("slow", f"{load.backlog} frames are waiting, expected at most {options.max_backlog}")
        if 0 < options.max_seconds < load.seconds and load.age < options.recheck_seconds:
            return self._escalate(
                "slow", f"the last frame took {load.seconds:.1f} s, expected at most {options.max_seconds:g} s"
            )
        return None

    def beside(self, found: Detections, unsupported: Set[str] = frozenset()) -> Escalation | None:
        """After the device has looked: whether the cloud should look, too.

        Args:
            unsupported: phrases that the cloud does not know either.
        """
        unknown = [text for text in found.unsupported_prompts if text not in unsupported]
        if unknown:
            escalation = self._escalate("unsupported", f"this model does not know {', '.join(unknown)}")
            if escalation is not None:
                return escalation
        doubt = self.doubt(found)
        return self._escalate("uncertain", doubt) if doubt else None

    def doubt(self, found: Detections) -> str:
        """What is uncertain about the detections of a frame; empty when nothing is."""
        low, high = self.options.uncertain_scores
        for detection in found.detections:
            if low <= detection.score <= high:
                return f"{detection.prompt.name} scored {detection.score:.2f}"
        for prompt, confidence in found.confidence.items():
            if low <= confidence.missed <= high:
                return f"{prompt.name} scored {confidence.missed:.2f} and was not admitted"
            admitted = confidence.best > prompt.threshold
            if self._contradicts(confidence.presence, admitted):
                what = "was found" if admitted else "was not found"
                return f"{prompt.name} {what}, though its presence is {confidence.presence:.2f}"
        return ""

    def better(self, device: Detections, cloud: Detections) -> Detections:
        """Which of two sets of detections of one frame is published.

        The cloud's, because it was asked only where the device's own left something open and the model there is not cut
        down for a device; unless it supports fewer of the prompts or is in doubt itself. Then nothing was gained,
        and the device's are better: it saw every pixel of the frame, the cloud a smaller image.
        """
        if len(cloud.unsupported_prompts) != len(device.unsupported_prompts):
            return min(cloud, device, key=lambda detections: len(detections.unsupported_prompts))
        return device if self.doubt(cloud) else cloud

    def _contradicts(self, presence: float, admitted: bool) -> bool:
        bound = self.options.presence
        return bound < 1 and (1 - presence if admitted else presence) >= bound

    def _escalate(self, reason: Reason, detail: str) -> Escalation | None:
        return Escalation(reason, detail) if reason in self.options.reasons else None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How many objects only one of the two has."""

    device: int
    cloud: int

    def __bool__(self) -> bool:
        return bool(self.device or self.cloud)


def compare(device: Detections, cloud: Detections) -> Disagreement:
    """Pair the objects of two sets of detections of one frame: per prompt, those whose outlines overlap best first.

    Prompts that one of the two does not support are left out.
    """
    silent = {*device.unsupported_prompts, *cloud.unsupported_prompts}
    only_device = only_cloud = 0
    for prompt in {d.prompt: None for d in (*device.detections, *cloud.detections) if d.prompt.text not in silent}:
        ours, theirs = _of(device, prompt), _of(cloud, prompt)
        overlaps = outline_iou([d.geometry for d in ours], [d.geometry for d in theirs])
        paired = len(pair_best_first(overlaps, SAME_OBJECT))
        only_device += len(ours) - paired
        only_cloud += len(theirs) - paired
    return Disagreement(only_device, only_cloud)


def _of(detections: Detections, prompt: Prompt) -> list[Detection]:
    return [d for d in detections.detections if d.prompt == prompt]
