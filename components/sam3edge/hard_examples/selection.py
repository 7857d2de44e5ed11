"""Which frames are worth a label: random, surprising, or uncertain ones. About those on which device and cloud
disagree, ``core/fallback/detector.py`` decides.

Nothing here reads a clock or does input and output, and the same frames in the same order give the same choices. The
random ones are drawn by their id, so a frame that is looked at again after a restart is chosen again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.hard_examples.usual import UsualCounts

Kind: TypeAlias = Literal["uncertain", "surprising", "disagreement", "random"]

LEAST_COUNT, LEAST_PRESENCE = 0.5, 0.1
"""The smallest standard deviations that are believed, of counts and of presence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Why a frame is kept.

    Attributes:
        detail: the same for people.
    """

    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """What is worth a label.

    Attributes:
        kinds: those that are considered at all; ``disagreement`` is not decided here.
        band: a score that is at most this far from its prompt's threshold is uncertain, 0..1.
        deviations: standard deviations from the running mean at which a count or presence is surprising.
        warm_up: frames of a source and prompt before anything is surprising.
        random_share: of all frames, 0..1.
    """

    kinds: frozenset[Kind] = frozenset({"uncertain", "surprising", "disagreement", "random"})
    band: float = 0.1
    deviations: float = 4.0
    warm_up: int = 200
    random_share: float = 0.001

    def __post_init__(self) -> None:
        if not (0 <= self.band <= 1 and 0 <= self.random_share <= 1 and self.deviations > 0):
            raise SettingsError(
                "expected a band and a share from 0 to 1 and a positive number of deviations, "
                f"got {self.band}, {self.random_share} and {self.deviations}"
            )


class Selector:
    """Chooses frames; used by one thread, frame by frame.

    The order matters: a random frame is random whatever else it is, or the random ones would not be a sample of what
    the camera sees.
    """

    def __init__(self, options: SelectionOptions) -> None:
        self._options = options
        self._usual = UsualCounts()

    def choose(self, frame: Frame, prompts: Sequence[Prompt], found: Detections) -> Choice | None:
        """Why this frame is kept, if it is.

        Args:
            prompts: all that were asked for.
            found: by this device's model; what the cloud found is neither usual nor unusual for it.
        """
        if found.origin.by == "cloud":
            return None
        surprise = self._surprise(frame, prompts, found)  # always: what is usual is learned from every frame
        share = self._options.random_share
        if "random" in self._options.kinds and drawn(frame.id) < share:
            return Choice("random", f"one frame in {1 / share:.0f} is kept")
        if surprise and "surprising" in self._options.kinds:
            return Choice("surprising", surprise)
        doubt = next(self._doubts(prompts, found), "")
        if doubt and "uncertain" in self._options.kinds:
            return Choice("uncertain", doubt)
        return None

    def _doubts(self, prompts: Sequence[Prompt], found: Detections) -> Iterator[str]:
        """Scores near their threshold: the admitted ones, and the best that was not admitted."""
        band = self._options.band
        for detection in found.detections:
            prompt = detection.prompt
            if abs(detection.score - prompt.threshold) <= band:
                yield f"{prompt.name} scored {detection.score:.2f}, its threshold is {prompt.threshold:.2f}"
        for prompt in prompts:
            confidence = found.confidence.get(prompt)
            if confidence is not None and abs(confidence.missed - prompt.threshold) <= band:
                yield f"{prompt.name} scored {confidence.missed:.2f} and missed its threshold of {prompt.threshold:.2f}"

    def _surprise(self, frame: Frame, prompts: Sequence[Prompt], found: Detections) -> str:
        surprises = []
        for prompt in prompts:
            if prompt.text in found.unsupported_prompts:
                continue
            count = sum(1 for detection in found.detections if detection.prompt == prompt)
            values = [("count", float(count), LEAST_COUNT)]
            confidence = found.confidence.get(prompt)
            if confidence is not None:
                values.append(("presence", confidence.presence, LEAST_PRESENCE))
            for name, value, least in values:
                before = self._usual.see((frame.source, prompt.text, name), value)
                far = before.frames >= self._options.warm_up and before.deviations(value, least)
                if far >= self._options.deviations:
                    surprises.append(f"{prompt.name} has a {name} of {value:.3g}, usual is {before.mean:.3g}")
        return surprises[0] if surprises else ""


def drawn(frame_id: str) -> float:
    """A number in 0..1 that is as good as random, always the same for a frame."""
    return int.from_bytes(hashlib.sha256(b"sample" + frame_id.encode()).digest()[:8], "big") / 2**64


def asked_for(prompts: Sequence[Prompt], found: Detections) -> tuple[Prompt, ...]:
    """What a frame was asked about: the present prompts, unless what was found shows that they have changed since."""
    known = (*found.confidence, *(detection.prompt for detection in found.detections))
    return tuple(prompts) if set(known) <= set(prompts) else tuple(dict.fromkeys(known))
