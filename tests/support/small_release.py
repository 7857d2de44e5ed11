"""A small SAM 3 with random weights as a released bundle, every graph included."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sam3edge_export import build
from sam3edge_export.build import BundleSpec, build_bundle
from sam3edge_export.checkpoint import Checkpoint
from sam3edge_export.onnx.precision import precision_named
from sam3edge_export.parity.fixtures import read_fixtures
from sam3edge_export.parity.gate import ByLogits
from support.made_once import made_once
from support.small_sam3 import LENGTH, PHRASES, small_bundle, small_model, small_tracker

SCENES = Path(__file__).parents[2] / "assets" / "scenes"


def small_release(factory: pytest.TempPathFactory) -> Path:
    """The bundle, made once a run and not to be changed."""
    graphs = small_bundle(factory)

    def release(folder: Path) -> None:
        checkpoint = Checkpoint("transformers", small_model(), small_tracker(), "0" * 64, ())
        spec = BundleSpec(
            "small", "1.0.0", PHRASES, precision_named("fp32"), frozenset({"exemplars", "interactive"}), "None.\n"
        )
        with mock.patch.object(build, "export_graphs", copy):
            built = build_bundle(
                checkpoint, _tokenizer(), spec, read_fixtures(SCENES, PHRASES, 2), ByLogits(), folder / "small-1.0.0"
            )
        assert built.parity.passed, built.parity.failures

    def copy(model: Any, folder: Path, *_: Any) -> None:
        for graph in graphs.glob("*.onnx"):
            if graph.name != "text.onnx":
                shutil.copy(graph, folder)

    return made_once(factory, "small-release", release) / "small-1.0.0"


def _tokenizer() -> Tokenizer:
    """Whole words, in the model's vocabulary of 16."""
    vocabulary = {"<pad>": 0, "<start>": 1, "<end>": 2, **{word: 5 + i for i, word in enumerate(PHRASES)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0, pad_token="<pad>")
    return tokenizer
