"""What a fine-tuning is punished for: Meta's losses on every decoder layer, and masks at sampled points.

Each loss is a sum over this process's share divided by a count over all processes, so that the gradients of several
processes add up to the gradient of one that had everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of torch's users know
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph, DecoderLayers, MaskGraph, TextGraph, VisionFeatures, VisionGraph
from sam3edge_pipeline.training.losses import generalized_iou
from sam3edge_pipeline.training.recipe import Recipe
from sam3edge_pipeline.training.samples import Questions

CLASS, PRESENCE, L1, GIOU, ONE_TO_MANY, MASK, DICE = 20.0, 20.0, 5.0, 2.0, 2.0, 5.0, 5.0
POSITIVE, ALPHA, GAMMA = 10.0, 0.25, 2.0
MATCH_CLASS, MATCH_L1, MATCH_GIOU = 2.0, 5.0, 2.0
UNCERTAIN, OVERSAMPLED = 0.75, 3
"""Of a mask's points, the share that is drawn where the prediction is least certain, out of so many times as many."""

Total = Callable[[Tensor], Tensor]
"""The sum of a number over all processes."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which query answers for which object: int64 [K] each, ``query`` of ``pair``; ``row`` is the object's."""

    pair: Tensor
    query: Tensor
    row: Tensor


class Detector(nn.Module):
    """A SAM 3 as it learns: its graphs share the weights of ``model``.

    Args:
        tokens: int64 [P, L] of the phrases that are asked, in their order.
    """

    tokens: Tensor

    def __init__(self, model: Sam3Model, phrases: tuple[str, ...], tokens: Tensor, *, vision_learns: bool) -> None:
        super().__init__()
        self.model = model
        self.row = {phrase: i for i, phrase in enumerate(phrases)}
        self.vision, self.text = VisionGraph(model), TextGraph(model)
        self.decoder, self.masks = DecoderGraph(model), MaskGraph(model)
        self.register_buffer("tokens", tokens, persistent=False)
        self._vision_learns = vision_learns

    def forward(self, questions: Questions) -> tuple[VisionFeatures, DecoderLayers, Tensor]:
        """Features of the images, the answers of every decoder layer to every pair, and the text mask bool [N, L]."""
        pixels = questions.images.permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.set_grad_enabled(self._vision_learns):
            features = self.vision(pixels)
        rows = torch.tensor([self.row[phrase] for phrase in questions.phrases], device=self.tokens.device)
        asked, place = rows.unique(return_inverse=True)
        ids = self.tokens[asked]
        text, mask = self.text(ids)[place], (ids != 0)[place]
        layers = self.decoder.layers(features.coarse, features.geometry, questions.image_index, text, mask)
        return features, layers, mask


def losses_of(
    detector: Detector,
    questions: Questions,
    recipe: Recipe,
    step: int,
    total: Total = lambda count: count,
) -> dict[str, Tensor]:
    """Every loss of one step, weighted; their sum is to be minimised.

    An image in which a phrase is absent counts as much as one in which it is there: its presence and all of its
    queries are to be low.

    Args:
        step: its number; the points of masks are drawn by it.
        total: sums a count over all processes.
    """
    features, layers, text_mask = detector(questions)
    pairs = total(torch.tensor(float(len(questions.phrases)))).clamp(min=1)
    objects = total(torch.tensor(float(len(questions.pair)))).clamp(min=1)
    found: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        found[name] = found[name] + value if name in found else value

    matches = Matches(*(torch.zeros(0, dtype=torch.int64),) * 3)
    for logits, boxes, presence in zip(layers.logits, layers.boxes, layers.presence, strict=True):
        matches = match(questions, logits, boxes)
        wanted = torch.zeros_like(logits)
        wanted[matches.pair, matches.query] = 1
        add("class", CLASS * class_loss(logits, wanted).mean(1).sum() / pairs)
        present = F.binary_cross_entropy_with_logits(presence[:, 0], questions.present, reduction="sum")
        add("presence", PRESENCE * present / pairs)
        truth = questions.boxes[matches.row]
        ours = boxes[matches.pair, matches.query]
        add("l1", L1 * (ours - truth).abs().sum() / objects)
        add("giou", GIOU * (1 - generalized_iou(ours, truth)).sum() / objects)
        if recipe.one_to_many:
            pair, query, row = nearest(questions, boxes, recipe.one_to_many)
            also = (1 - generalized_iou(boxes[pair, query], questions.boxes[row])).sum()
            add("one_to_many", ONE_TO_MANY * also / objects / recipe.one_to_many)
    if recipe.mask_points:
        cross, dice = _mask_losses(detector, features, layers, text_mask, questions, matches, recipe, step)
        found["mask"], found["dice"] = MASK * cross / objects, DICE * dice / objects
    return found


def match(questions: Questions, logits: Tensor, boxes: Tensor) -> Matches:
    """The queries that answer for the objects, one each, at the least total cost in their pair.

    Args:
        logits: [N, Q].
        boxes: [N, Q, 4], cx, cy, w, h.
    """
    pair, query, row = [], [], []
    with torch.no_grad():
        for one in questions.pair.unique().tolist():
            rows = torch.nonzero(questions.pair == one)[:, 0]
            probability = logits[one].float().sigmoid()
            positive = -ALPHA * (1 - probability) ** GAMMA * (probability + 1e-8).log()
            negative = -(1 - ALPHA) * probability**GAMMA * (1 - probability + 1e-8).log()
            truth, ours = questions.boxes[rows], boxes[one].float()
            cost = MATCH_CLASS * (positive - negative)[None] + MATCH_L1 * torch.cdist(truth, ours, p=1)
            cost = cost - MATCH_GIOU * generalized_iou(truth[:, None], ours[None])
            objects, queries = linear_sum_assignment(cost.nan_to_num(1e6).cpu().numpy())
            pair += [one] * len(objects)
            query += queries.tolist()
            row += rows[objects].tolist()
    device = logits.device
    return Matches(*(torch.tensor(values, dtype=torch.int64, device=device) for values in (pair, query, row)))


def nearest(questions: Questions, boxes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pair, query and object, int64 [K * count] each: the queries whose boxes overlap an object most."""
    if not len(questions.pair):
        none = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return none, none, none
    with torch.no_grad():
        overlap = generalized_iou(questions.boxes[:, None], boxes[questions.pair].float())
        query = overlap.topk(min(count, overlap.shape[1])).indices
    row = torch.arange(len(query), device=boxes.device)[:, None].expand_as(query)
    return questions.pair[:, None].expand_as(query).flatten(), query.flatten(), row.flatten()


def class_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss of query logits [N, Q] against 0 or 1 (Lin et al. 2017), positives weighing ``POSITIVE`` times."""
    probability = logits.sigmoid()
    error = torch.where(wanted > 0.5, 1 - probability, probability)
    weight = torch.where(wanted > 0.5, POSITIVE * ALPHA, 1 - ALPHA)
    return weight * error**GAMMA * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _mask_losses(
    detector: Detector,
    features: VisionFeatures,
    layers: DecoderLayers,
    text_mask: Tensor,
    questions: Questions,
    matches: Matches,
    recipe: Recipe,
    step: int,
) -> tuple[Tensor, Tensor]:
    """Sums over objects of the cross-entropy and the dice loss of their masks at sampled points."""
    final = layers.final
    if not len(matches.pair):
        nothing = final.queries.sum() * 0
        return nothing, nothing
    shown, place = matches.pair.unique(return_inverse=True)
    image = questions.image_index[shown]
    graph = detector.masks
    pixels = graph.pixels(features.fine, features.medium, final.encoded, final.prompt, text_mask, image, shown)
    instance = graph.decoder.instance_projection(pixels)
    embedded = graph.decoder.mask_embedder(final.queries[matches.pair, matches.query])
    logits = torch.einsum("kc,kchw->khw", embedded, instance[place]).float()
    truth = questions.masks[matches.row]
    # by image, so that an object has the same points whichever process has it
    drawers = [_drawer(recipe.seed, step, position) for position in questions.positions]
    points = _points(logits.detach(), recipe.mask_points, [drawers[i] for i in image[place].tolist()])
    ours = _at(logits, points, "bilinear")
    wanted = _at(truth.float(), points, "nearest")
    cross = F.binary_cross_entropy_with_logits(ours, wanted, reduction="none").mean(1).sum()
    probability = ours.sigmoid()
    dice = (1 - (2 * (probability * wanted).sum(1) + 1) / (probability.sum(1) + wanted.sum(1) + 1)).sum()
    return cross, dice


def _drawer(*seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))


def _points(logits: Tensor, count: int, drawers: Sequence[torch.Generator]) -> Tensor:
    """float32 [K, count, 2], x and y in -1..1: most where the mask is least certain, the rest anywhere."""
    wide, uncertain = OVERSAMPLED * count, round(UNCERTAIN * count)
    drawn = torch.stack([torch.rand(wide + count - uncertain, 2, generator=one) for one in drawers])
    drawn = drawn.to(logits.device) * 2 - 1
    certainty = _at(logits, drawn[:, :wide], "bilinear").abs()
    best = certainty.topk(uncertain, largest=False).indices
    return torch.cat([drawn.gather(1, best[..., None].expand(-1, -1, 2)), drawn[:, wide:]], 1)


def _at(maps: Tensor, points: Tensor, mode: str) -> Tensor:
    """float32 [K, P], values of maps [K, h, w] at points."""
    return F.grid_sample(maps[:, None], points[:, :, None], mode=mode, align_corners=False)[:, 0, :, 0]
