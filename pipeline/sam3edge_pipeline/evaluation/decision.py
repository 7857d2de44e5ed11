"""Whether a candidate may replace the model before: better where it was to learn, no worse where it was not.

Both are judged by the same images, the test split that nothing was chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sam3edge.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Margins:
    """What a candidate must keep to.

    Attributes:
        gain: mask F1 at IoU 0.5 of the phrases that were to be learned must rise by this, on average.
        fall: that of no retained phrase may fall by more than this.
        false_alarms: share of images without a phrase in which it may be found, over all phrases.
        objects: a retained phrase with fewer objects in the test split says nothing by itself, and counts only in the
            mean over all retained phrases, which may not fall by more than ``fall`` either.
    """

    gain: float = 0.05
    fall: float = 0.05
    false_alarms: float = 0.05
    objects: int = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, in numbers that a pipeline's condition can compare.

    Attributes:
        gain: mean change of F1 over the phrases that were to be learned.
        fall: largest fall of F1 of a retained phrase, or of their mean; 0 when none has fallen.
        false_alarms: share, over all phrases.
        reasons: why it was turned down; empty when it was not.
    """

    gain: float
    fall: float
    false_alarms: float
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may be exported and registered."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """For the pipeline's property file."""
        return {**asdict(self), "reasons": list(self.reasons), "passed": self.passed}


def decide(candidate: Mapping[str, Any], baseline: Mapping[str, Any], new: Sequence[str], margins: Margins) -> Decision:
    """Compare two reports (``report.json``).

    Raises:
        SettingsError: the reports are of different images, or do not know a phrase that was to be learned.
    """
    if candidate["dataset"]["digest"] != baseline["dataset"]["digest"]:
        raise SettingsError(
            "expected two reports on the same dataset; got "
            f"{candidate['dataset']['digest']} and {baseline['dataset']['digest']}"
        )
    now, before = candidate["phrases"], baseline["phrases"]
    missing = [phrase for phrase in new if now.get(phrase, {}).get("mask_f1_50") is None]
    if missing:
        raise SettingsError(f"the test split shows no object of {', '.join(missing)}: nobody can say it was learned")
    gain = _mean([now[phrase]["mask_f1_50"] - _known(before, phrase) for phrase in new])
    falls = {
        phrase: _known(before, phrase) - _known(now, phrase)
        for phrase in before
        if phrase not in new and before[phrase]["mask_f1_50"] is not None
    }
    heavy = {phrase: fall for phrase, fall in falls.items() if before[phrase]["objects"] >= margins.objects}
    mean = _mean(list(falls.values()))
    worst = max(heavy, key=lambda phrase: heavy[phrase], default=None)
    fall = max(0.0, mean, heavy[worst] if worst is not None else 0.0)
    alarms = float(candidate["figures"]["false_alarms"]["value"] or 0.0)
    reasons = []
    if not gain >= margins.gain:
        reasons.append(f"F1 of {', '.join(new)} rose by {gain:.3f}, expected {margins.gain:g} or more")
    if not fall <= margins.fall:
        what = worst if worst is not None and heavy[worst] >= mean else "the retained phrases on average"
        reasons.append(f"F1 of {what} fell by {fall:.3f}, expected {margins.fall:g} or less")
    if not alarms <= margins.false_alarms:
        reasons.append(f"{alarms:.1%} of absent phrases are found, expected {margins.false_alarms:.1%} or less")
    return Decision(round(gain, 6), round(fall, 6), round(alarms, 6), tuple(reasons))


def _known(phrases: Mapping[str, Any], phrase: str) -> float:
    return float(phrases.get(phrase, {}).get("mask_f1_50") or 0.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
