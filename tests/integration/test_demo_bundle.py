"""The committed demo bundle: small, as good as its report says, and the report is a measurement."""

from __future__ import annotations

from pathlib import Path

from sam3edge.bundle.golden import run_golden
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files, verify
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge_pipeline.scenes import PHRASES
from sam3edge_pipeline.training.release import judge_bundle

CPU = OnnxOptions(providers=("CPUExecutionProvider",))


def test_it_is_whole_small_and_passes_its_golden_run(demo_bundle: Path) -> None:
    manifest = verify(demo_bundle, None)
    assert sum(p.stat().st_size for p in demo_bundle.rglob("*") if p.is_file()) <= 12 * 2**20
    assert set(manifest.vocabulary) == set(PHRASES)
    run_golden(demo_bundle, OnnxEngine(model_files(demo_bundle, manifest), CPU))


def test_it_finds_the_objects_of_held_out_scenes(demo_bundle: Path) -> None:
    report = read_manifest(demo_bundle).report
    assert report is not None
    assert report["scenes"] >= 200
    assert report["f1"] >= 0.80
    assert report["absent_answered"] <= 0.05
    again = judge_bundle(demo_bundle, scenes=16)
    assert isinstance(again["f1"], float)
    assert abs(again["f1"] - report["f1"]) < 0.15
