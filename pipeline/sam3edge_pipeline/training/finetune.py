"""Fine-tune a checkpoint on labelled examples; resumable at every step that was saved.

Everything that a step draws is a function of the seed and its number, so that a run which was interrupted, as by a
reclaimed spot instance, continues as if it had not been.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.core.errors import SettingsError
from sam3edge_export.sam3.tokenizer import token_ids
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.training.adaptation import merge, prepare
from sam3edge_pipeline.training.averaging import follow
from sam3edge_pipeline.training.objective import Detector, losses_of
from sam3edge_pipeline.training.processes import Processes
from sam3edge_pipeline.training.recipe import Recipe
from sam3edge_pipeline.training.samples import QuestionPlan, Samples
from sam3edge_pipeline.training.vocabulary import add_words

logger = logging.getLogger(__name__)

STATE, METRICS = "state.pt", "metrics.jsonl"

Progress = Callable[[int, int, float], None]
"""Told the step, how many there are, and the loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model that has learned.

    Attributes:
        model: merged, in float32, in evaluation mode.
        tokenizer: with the words that were added.
        words: these.
        losses: of every step of this run, summed over its losses.
    """

    model: Sam3Model
    tokenizer: Tokenizer
    words: tuple[str, ...]
    losses: tuple[float, ...]


def finetune(
    model: Sam3Model,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    new: Sequence[str],
    recipe: Recipe,
    work: Path,
    *,
    device: torch.device | None = None,
    group: Processes | None = None,
    save_every: int = 100,
    stop_after: int | None = None,
    progress: Progress = lambda step, steps, loss: None,
) -> Trained:
    """Teach ``model`` the phrases ``new`` from examples of the split ``train``, without forgetting the others.

    Args:
        model: in float32; it is changed.
        work: folder of the state (``state.pt``) and of what every step has cost (``metrics.jsonl``); a run whose state
            is there continues.
        save_every: steps between two states.
        stop_after: steps after which to stop before the end, as an interruption would; for tests.

    Raises:
        SettingsError: nothing can be learned from these examples, or the state in ``work`` is of another run.
        FrameError: an image cannot be read.
    """
    device = device or torch.device("cpu")
    group = group or Processes()
    if recipe.batch < group.world:
        raise SettingsError(f"batch: expected {group.world} or more, an image for each process, got {recipe.batch}")
    torch.manual_seed(recipe.seed)
    tokenizer, words = add_words(model, tokenizer, new)
    learning = [example for example in examples if example.split == "train"]
    phrases = tuple(dict.fromkeys(phrase for example in learning for phrase in example.exhaustive))
    side = int(model.config.vision_config.backbone_config.image_size)
    plan = QuestionPlan(Samples(learning, side), new, recipe)
    parameters = prepare(model, recipe)
    tokens = torch.from_numpy(token_ids(tokenizer, phrases))
    detector = Detector(model, phrases, tokens, vision_learns=recipe.adaptation != "frozen-vision").to(device)
    run = _Run(
        detector, torch.optim.AdamW(parameters), recipe, group, work, device, _fingerprint(learning, new, recipe)
    )
    step, losses = run.resume(), []
    end = recipe.steps if stop_after is None else min(recipe.steps, step + stop_after)
    while step < end:
        found = run.step(plan, step)
        step += 1
        losses.append(found["total"])
        progress(step, recipe.steps, found["total"])
        run.record(step, found)
        if step % save_every == 0 or step == end:
            run.save(step)
    return Trained(merge(run.result()).cpu().eval(), tokenizer, words, tuple(losses))


class _Run:
    """The optimiser and what it has done so far."""

    def __init__(
        self,
        detector: Detector,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        group: Processes,
        work: Path,
        device: torch.device,
        fingerprint: str,
    ) -> None:
        self._detector = detector
        self._optimizer = optimizer
        self._recipe = recipe
        self._group = group
        self._work = work
        self._device = device
        self._fingerprint = fingerprint
        self._average = copy.deepcopy(detector.model) if recipe.average else None

    def step(self, plan: QuestionPlan, step: int) -> dict[str, float]:
        """Learn from one batch; every loss by its name, and their sum, over all processes."""
        self._detector.train()
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = parameters["base_lr"] * self._share_of_rate(step)
        questions = _on(plan.questions(step, self._group.rank, self._group.world), self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._recipe.bf16):
            losses = losses_of(self._detector, questions, self._recipe, step, self._group.total)
        self._optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self._group.add_gradients(self._detector.parameters())
        nn.utils.clip_grad_norm_(self._detector.parameters(), self._recipe.clip)
        self._optimizer.step()
        if self._average is not None:
            follow(self._average, self._detector.model, min(self._recipe.average, (step + 1) / (step + 10)))
        whole = {name: float(self._group.total(value.detach())) for name, value in losses.items()}
        return {**whole, "total": sum(whole.values())}

    def result(self) -> Sam3Model:
        """The weights that are to be used."""
        return self._detector.model if self._average is None else self._average

    def record(self, step: int, losses: dict[str, float]) -> None:
        """Append to the metrics, one JSON object a line."""
        if self._group.is_first:
            line = {"step": step, **{name: round(value, 6) for name, value in losses.items()}}
            with (self._work / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def save(self, step: int) -> None:
        """Write the state in one piece."""
        if not self._group.is_first:
            return
        state = {
            "fingerprint": self._fingerprint,
            "step": step,
            "model": self._detector.model.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        draft = self._work / f"{STATE}.draft"
        torch.save(state, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(self._work / STATE)

    def resume(self) -> int:
        """The step to continue with; 0 where there is no state.

        Raises:
            SettingsError: the state is of other examples, phrases or numbers.
        """
        self._work.mkdir(parents=True, exist_ok=True)
        path = self._work / STATE
        if not path.exists():
            return 0
        state: dict[str, Any] = torch.load(path, map_location=self._device, weights_only=True)
        if state["fingerprint"] != self._fingerprint:
            raise SettingsError(
                f"{path} is the state of a run with other examples, phrases or numbers; give another folder, or "
                "remove it"
            )
        self._detector.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        logger.info("continuing after step %d", state["step"])
        return int(state["step"])

    def _share_of_rate(self, step: int) -> float:
        recipe = self._recipe
        warm = min(1.0, (step + 1) / (recipe.warm_up + 1))
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def _on(questions: Any, device: torch.device) -> Any:
    moved = {
        name: value.to(device) if isinstance(value := getattr(questions, name), Tensor) else value
        for name in questions.__slots__
    }
    return type(questions)(**moved)


def _fingerprint(examples: Sequence[Example], new: Sequence[str], recipe: Recipe) -> str:
    what = [[e.id, sorted(e.exhaustive), len(e.objects)] for e in examples]
    return json.dumps([what, list(new), recipe.as_json()], sort_keys=True)
