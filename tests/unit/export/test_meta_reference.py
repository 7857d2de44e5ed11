"""Meta's package is asked the right questions, and its answers are read rightly; the package itself is imitated."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sam3edge.bundle.manifest import sha256_of
from sam3edge.core.errors import EngineError
from sam3edge.core.types import VISUAL, Exemplar, Prompt
from sam3edge_export.sam3.meta_reference import MetaReference
from support import samples

WIDTH, HEIGHT = 320, 240


class Processor:
    """Answers every prompt with the same three objects, and remembers what it was told."""

    def __init__(self, model: Any, device: str) -> None:
        self.told: list[Any] = [(model, device)]
        self.threshold = 0.5

    def set_image(self, image: torch.Tensor) -> dict[str, Any]:
        """A new image, [3, H, W]."""
        assert image.shape == (3, HEIGHT, WIDTH)
        assert image.dtype == torch.uint8
        self.told.append("image")
        return {}

    def reset_all_prompts(self, state: dict[str, Any]) -> None:
        """Forget what was asked before."""
        state.clear()

    def set_confidence_threshold(self, threshold: float) -> None:
        """Admit what is above it."""
        self.threshold = threshold

    def set_text_prompt(self, text: str, state: dict[str, Any]) -> None:
        """Ask with a phrase."""
        self.told.append(text)
        self._answer(state)

    def add_geometric_prompt(self, box: list[float], label: bool, state: dict[str, Any]) -> None:
        """Ask with one more box."""
        self.told.append(([round(float(v), 4) for v in box], label))
        self._answer(state)

    def _answer(self, state: dict[str, Any]) -> None:
        scores = torch.tensor([0.4, 0.9, 0.7])
        keep = scores > self.threshold
        masks = torch.zeros(3, 1, HEIGHT, WIDTH)
        masks[1, 0, 10:20, 30:50] = 1.0
        boxes = torch.tensor([[0.0, 0, 9, 9], [30, 10, 50, 20], [-3, 5, 400, 90]])
        state.update(scores=scores[keep], boxes=boxes[keep], masks_logits=masks[keep])


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The package ``sam3``, imitated; remembers how its models were built."""
    built: list[dict[str, Any]] = []
    for name in ("sam3", "sam3.model", "sam3.model_builder", "sam3.model.sam3_image_processor"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["sam3.model_builder"].build_sam3_image_model = (  # type: ignore[attr-defined]
        lambda **options: built.append(options) or "model"  # type: ignore[func-returns-value]
    )
    sys.modules["sam3.model.sam3_image_processor"].Sam3Processor = Processor  # type: ignore[attr-defined]
    return built


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Some file; the package is imitated."""
    path = tmp_path / "sam3.pt"
    path.write_bytes(b"weights")
    return path


def test_phrases_and_boxes_reach_the_package_and_its_objects_come_back(
    package: list[dict[str, Any]], checkpoint: Path
) -> None:
    reference = MetaReference(checkpoint, "cuda")
    assert package[0]["checkpoint_path"] == str(checkpoint)
    assert package[0]["load_from_HF"] is False
    assert reference.model.digest == f"sha256:{sha256_of(checkpoint)}"
    boxes = (Exemplar((32, 24, 96, 48)), Exemplar((160, 120, 320, 240), positive=False))
    prompts = (Prompt("scratch", 0.5), Prompt(VISUAL, 0.8, exemplars=boxes), Prompt("dent", 0.3, exemplars=boxes[:1]))
    found = reference.segment(samples.frame(), prompts).instances
    processor = reference._processor
    first, second = ([0.2, 0.15, 0.2, 0.1], True), ([0.75, 0.75, 0.5, 0.5], False)
    assert processor.told == [("model", "cuda"), "image", "scratch", first, second, "dent", first]
    assert [(i.prompt, round(i.score, 4)) for i in found] == [
        (prompts[0], 0.9), (prompts[0], 0.7), (prompts[1], 0.9), (prompts[2], 0.9), (prompts[2], 0.7), (prompts[2], 0.4)
    ]  # fmt: skip
    assert found[0].box == (30, 10, 50, 20)
    assert found[1].box == (0, 5, 320, 90)
    inside = np.argwhere(found[0].mask > 0)
    assert (inside.min(0).tolist(), inside.max(0).tolist()) == ([10, 30], [19, 49])
    assert np.isfinite(found[0].mask).all()
    reference.close()


@pytest.mark.usefixtures("package")
def test_multiplications_are_exact_while_it_runs_and_as_before_afterwards(checkpoint: Path) -> None:
    reference = MetaReference(checkpoint, "cuda")
    during: list[bool] = []
    reference._processor.set_image = lambda _: during.append(torch.backends.cudnn.allow_tf32) or {}
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    try:
        reference.segment(samples.frame(), ())
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert during == [False]


@pytest.mark.usefixtures("package")
def test_a_failure_of_the_package_is_an_engine_error(checkpoint: Path) -> None:
    reference = MetaReference(checkpoint, "cuda")

    def fail(_: torch.Tensor) -> dict[str, Any]:
        raise RuntimeError("CUDA out of memory")

    reference._processor.set_image = fail
    with pytest.raises(EngineError, match=r"failed on frame f+: CUDA out of memory"):
        reference.segment(samples.frame(), (Prompt("scratch"),))


def test_without_the_package_or_a_file_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    monkeypatch.setitem(sys.modules, "sam3", None)
    with pytest.raises(EngineError, match="needs its package on a machine with a GPU: pip install sam3"):
        MetaReference(checkpoint, "cuda")
    with pytest.raises(EngineError, match=r"reads its own files only"):
        MetaReference(checkpoint.parent, "cuda")
