"""The training step: a checkpoint and a dataset version become a checkpoint that knows more.

Channels ``checkpoint`` (``sam3.pt`` or a transformers folder) and ``dataset`` (a dataset version). The model is left as
a transformers folder, which ``sam3edge-export`` reads. Restarted after a spot interruption it continues.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import torch
from rich.progress import Progress

from sam3edge_export.build import license_text_of
from sam3edge_export.checkpoint import Checkpoint, read_checkpoint
from sam3edge_export.sam3.tokenizer import tokenizer_of
from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.steps.parameters import read_json, recipe_of
from sam3edge_pipeline.steps.places import Places, checkpoint_in, run_step
from sam3edge_pipeline.training.finetune import METRICS, Trained, finetune
from sam3edge_pipeline.training.processes import processes

logger = logging.getLogger(__name__)

LICENSE = "LICENSE"


def train(places: Places) -> None:
    """Run the step."""
    recipe, phrases = recipe_of(read_json(places.hyperparameters))
    dataset = open_dataset(places.channel("dataset"))
    path = checkpoint_in(places.channel("checkpoint"))
    license_text = license_text_of(path)  # the export refuses a model without, hours later
    checkpoint = read_checkpoint(path)
    length = int(checkpoint.model.config.text_config.max_position_embeddings)
    tokenizer = tokenizer_of(path, length)
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    with processes(device) as group, Progress(disable=not group.is_first) as bar:
        task = bar.add_task("training", total=recipe.steps)
        trained = finetune(
            checkpoint.model,
            tokenizer,
            dataset.examples,
            phrases,
            recipe,
            places.checkpoints,
            device=device,
            group=group,
            progress=lambda step, steps, loss: bar.update(task, completed=step, description=f"loss {loss:.3f}"),
        )
        if group.is_first:
            leave(trained, checkpoint, license_text, places.model)
            shutil.copy(places.checkpoints / METRICS, places.metrics / METRICS)


def leave(trained: Trained, before: Checkpoint, license_text: str, folder: Path) -> None:
    """Write the model as a transformers folder, with the licence of what it began as."""
    trained.model.save_pretrained(folder)
    trained.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / LICENSE).write_text(license_text, encoding="utf-8")
    words = ", ".join(trained.words) or "none"
    logger.info("fine-tuned %s (sha256 %s), new words: %s", before.kind, before.sha256, words)


if __name__ == "__main__":
    run_step(train, __doc__)
