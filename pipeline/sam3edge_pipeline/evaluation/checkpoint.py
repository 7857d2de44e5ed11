"""How well the model in training finds the objects of held-out scenes, at mask resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sam3edge.core.matching import BoolMask, mask_iou, pair_in_order, suppress
from sam3edge_pipeline.synthetic import PHRASES
from sam3edge_pipeline.training.data import SceneSet, make_batch

if TYPE_CHECKING:
    from sam3edge_pipeline.training.train import Learner


OVERLAP = 0.5
"""A true object is found by a mask with at least this intersection over union; masks that overlap a better one more
than this repeat it."""


@torch.no_grad()
def evaluate(learner: Learner, scenes: SceneSet, count: int, threshold: float = 0.5) -> dict[str, float]:
    """Mask F1 at IoU 0.5 over present prompts, by phrase too, and the share of absent prompts answered."""
    learner.eval()
    found = dict.fromkeys(PHRASES, 0)
    wanted, given = dict(found), dict(found)
    absent = answered = 0
    every = torch.arange(len(PHRASES))
    text, text_mask = learner.text(learner.tokens), learner.tokens != 0
    for row in range(count):
        batch = make_batch(scenes, np.array([row]))
        features = learner.vision(learner.pixels(batch.images))
        image = torch.zeros_like(every)
        decoded = learner.decoder(features.coarse, features.geometry, image, text, text_mask)
        scores = decoded.logits.sigmoid() * decoded.presence.sigmoid()
        for phrase, name in enumerate(PHRASES):
            truth = batch.masks[batch.phrases == phrase] > 0.5
            admitted = torch.nonzero(scores[phrase] > threshold)[:, 0]
            admitted = admitted[scores[phrase][admitted].argsort(descending=True)]
            if not len(truth):
                absent += 1
                answered += bool(len(admitted))
                continue
            wanted[name] += len(truth)
            if not len(admitted):
                continue
            pair = torch.tensor([phrase])
            logits = learner.masks(
                features.fine, features.medium, decoded.encoded, decoded.prompt, text_mask, decoded.queries,
                image[:1], pair, admitted[None], torch.arange(len(admitted)),
            )  # fmt: skip
            logits = torch.nn.functional.interpolate(logits[None], scale_factor=2, mode="bilinear")[0]
            masks = without_repeats(list((logits > 0).numpy(force=True)))
            given[name] += len(masks)
            found[name] += len(pair_in_order(mask_iou(masks, list(truth.numpy(force=True))), OVERLAP))
    learner.train()
    f1 = {name: 2 * found[name] / max(1, wanted[name] + given[name]) for name in PHRASES}
    total = 2 * sum(found.values()) / max(1, sum(wanted.values()) + sum(given.values()))
    return {"f1": round(total, 4), "absent": round(answered / max(1, absent), 4)} | {
        k: round(v, 2) for k, v in f1.items()
    }


def without_repeats(masks: Sequence[BoolMask]) -> list[BoolMask]:
    """Masks of one phrase, best first, without those that repeat a better one."""
    falling = [-i for i in range(len(masks))]
    kept = suppress(falling, [0] * len(masks), lambda i, ks: mask_iou([masks[i]], [masks[k] for k in ks]), OVERLAP)
    return [masks[i] for i in kept]
