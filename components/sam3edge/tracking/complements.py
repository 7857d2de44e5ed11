"""Labels that follow from two prompts on the same object: a "person" on whom there is no "helmet"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import shapely

from sam3edge.core.types import Detection, Detections, Frame, Prompt


@dataclass(frozen=True, slots=True)
class DerivedLabel:
    """How an object is called that has, or has not, another one on it.

    Attributes:
        label: its new label; the prompt that found it stays in the message beside it.
        prompt: text of the prompt that finds it (``person``).
        other: text of the prompt that finds what is on it (``helmet``).
        when: whether the label is for those with it or those without.
        overlap: share of the other's area that must lie in the box of the object it is on, 0..1.
    """

    label: str
    prompt: str
    other: str
    when: Literal["with", "without"]
    overlap: float = 0.5


class DeriveLabels:
    """A ``DetectionStage``: gives objects the label of the first rule that fits them.

    A rule applies only in frames that were looked at for both of its prompts: where nobody has looked for helmets,
    nobody is without one.

    Args:
        rules: those in force at present; asked for every frame.
        prompts: what is asked for at present.
    """

    def __init__(self, rules: Callable[[], Sequence[DerivedLabel]], prompts: Callable[[], Sequence[Prompt]]) -> None:
        self._rules = rules
        self._prompts = prompts

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``."""
        asked = {prompt.text for prompt in self._prompts()} - detections.unsupported_prompts.keys()
        found = detections.detections
        labels: dict[int, str] = {}
        for rule in self._rules():
            if {rule.prompt, rule.other} <= asked:
                for number in _fitting(rule, found):
                    labels.setdefault(number, rule.label)
        if not labels:
            return detections
        renamed = (
            replace(d, prompt=replace(d.prompt, label=labels[number])) if number in labels else d
            for number, d in enumerate(found)
        )
        return replace(detections, detections=tuple(renamed))


def _fitting(rule: DerivedLabel, found: Sequence[Detection]) -> Iterator[int]:
    """Numbers of the detections that a rule renames."""
    objects = [number for number, d in enumerate(found) if d.prompt.text == rule.prompt]
    others = [d for d in found if d.prompt.text == rule.other]
    owners = {owner for other in others if (owner := _owner(other, objects, found, rule.overlap)) is not None}
    for number in objects:
        if (number in owners) == (rule.when == "with"):
            yield number


def _owner(other: Detection, objects: Sequence[int], found: Sequence[Detection], overlap: float) -> int | None:
    """On which object the other is. A helmet may be left out of its wearer's outline, so the box decides whether it is
    on somebody; of several, it is on the one whose outline and box hold most of it."""
    area = other.geometry.area
    best: tuple[float, int] | None = None
    for number in objects:
        boxed = other.geometry.intersection(shapely.box(*found[number].box)).area / area
        if boxed >= overlap:
            held = boxed + other.geometry.intersection(found[number].geometry).area / area
            if best is None or held > best[0]:
                best = held, number
    return None if best is None else best[1]
