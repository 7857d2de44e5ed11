"""From a training checkpoint to the demo bundle, judged on held-out scenes with the device's own engine.

python -m sam3edge_pipeline.training.release --checkpoint runs/demo/last.pt --out assets/demo-bundle
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch

from sam3edge.bundle.manifest import Manifest, read_manifest, sha256_of
from sam3edge.bundle.verify import model_files
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge_export.bundle import Recipe, add_report, build_bundle, moment, replace_bundle
from sam3edge_pipeline.scenes import PHRASES, draw_scene
from sam3edge_pipeline.training.judge import judge
from sam3edge_pipeline.training.model import word_tokenizer
from sam3edge_pipeline.training.train import HELD_OUT_SEEDS, Learner

log = logging.getLogger(__name__)

GOLDEN_SEED = 2_000_007

LICENSE = """The weights in this bundle were trained from scratch on synthetic scenes that the seeded scripts of this
repository draw. No weights of Meta's SAM 3 are in it. They are licensed as the repository is: Apache License 2.0.
"""


def release(checkpoint: Path, out: Path, version: str, scenes: int) -> Manifest:
    """Export the averaged weights, judge them, and put the bundle in place of the one that was there."""
    learner = Learner()
    learner.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    recipe = Recipe(
        name="sam3edge-demo",
        version=version,
        phrases=PHRASES,
        weights="fp16",
        text_encoder=False,
        golden_image=draw_scene(GOLDEN_SEED).image[::2, ::2],
        source_sha256=sha256_of(checkpoint),
        license_text=LICENSE,
    )
    fresh = out.with_name(out.name + ".new")
    manifest = build_bundle(learner.model, word_tokenizer(), recipe, fresh)
    report = judge_bundle(fresh, scenes)
    manifest = add_report(fresh, manifest, report)
    replace_bundle(fresh, out)
    log.info("%s", json.dumps(report))
    return manifest


def judge_bundle(bundle: Path, scenes: int) -> dict[str, object]:
    """The report of a bundle on ``scenes`` held-out scenes."""
    engine = OnnxEngine(model_files(bundle, read_manifest(bundle)), OnnxOptions(("CPUExecutionProvider",)))
    report = judge(engine, HELD_OUT_SEEDS[:scenes])
    engine.close()
    return {"date": moment(), "seeds": f"{HELD_OUT_SEEDS[0]}..{HELD_OUT_SEEDS[scenes - 1]}", **report}


def main() -> None:
    """Read the command line and release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--scenes", type=int, default=len(HELD_OUT_SEEDS), help="held-out scenes to judge by")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    release(arguments.checkpoint, arguments.out, arguments.version, arguments.scenes)


if __name__ == "__main__":
    main()
