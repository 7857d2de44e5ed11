"""What an export may differ by, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sam3edge_export.parity.compare import Comparison


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Bounds of the gate.

    Attributes:
        iou: every mask must overlap the reference's with at least this intersection over union.
        score: scores of the same object may differ by this, and an object that only one side found is forgiven when its
            score exceeds the threshold by no more than this.
        box: sides of boxes may differ by this share of the frame's side.
        logits: query logits may differ by this; a bound only for checkpoints without learned weights, whose logits stay
            near zero.
        waived: why ``iou`` is lower than it should be; empty when it is not.
    """

    iou: float
    score: float
    box: float
    logits: float
    waived: str = ""


MASKS_AGREE = 0.995
"""IoU with the reference's mask below which an export does not find the same objects."""

TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(MASKS_AGREE, score=1e-3, box=1e-3, logits=1e-3),
    "fp16": Tolerance(MASKS_AGREE, score=0.02, box=0.01, logits=0.05),
    "bf16": Tolerance(MASKS_AGREE, score=0.05, box=0.02, logits=0.2),
    "int8": Tolerance(MASKS_AGREE, score=0.1, box=0.05, logits=0.5),
}
"""By what the graphs compute in. fp16 carries 11 bits of mantissa through 32 layers, bf16 8."""


SCORE_RULE = 1e-3
"""Scores may differ by this from what the rule makes of the same graph's logits: all are float32 in every precision."""


def tolerance_of(precision: str, weights: str, waive_iou: float | None) -> Tolerance:
    """The bounds for a bundle.

    Args:
        precision: what its graphs compute in.
        weights: what its weights are stored in; rounded weights move the answers as rounded sums do.
        waive_iou: a lower bound for the masks, stated by whoever releases the bundle.
    """
    tolerance = TOLERANCES["fp16" if precision == "fp32" and weights == "fp16" else precision]
    if waive_iou is None or waive_iou >= tolerance.iou:
        return tolerance
    return replace(tolerance, iou=waive_iou, waived=f"masks may go down to IoU {waive_iou:g} instead of {MASKS_AGREE}")


def by_instances(comparisons: Sequence[Comparison], tolerance: Tolerance) -> list[str]:
    """Everything that exceeds the bounds, in words; empty when the export finds the same objects."""
    failures = []
    if not any(c.pairs or c.missing for c in comparisons):
        failures.append(
            "the reference finds none of the prompts in these images, so nothing is proved: give images that show them"
        )
    for comparison in comparisons:
        name = comparison.frame.name
        failures += [f"{name}: a {i.prompt.text!r} scored {i.score:.3f} is not found" for i in comparison.missing]
        failures += [f"{name}: a {i.prompt.text!r} scored {i.score:.3f} must not be found" for i in comparison.extra]
        for pair in comparison.pairs:
            what = f"{name}: the {pair.reference.prompt.text!r} scored {pair.reference.score:.3f}"
            if pair.iou < tolerance.iou:
                failures.append(f"{what} overlaps its mask with IoU {pair.iou:.4f}, expected {tolerance.iou:g} or more")
            if pair.score > tolerance.score:
                failures.append(f"{what} differs by {pair.score:.4f} in score, expected {tolerance.score:g} or less")
            if pair.box > tolerance.box:
                failures.append(f"{what} differs by {pair.box:.4f} of the frame in its box, expected {tolerance.box:g}")
    return failures


def by_score_rule(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Whether the graph makes scores as its manifest says. SAM 3.1 is where this goes wrong: its joint scores hold
    presence already, and who multiplies them again squares it."""
    error = stages.get("decoder", {}).get("score_rule", 0.0)
    if error <= SCORE_RULE:
        return []
    return [
        f"the scores are up to {error:.2g} away from sigmoid(logit)*sigmoid(presence) of the graph's own logits, "
        f"expected {SCORE_RULE:g} or less: presence has to be multiplied in once"
    ]


def by_logits(
    stages: Mapping[str, Mapping[str, float]], comparisons: Sequence[Comparison], tolerance: Tolerance
) -> list[str]:
    """As ``by_instances``, for checkpoints without learned weights: query logits, and the sets that a threshold put
    between two scores admits. Masks of such a model are noise around zero; their logits are bounded, not their overlap.
    """
    failures = []
    for name in ("logits", "presence"):
        difference = stages["decoder"][name]
        if not difference <= tolerance.logits:
            failures.append(f"the {name} differ by {difference:.2g}, expected {tolerance.logits:g} or less")
    for c in comparisons:
        if c.missing or c.extra:
            failures.append(f"{c.frame.name}: {len(c.missing)} are not found and {len(c.extra)} must not be found")
        for pair in c.pairs:
            if not pair.logits <= 10 * tolerance.logits:  # sums over 256 channels of what the logits sum once
                failures.append(f"{c.frame.name}: mask logits differ by {pair.logits:.2g}")
    return failures
