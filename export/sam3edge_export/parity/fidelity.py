"""How true to single precision a faster way to compute is: no farther than what Meta serves.

Meta runs SAM 3 under ``torch.autocast`` in bf16. That is the bar: whoever exports a bundle in half precision, or serves
a checkpoint in bf16, may be no farther from float32 than this, on the same checkpoint and images. Where Meta's package
is installed its distance is measured; elsewhere what was measured once, on a checkpoint with random weights, stands in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam3edge_export.parity.compare import Comparison
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, VisionGraph


@dataclass(frozen=True, slots=True)
class Distance:
    """From answers in float32 to others on the same checkpoint, images and prompts.

    Attributes:
        scores, boxes: largest absolute difference; of boxes as a share of the frame's side.
        mean_iou, worst_iou: intersection over union of the masks, 0..1.
        logits: largest absolute difference of the query logits; None where they were not seen, as in answers of Meta's
            package.
    """

    scores: float
    boxes: float
    mean_iou: float
    worst_iou: float
    logits: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """What may not be exceeded.

    Attributes:
        of: whose distance it is.
        distance: None of a member bounds nothing.
        binding: whether exceeding it fails the gate. A distance from another checkpoint binds only where it is
            comparable: differences of logits grow with the logits, and learned ones are larger than random ones.
    """

    of: str
    distance: Distance
    binding: bool

    def exceeded_by(self, found: Distance) -> list[str]:
        """Everything in which ``found`` is farther away, in words."""
        most, why = self.distance, f"that of {self.of}"
        failures = [
            f"the {name} are up to {value:.3g} away from float32's, expected {bound:.3g} or less, {why}"
            for name, value, bound in (
                ("logits", found.logits, most.logits),
                ("scores", found.scores, most.scores),
                ("boxes", found.boxes, most.boxes),
            )
            if value is not None and bound is not None and not value <= bound
        ]
        failures += [
            f"the {name} IoU of the masks with float32's is {value:.4f}, expected {bound:.4f} or more, {why}"
            for name, value, bound in (
                ("mean", found.mean_iou, most.mean_iou),
                ("worst", found.worst_iou, most.worst_iou),
            )
            if not value >= bound
        ]
        return failures

    def summary(self, found: Distance) -> dict[str, Any]:
        """For the manifest and the report."""
        return {
            **_rounded(found),
            "bar": _rounded(self.distance),
            "bar_of": self.of,
            "binding": self.binding,
            "within": not self.exceeded_by(found),
        }


PUBLISHED = Distance(scores=0.0021, boxes=float("inf"), mean_iou=0.966, worst_iou=0.911, logits=0.0172)
"""Of Meta's package under bf16 autocast from itself in float32: H200, torch 2.11, full size, random weights, 4 phrases,
all 200 queries, one image of 1008 x 1008 pixels (2026-11-26). The boxes were not measured."""


def published_bar(*, untrained: bool) -> Bar:
    """What stands in where Meta's package is not installed."""
    return Bar("Meta's bf16 on a checkpoint with random weights", PUBLISHED, binding=untrained)


HALF = ("fp16", "bf16")
"""Precisions that the bar is for: float32 has a narrower tolerance, and who takes int8 has chosen another."""


def distance_of(comparisons: Sequence[Comparison], stages: Mapping[str, Mapping[str, float]]) -> Distance:
    """Of what a gate has compared: the admitted instances, and the logits of all queries where both sides show them."""
    pairs = [pair for comparison in comparisons for pair in comparison.pairs]
    ious = [pair.iou for pair in pairs]
    return Distance(
        scores=max((pair.score for pair in pairs), default=0.0),
        boxes=max((pair.box for pair in pairs), default=0.0),
        mean_iou=float(np.mean(ious)) if ious else 1.0,
        worst_iou=min(ious, default=1.0),
        logits=stages.get("decoder", {}).get("logits"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class AllQueries:
    """What a model says of one image before anything is admitted.

    Attributes:
        coarse: float32 [1, C, G, G], the feature map that prompts are compared with.
        logits, scores: float32 [P, Q].
        boxes: float32 [P, Q, 4], x0, y0, x1, y1 in 0..1.
        masks: bool [P, Q, 4G, 4G].
    """

    coarse: Tensor
    logits: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor

    def distance_to(self, reference: AllQueries) -> Distance:
        """How far this is from ``reference``."""
        both = (self.masks & reference.masks).flatten(2).sum(2)
        either = (self.masks | reference.masks).flatten(2).sum(2)
        iou = torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float32))
        return Distance(
            scores=_largest(self.scores - reference.scores),
            boxes=_largest(self.boxes - reference.boxes),
            mean_iou=float(iou.mean()),
            worst_iou=float(iou.min()),
            logits=_largest(self.logits - reference.logits),
        )


@torch.no_grad()
def all_queries(
    vision: VisionGraph, decoder: DecoderGraph, masks: MaskGraph, pixels: Tensor, text: Tensor, text_mask: Tensor
) -> AllQueries:
    """Run the stages on one image; whoever wants another precision calls it inside ``torch.autocast``.

    Args:
        pixels: float32 [1, 3, S, S] in -1..1.
        text: float32 [P, L, C].
        text_mask: bool [P, L].
    """
    seen = vision(pixels)
    image = torch.zeros(len(text), dtype=torch.int64, device=pixels.device)
    rows = torch.arange(len(text), device=pixels.device)
    found = decoder(seen.coarse, seen.geometry, image, text, text_mask)
    logits = found.logits.float()
    outlines = []
    for row in rows.split(1):  # one at a time: all masks of a phrase take 66 MB at full size
        embedded = masks.pixels(seen.fine, seen.medium, found.encoded, found.prompt, text_mask, image[:1], row)
        outlines.append(masks.masks(embedded, found.queries[row])[0] > 0)
    return AllQueries(
        seen.coarse.float(),
        logits,
        logits.sigmoid() * found.presence.float().sigmoid(),
        found.boxes.float(),
        torch.stack(outlines),
    )


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _rounded(distance: Distance) -> dict[str, float | None]:
    return {n: None if v is None or v == float("inf") else float(f"{v:.4g}") for n, v in asdict(distance).items()}
