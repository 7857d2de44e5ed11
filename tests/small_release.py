"""A small SAM 3 with random weights as anybody would release it: ``sam3.pt`` in Meta's layout, and the bundle that the
export command makes of it, every graph included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from typer.testing import CliRunner

from made_once import made_once
from meta_layout import fill, meta_layout, small_config
from sam3edge_export.cli import app

SCENES = Path(__file__).parents[1] / "assets" / "scenes"
LICENSE = "SAM License\n"
BUNDLE = "small-1.0.0"


def small_release(factory: pytest.TempPathFactory) -> Path:
    """The bundle, made once a run and not to be changed; ``<bundle>.report`` is beside it."""
    return made_once(factory, "small-release", _release) / BUNDLE


def _release(folder: Path) -> None:
    config, interactive = small_config()
    config.text_config.vocab_size = 49408  # CLIP's, which Meta's tokenizer has
    config.save_pretrained(folder)
    with torch.device("meta"):
        entries = meta_layout(Sam3Model(config), Sam3TrackerModel(interactive))
    torch.save(fill(entries), folder / "sam3.pt")
    (folder / "LICENSE").write_text(LICENSE)
    (folder / "prompts.txt").write_text("car\nnaïve café\nvisual\n")
    options = {
        "--checkpoint": folder / "sam3.pt",
        "--config": folder / "config.json",
        "--prompts": folder / "prompts.txt",
        "--images": SCENES,
        "--image-limit": 2,
        "--precision": "fp32",
        "--out": folder / BUNDLE,
    }
    given = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(app, [*given, "--untrained"])
    assert result.exit_code == 0, result.output
