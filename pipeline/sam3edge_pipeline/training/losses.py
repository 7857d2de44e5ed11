"""What the small model is punished for, and which query answers for which object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name all of torch's users know
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What each (image, prompt) pair should answer.

    Attributes:
        present: float32 [N], 1 where the phrase is in the image.
        pair: int64 [K], the pair of each wanted object.
        boxes: float32 [K, 4], cx, cy, w, h in 0..1.
        masks: float32 [K, M, M], coverage 0..1 at the resolution of the mask logits.
    """

    present: Tensor
    pair: Tensor
    boxes: Tensor
    masks: Tensor


def assign(targets: Targets, anchors: Tensor, logits: Tensor, boxes: Tensor, learned: float) -> Tensor:
    """int64 [K], the query that answers for each object.

    Early in training matching by what is predicted changes from step to step and teaches nothing. Here the query
    whose anchor lies nearest answers, which never changes; ``learned`` (0..1) blends in the usual DETR cost later, so
    that the decoder can settle who answers between anchors.

    Args:
        anchors: [Q, 2], centres of the reference points.
        logits: [N, Q].
        boxes: [N, Q, 4], cx, cy, w, h.
    """
    chosen = torch.zeros(len(targets.pair), dtype=torch.long)
    for pair in targets.pair.unique():
        rows = torch.nonzero(targets.pair == pair)[:, 0]
        wanted = targets.boxes[rows]
        cost = torch.cdist(wanted[:, :2], anchors) * 8
        if learned > 0:
            predicted = boxes[pair]
            distance = torch.cdist(wanted, predicted, p=1) * 5
            overlap = -2 * generalized_iou(wanted[:, None], predicted[None])
            certainty = -2 * logits[pair].sigmoid()[None]
            cost = (1 - learned) * cost + learned * (distance + overlap + certainty)
        object_row, query = linear_sum_assignment(cost.detach().cpu().numpy())
        chosen[rows[object_row].cpu()] = torch.from_numpy(query)
    return chosen.to(targets.pair.device)


def onlookers(targets: Targets, anchors: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Queries that look at an object, whether or not they answer for it: the more, the faster boxes are learned.

    Returns:
        int64 [M] rows of ``targets`` and int64 [M] queries: every query whose anchor lies in an object's box, with the
        smallest such object of its pair.
    """
    owner = torch.full((pairs, len(anchors)), -1)
    xyxy = box_cxcywh_to_xyxy(targets.boxes)
    for row in torch.argsort(-targets.boxes[:, 2:].prod(1)).tolist():
        x0, y0, x1, y1 = xyxy[row].tolist()
        inside = (anchors[:, 0] > x0) & (anchors[:, 0] < x1) & (anchors[:, 1] > y0) & (anchors[:, 1] < y1)
        owner[int(targets.pair[row]), inside] = row
    pair, query = torch.nonzero(owner >= 0, as_tuple=True)
    return owner[pair, query], query


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes [..., 4] (cx, cy, w, h), broadcast (Rezatofighi et al. 2019)."""
    a, b = box_cxcywh_to_xyxy(a), box_cxcywh_to_xyxy(b)
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    return inner / (union + 1e-6) - (outer - union) / (outer + 1e-6)


def query_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss (gamma 1, alpha 0.5) of query logits [N, Q] against 0/1 targets, by wanted object."""
    probability = logits.sigmoid()
    error = torch.where(targets > 0.5, 1 - probability, probability)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * error
    return loss.sum() / targets.sum().clamp(min=1)


def box_loss(boxes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """L1 and generalised-IoU losses of matched boxes [K, 4]."""
    count = max(1, len(wanted))
    return F.l1_loss(boxes, wanted, reduction="sum") / count, (1 - generalized_iou(boxes, wanted)).sum() / count


def mask_loss(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice losses of mask logits [K, M, M] against coverage.

    The cross-entropy of an object counts foreground and background alike, else small objects vanish.
    """
    if not len(wanted):
        return logits.sum() * 0, logits.sum() * 0
    raw = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").flatten(1)
    inside = wanted.flatten(1)
    near = (raw * inside).sum(1) / inside.sum(1).clamp(min=1)
    far = (raw * (1 - inside)).sum(1) / inside.sum(1).clamp(min=40)
    probability = logits.sigmoid().flatten(1)
    dice = 1 - (2 * (probability * inside).sum(1) + 1) / (probability.sum(1) + inside.sum(1) + 1)
    return (near + far.clamp(max=20)).mean(), dice.mean()
