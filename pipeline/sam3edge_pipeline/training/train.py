"""Train the demo model from scratch, in two stages, resumable.

    python -m sam3edge_pipeline.training.train --out runs/demo

Stage one teaches the vision encoder alone to say, for every small cell of the image, which phrase is there and where
its object's centre is. Stage two trains the whole detector with prompts. See ``losses.assign`` for what makes it
converge in an hour or two on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, TextGraph, VisionFeatures, VisionGraph
from sam3edge_pipeline.evaluation.checkpoint import evaluate
from sam3edge_pipeline.synthetic import HELD_OUT_SEEDS, PHRASES
from sam3edge_pipeline.training.averaging import follow
from sam3edge_pipeline.training.data import Batch, SceneSet, batches, load_or_draw
from sam3edge_pipeline.training.losses import Targets, assign, box_loss, mask_loss, onlookers, query_loss
from sam3edge_pipeline.training.model import INPUT_SIZE, PATCH, build_small_model, token_ids, word_tokenizer

logger = logging.getLogger(__name__)

CELLS = 4
"""Dense labels have CELLS x CELLS cells a token, which is the resolution of the mask logits."""

TRAIN_SEEDS = range(10_000, 14_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast.

    Attributes:
        dense_steps, steps: optimiser steps of stage one and two.
        dense_batch, batch: images a step in stage one and two.
        prompts: prompts asked of every image in stage two, of which one is absent.
        rate: largest learning rate of stage two.
        processes: that draw the scenes.
        mask_pairs: at most this many (image, prompt) pairs a step go through the expensive mask branch.
    """

    dense_steps: int = 900
    steps: int = 2600
    dense_batch: int = 16
    batch: int = 8
    prompts: int = 3
    mask_pairs: int = 6
    rate: float = 6e-4
    processes: int = 2
    seed: int = 0


class Learner(nn.Module):
    """The model, its graphs, and heads that exist only while it learns."""

    tokens: Tensor

    def __init__(self) -> None:
        super().__init__()
        tokenizer = word_tokenizer()
        self.model: Sam3Model = build_small_model(tokenizer)
        self.vision, self.text = VisionGraph(self.model), TextGraph(self.model)
        self.decoder, self.masks = DecoderGraph(self.model), MaskGraph(self.model)
        self.register_buffer("tokens", token_ids(tokenizer, PHRASES), persistent=False)
        width = self.model.config.detr_encoder_config.hidden_size
        self.coarse_head = nn.Conv2d(width, DENSE * CELLS**2, 1)
        self.medium_head = nn.Conv2d(width, DENSE * (CELLS // 2) ** 2, 1)
        self.fine_head = nn.Conv2d(width, DENSE, 1)
        self.encoded_head = nn.Linear(width, CELLS**2)

    def pixels(self, images: Tensor) -> Tensor:
        """Normalised float pixels [B, 3, S, S] of uint8 images [B, S, S, 3]."""
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1


DENSE = len(PHRASES) + 1 + 4
"""Channels of a dense label: background and phrases, then the object's cx, cy, w, h."""


def coverage(masks: Tensor) -> Tensor:
    """Coverage 0..1 of every mask cell, float [K, M, M], of masks [K, S, S]."""
    return F.avg_pool2d(masks[:, None], PATCH // CELLS)[:, 0]


def dense_loss(batch: Batch, outputs: list[Tensor]) -> Tensor:
    """Cross-entropy of the phrase on top of every cell, and L1 of that object's box, for each [B, DENSE, M, M]."""
    cells = coverage(batch.masks)
    labels = torch.zeros(len(batch.images), *cells.shape[1:], dtype=torch.long, device=cells.device)
    boxes = torch.zeros(len(batch.images), 4, *cells.shape[1:], device=cells.device)
    for k in torch.argsort(-cells.sum((1, 2))).tolist():  # the smaller object is on top
        inside, image = cells[k] > 0.5, int(batch.owner[k])
        labels[image][inside] = batch.phrases[k] + 1
        boxes[image][:, inside] = batch.boxes[k][:, None]
    object_cells = (labels > 0)[:, None].float()
    total = torch.zeros((), device=cells.device)
    for output in outputs:
        phrase, box = output.split([len(PHRASES) + 1, 4], 1)
        weight = torch.ones(len(PHRASES) + 1, device=cells.device)
        weight[0] = 0.5
        total = total + F.cross_entropy(phrase, labels, weight=weight)
        total = total + 4 * ((box - boxes).abs() * object_cells).sum() / (4 * object_cells.sum().clamp(min=1))
    return total / len(outputs)


def dense_step(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """Stage one: every level of the feature pyramid says what is where."""
    return {"dense": dense_loss(batch, pyramid_outputs(learner, learner.vision(learner.pixels(batch.images))))}


def pyramid_outputs(learner: Learner, features: VisionFeatures) -> list[Tensor]:
    """Dense predictions [B, DENSE, M, M] of every pyramid level."""
    return [
        F.pixel_shuffle(learner.coarse_head(features.coarse), CELLS),
        F.pixel_shuffle(learner.medium_head(features.medium), CELLS // 2),
        learner.fine_head(features.fine),
    ]


def choose_prompts(batch: Batch, prompts: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Image index and phrase index, int64 [N]: for every image some present phrases and at least one absent one."""
    image_index, phrase_index = [], []
    for image in range(len(batch.images)):
        present = batch.phrases[batch.owner == image].unique().tolist()
        absent = [p for p in range(len(PHRASES)) if p not in present]
        asked = list(rng.permutation(present)[: prompts - 1])
        asked += list(rng.permutation(absent)[: prompts - len(asked)])
        image_index += [image] * len(asked)
        phrase_index += [int(p) for p in asked]
    return torch.tensor(image_index), torch.tensor(phrase_index)


def make_targets(batch: Batch, image_index: Tensor, phrase_index: Tensor) -> Targets:
    """What each pair should answer."""
    pairs, rows = [], []
    for pair, (image, phrase) in enumerate(zip(image_index.tolist(), phrase_index.tolist(), strict=True)):
        members = torch.nonzero((batch.owner == image) & (batch.phrases == phrase))[:, 0].tolist()
        pairs += [pair] * len(members)
        rows += members
    present = torch.zeros(len(image_index))
    present[pairs] = 1
    return Targets(present, torch.tensor(pairs, dtype=torch.long), batch.boxes[rows], coverage(batch.masks[rows]))


def detector_step(
    learner: Learner, batch: Batch, plan: Plan, progress: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Stage two: every loss of one step; ``progress`` runs from 0 to 1."""
    image_index, phrase_index = choose_prompts(batch, plan.prompts, rng)
    targets = make_targets(batch, image_index, phrase_index)
    features = learner.vision(learner.pixels(batch.images))
    ids = learner.tokens[phrase_index]
    text, text_mask = learner.text(learner.tokens)[phrase_index], ids != 0
    layers = learner.decoder.layers(features.coarse, features.geometry, image_index, text, text_mask)

    anchors = learner.model.detr_decoder.reference_points.weight.detach().sigmoid()[:, :2]
    learned = min(0.8, max(0.0, (progress - 0.4) * 2))
    query = assign(targets, anchors, layers.logits[-1].detach(), layers.boxes[-1].detach(), learned)
    wanted = torch.zeros_like(layers.logits[-1])
    wanted[targets.pair, query] = 1
    seen, onlooker = onlookers(targets, anchors, len(ids))
    losses: dict[str, Tensor] = {}
    depth = len(layers.logits)
    for d in range(depth):
        weight = 1.0 if d == depth - 1 else 0.5
        l1, giou = box_loss(layers.boxes[d][targets.pair, query], targets.boxes)
        l1_seen, giou_seen = box_loss(layers.boxes[d][targets.pair[seen], onlooker], targets.boxes[seen])
        presence = F.binary_cross_entropy_with_logits(layers.presence[d][:, 0], targets.present)
        for name, value in (("query", 2 * query_loss(layers.logits[d], wanted)), ("l1", 5 * l1), ("giou", 2 * giou)):
            losses[name] = losses.get(name, 0) + weight * value
        losses["onlookers"] = losses.get("onlookers", 0) + weight * (1 - progress) * (5 * l1_seen + 2 * giou_seen)
        losses["presence"] = losses.get("presence", 0) + weight * 2 * presence

    final = layers.final
    semantic = torch.zeros(len(ids), *targets.masks.shape[1:])
    semantic = semantic.index_add(0, targets.pair, targets.masks).clamp(max=1)
    grid = INPUT_SIZE // PATCH
    fused = learner.encoded_head(final.encoded).transpose(1, 2).unflatten(2, (grid, grid))
    fused = F.pixel_shuffle(fused, CELLS)[:, 0]
    losses["fused"] = F.binary_cross_entropy_with_logits(fused, semantic, pos_weight=torch.tensor(2.0))

    chosen = torch.from_numpy(rng.permutation(targets.pair.unique().numpy())[: plan.mask_pairs])
    pixels = learner.masks.pixels(
        features.fine, features.medium, final.encoded, final.prompt, text_mask, image_index[chosen], chosen
    )
    row_of_pair = {int(pair): row for row, pair in enumerate(chosen)}
    some = torch.from_numpy(rng.permutation(len(seen))[: 3 * len(targets.pair)])
    wanted_row = torch.cat([torch.arange(len(targets.pair)), seen[some]])
    wanted_query = torch.cat([query, onlooker[some]])
    chosen_here = torch.tensor([int(targets.pair[i]) in row_of_pair for i in wanted_row], dtype=torch.bool)
    ours, answering = wanted_row[chosen_here], wanted_query[chosen_here]
    rows = torch.tensor([row_of_pair[int(targets.pair[i])] for i in ours], dtype=torch.long)
    embedded = learner.masks.decoder.mask_embedder(final.queries[targets.pair[ours], answering])
    instance = learner.masks.decoder.instance_projection(pixels)
    logits = torch.einsum("kc,kchw->khw", embedded, instance[rows])
    cross, dice = mask_loss(logits, targets.masks[ours])
    losses["mask"], losses["dice"] = 2 * cross, 3 * dice
    whole = learner.masks.decoder.semantic_projection(pixels)[:, 0]
    cross, dice = mask_loss(whole, semantic[chosen])
    losses["semantic"] = 0.5 * (cross + dice)
    if progress < 0.5:
        losses["dense"] = (1 - 2 * progress) * dense_loss(batch, pyramid_outputs(learner, features)[:1])
    return losses


def train(out: Path, plan: Plan) -> None:
    """Train until the plan is done; continues from ``out/last.pt`` when it is there."""
    torch.manual_seed(plan.seed)
    train_set = load_or_draw(out / f"train-{INPUT_SIZE}.npz", TRAIN_SEEDS, INPUT_SIZE, plan.processes)
    held_out = load_or_draw(out / f"heldout-{INPUT_SIZE}.npz", HELD_OUT_SEEDS, INPUT_SIZE, plan.processes)
    learner = Learner()
    average = copy.deepcopy(learner)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=plan.rate, weight_decay=1e-4)
    step, checkpoint = 0, out / "last.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        learner.load_state_dict(state["learner"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        logger.info("going on from step %d", step)
    run(learner, average, optimizer, train_set, held_out, plan, step, out)


def run(
    learner: Learner,
    average: Learner,
    optimizer: torch.optim.Optimizer,
    train_set: SceneSet,
    held_out: SceneSet,
    plan: Plan,
    step: int,
    out: Path,
) -> None:
    """The loop over steps."""
    dense, total = plan.dense_steps, plan.dense_steps + plan.steps
    rng = np.random.default_rng((plan.seed, step))
    wide = batches(train_set, plan.dense_batch, rng)
    narrow = batches(train_set, plan.batch, rng)
    sums: dict[str, float] = {}
    started, since = time.monotonic(), step
    while step < total:
        if step < dense:
            warm, rate = min(1.0, (step + 1) / 150), 1.6 * plan.rate
            losses = dense_step(learner, next(wide))
        else:
            progress = (step - dense) / plan.steps
            warm = min(1.0, (step - dense + 1) / 150)
            rate = plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            losses = detector_step(learner, next(narrow), plan, progress, rng)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0 if step >= dense else 5.0)
        optimizer.step()
        follow(average, learner, min(0.998, (step + 1) / (step + 10)))
        step += 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if step % 50 == 0:
            span, since_step = time.monotonic() - started, step - since
            means = "  ".join(f"{name} {value / 50:.3f}" for name, value in sums.items())
            logger.info("step %d/%d  %.2f s/step  %s", step, total, span / since_step, means)
            sums = {}
        if step % 250 == 0 or step == total:
            save(out, learner, average, optimizer, step)
            if step > dense:
                report = evaluate(average, held_out, 60 if step < total else len(held_out))
                logger.info("step %d  %s", step, json.dumps(report))


def save(out: Path, learner: Learner, average: Learner, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write the checkpoint in one piece."""
    state = {"learner": learner.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "step": step}, out / "last.part")
    (out / "last.part").replace(out / "last.pt")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of scenes, checkpoints and the log")
    parser.add_argument("--steps", type=int, default=Plan().steps, help="steps of stage two")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.out, Plan(steps=arguments.steps))


if __name__ == "__main__":
    main()
