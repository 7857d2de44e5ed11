"""The gate: the same frames and prompts through the reference and through the export.

The reference is the checkpoint in torch, in single precision; the export runs in the device's own engine. Both sides
share the device's rule of admission and its outlines, so what is compared is what a device would publish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Instance, Prompt
from sam3edge_export.parity.compare import Comparison, compare
from sam3edge_export.parity.fidelity import Bar, Distance, distance_of
from sam3edge_export.parity.fixtures import Fixtures
from sam3edge_export.parity.stages import TensorRecorder, differences, largest, score_rule_error
from sam3edge_export.parity.verdict import Tolerance, by_instances, by_logits, by_score_rule
from sam3edge_export.torch_engine.options import REFERENCE

Stages = dict[str, dict[str, float]]

CHOICES = 20
"""A threshold for a checkpoint without learned weights is put into the widest gap between this many best scores."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One side of the comparison: an engine, and what records its stages (a foreign engine has none)."""

    engine: Engine
    recorder: TensorRecorder | None


@dataclass(frozen=True, slots=True, eq=False)
class Parity:
    """What the gate found.

    Attributes:
        criterion: ``instances`` or ``logits``.
        reference, ours: what ran on each side.
        failures: empty when the gate is passed.
        stages: largest absolute difference of each tensor by stage over all frames; ``score_rule`` is how far the
            export's scores are from the rule in its manifest.
        fidelity: how far the export is from the reference.
        bar: how far it may be, beside ``tolerance``; None for precisions that have none.
        asked: of each frame, in the order of ``comparisons``, the prompts.
    """

    criterion: str
    reference: str
    ours: str
    tolerance: Tolerance
    failures: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    stages: Stages
    fidelity: Distance
    bar: Bar | None
    asked: tuple[tuple[Prompt, ...], ...]

    @property
    def passed(self) -> bool:
        """Whether the export may be released."""
        return not self.failures

    def summary(self) -> dict[str, Any]:
        """For the manifest and the head of the report."""
        pairs = [pair for c in self.comparisons for pair in c.pairs]
        return {
            "passed": self.passed,
            "judged_by": self.criterion,
            "reference": self.reference,
            "bundle": self.ours,
            "tolerance": asdict(self.tolerance),
            "images": len(self.comparisons),
            "objects": len(pairs),
            "missing": sum(len(c.missing) for c in self.comparisons),
            "extra": sum(len(c.extra) for c in self.comparisons),
            "borderline": sum(c.borderline for c in self.comparisons),
            "worst_iou": round(min((c.worst_iou for c in self.comparisons), default=1.0), 5),
            "mean_iou": round(float(np.mean([p.iou for p in pairs])) if pairs else 1.0, 5),
            "largest_score_difference": round(max((p.score for p in pairs), default=0.0), 6),
            "largest_box_difference": round(max((p.box for p in pairs), default=0.0), 6),
            "largest_mask_logit_difference": round(max((p.logits for p in pairs), default=0.0), 6),
            **({"fidelity": self.bar.summary(self.fidelity)} if self.bar is not None else {}),
            "stages": {s: {n: float(f"{v:.3g}") for n, v in tensors.items()} for s, tensors in self.stages.items()},
        }


class Criterion(Protocol):
    """What a checkpoint is asked, and how its answers are judged."""

    @property
    def name(self) -> str:
        """What is compared: instances or logits."""
        ...

    @property
    def has_learned(self) -> bool:
        """Whether it is for checkpoints that find nothing where there is nothing."""
        ...

    @property
    def most(self) -> int:
        """Instances of a prompt that the reference has to outline."""
        ...

    def ask(self, reference: Engine, frame: Frame, phrases: Sequence[str]) -> tuple[list[Prompt], list[Instance]]:
        """What is to be asked of a frame, and the reference's answer."""
        ...

    def judge(self, stages: Stages, comparisons: Sequence[Comparison], tolerance: Tolerance) -> list[str]:
        """Everything that exceeds the bounds."""
        ...


@dataclass(frozen=True, slots=True)
class ByInstances:
    """Does it find the same objects? For every checkpoint that has learned something."""

    threshold: float = 0.5
    name: str = "instances"
    has_learned: bool = True
    most: int = REFERENCE.max_instances

    def ask(self, reference: Engine, frame: Frame, phrases: Sequence[str]) -> tuple[list[Prompt], list[Instance]]:
        """See ``Criterion``."""
        prompts = [Prompt(phrase, self.threshold) for phrase in phrases]
        return prompts, list(reference.segment(frame, prompts).instances)

    def judge(self, stages: Stages, comparisons: Sequence[Comparison], tolerance: Tolerance) -> list[str]:
        """See ``Criterion``."""
        return by_instances(comparisons, tolerance)


@dataclass(frozen=True, slots=True)
class ByLogits:
    """For checkpoints without learned weights: their scores say nothing, so each prompt's threshold is put into the
    widest gap between its best scores, and what is bounded are the logits."""

    name: str = "logits"
    has_learned: bool = False
    most: int = CHOICES + 1

    def ask(self, reference: Engine, frame: Frame, phrases: Sequence[str]) -> tuple[list[Prompt], list[Instance]]:
        """See ``Criterion``."""
        everything = reference.segment(frame, [Prompt(phrase, -1.0) for phrase in phrases]).instances
        prompts, admitted = [], []
        for phrase in phrases:
            mine = [i for i in everything if i.prompt.text == phrase]
            prompt = Prompt(phrase, _widest_gap([i.score for i in mine]))
            prompts.append(prompt)
            admitted += [replace(i, prompt=prompt) for i in mine if i.score > prompt.threshold]
        return prompts, admitted

    def judge(self, stages: Stages, comparisons: Sequence[Comparison], tolerance: Tolerance) -> list[str]:
        """See ``Criterion``."""
        return by_logits(stages, comparisons, tolerance)


def run_gate(
    reference: Candidate,
    ours: Candidate,
    fixtures: Fixtures,
    criterion: Criterion,
    tolerance: Tolerance,
    progress: Callable[[int], None] = lambda done: None,
    bar: Bar | None = None,
) -> Parity:
    """Compare an export with its checkpoint.

    Args:
        reference: the checkpoint.
        ours: the export in the device's engine, or a second reference.
        progress: told how many frames are done.
        bar: see ``parity/fidelity.py``.

    Raises:
        EngineError: one side does not run.
    """
    comparisons, runs, asked = [], [], []
    for done, frame in enumerate(fixtures.frames, 1):
        for recorder in (reference.recorder, ours.recorder):
            if recorder is not None:
                recorder.forget()
        prompts, theirs = criterion.ask(reference.engine, frame, fixtures.asked_of(done - 1))
        mine = list(ours.engine.segment(frame, prompts).instances)
        comparisons.append(compare(frame, theirs, mine, tolerance.score))
        if reference.recorder is not None and ours.recorder is not None:
            runs.append(differences(reference.recorder, ours.recorder))
            runs.append({"decoder": {"score_rule": score_rule_error(ours.recorder)}})
        asked.append(tuple(prompts))
        progress(done)
    stages = largest(runs)
    fidelity = distance_of(comparisons, stages)
    farther = bar.exceeded_by(fidelity) if bar is not None and bar.binding else []
    return Parity(
        criterion.name,
        _described(reference.engine),
        _described(ours.engine),
        tolerance,
        (*criterion.judge(stages, comparisons, tolerance), *by_score_rule(stages), *farther),
        tuple(comparisons),
        stages,
        fidelity,
        bar,
        tuple(asked),
    )


def _widest_gap(scores: Sequence[float]) -> float:
    """A threshold between two of the best scores, as far from both as can be."""
    best = np.sort(np.asarray(scores, np.float64))[::-1][: CHOICES + 1]
    if len(best) < 2:
        return -1.0
    widest = int(np.argmax(best[:-1] - best[1:]))
    return float((best[widest] + best[widest + 1]) / 2)


def _described(engine: Engine) -> str:
    model = engine.model
    return f"{model.name} {model.version}, {model.precision}, {model.provider}"
