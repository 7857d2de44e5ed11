"""The committed demo bundle: small, as good as its report says, and the report is a measurement."""

from __future__ import annotations

import json
from pathlib import Path

from sam3edge.bundle.golden import run_golden
from sam3edge.bundle.verify import model_files, verify
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge_export.checkpoint import read_checkpoint
from sam3edge_pipeline.evaluation.bundle import judge_bundle
from sam3edge_pipeline.synthetic import PHRASES

CPU = OnnxOptions(providers=("CPUExecutionProvider",))


def test_it_is_whole_small_and_passes_its_golden_run(demo_bundle: Path) -> None:
    manifest = verify(demo_bundle, None)
    assert sum(p.stat().st_size for p in demo_bundle.rglob("*") if p.is_file()) <= 12 * 2**20
    assert set(manifest.vocabulary) == set(PHRASES)
    run_golden(demo_bundle, OnnxEngine(model_files(demo_bundle, manifest), CPU))


def test_it_was_exported_from_the_committed_checkpoint_and_passed_the_gate(demo_bundle: Path) -> None:
    manifest = verify(demo_bundle, None)
    assert manifest.source_sha256 == read_checkpoint(demo_bundle.with_name("demo-checkpoint")).sha256
    assert manifest.parity is not None
    assert manifest.parity["passed"]
    assert manifest.parity["objects"] >= 50


def test_it_finds_the_objects_of_held_out_scenes(demo_bundle: Path) -> None:
    report = json.loads(demo_bundle.with_name("demo-quality.json").read_text())
    assert report["bundle"] == verify(demo_bundle, None).digest()
    assert report["scenes"] >= 200
    assert report["f1"] >= 0.80
    assert report["absent_answered"] <= 0.05
    again = judge_bundle(demo_bundle, scenes=16)
    assert isinstance(again["f1"], float)
    assert abs(again["f1"] - report["f1"]) < 0.15
