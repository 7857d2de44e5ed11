"""Judge a bundle on scenes whose every object is known: what a device would publish against what is there.

python -m sam3edge_pipeline.evaluation.bundle assets/demo-bundle --out assets/demo-quality.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.masks import rasterize
from sam3edge.core.matching import mask_iou, pair_in_order
from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Prompt
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
from sam3edge_pipeline.synthetic import HELD_OUT_SEEDS, PHRASES, Scene, draw_scene

OVERLAP = 0.5
"""A true object is found when a published one covers it with at least this intersection over union."""


def judge(engine: Engine, seeds: Sequence[int], threshold: float = 0.5, suppress: float = 0.5) -> dict[str, object]:
    """Ask for every phrase in every scene, at full resolution.

    Returns:
        ``f1``, ``precision`` and ``recall`` of masks at IoU 0.5 over the prompts that are present, ``absent_answered``,
        the share of absent prompts with any instance, ``mean_iou`` of found objects, and ``f1_by_phrase``.
    """
    prompts = [Prompt(phrase, threshold) for phrase in PHRASES]
    found, wanted, given = (dict.fromkeys(PHRASES, 0) for _ in range(3))
    absent = answered = 0
    overlaps: list[float] = []
    for seed in seeds:
        scene = draw_scene(seed)
        frame = frame_of(scene)
        detections = to_detections(engine.segment(frame, prompts), frame, engine.model, nms_iou=suppress).detections
        for phrase in PHRASES:
            truth = [i.mask for i in scene.instances if i.phrase == phrase]
            ours = [d for d in detections if d.prompt.text == phrase]
            if not truth:
                absent += 1
                answered += bool(ours)
                continue
            overlap = mask_iou([rasterize(d.geometry, frame.width, frame.height) for d in ours], truth)
            hits = pair_in_order(overlap, OVERLAP)
            overlaps += [float(overlap[pair]) for pair in hits]
            found[phrase] += len(hits)
            wanted[phrase] += len(truth)
            given[phrase] += len(ours)
    hits_, wants, gives = sum(found.values()), sum(wanted.values()), sum(given.values())
    return {
        "scenes": len(seeds),
        "threshold": threshold,
        "f1": round(2 * hits_ / max(1, wants + gives), 4),
        "precision": round(hits_ / max(1, gives), 4),
        "recall": round(hits_ / max(1, wants), 4),
        "mean_iou": round(float(np.mean(overlaps)) if overlaps else 0.0, 4),
        "absent_answered": round(answered / max(1, absent), 4),
        "f1_by_phrase": {p: round(2 * found[p] / max(1, wanted[p] + given[p]), 3) for p in PHRASES},
    }


def frame_of(scene: Scene) -> Frame:
    """A scene as a frame."""
    digest = "sha256:" + hashlib.sha256(scene.image.tobytes()).hexdigest()
    name = f"scene-{scene.seed}"
    return Frame(name, "scenes", name, scene.image, datetime.fromtimestamp(0, timezone.utc), digest)


def judge_bundle(bundle: Path, scenes: int) -> dict[str, object]:
    """The report of a bundle on ``scenes`` held-out scenes, with the engine that devices have."""
    manifest = verify(bundle, None)
    engine = open_engine(model_files(bundle, manifest), OnnxOptions(("CPUExecutionProvider",)))
    try:
        report = judge(engine, HELD_OUT_SEEDS[:scenes])
    finally:
        engine.close()
    seeds = f"{HELD_OUT_SEEDS[0]}..{HELD_OUT_SEEDS[scenes - 1]}"
    return {"bundle": manifest.digest(), "model": f"{manifest.name} {manifest.version}", "seeds": seeds, **report}


def main() -> None:
    """Read the command line, judge, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the report")
    parser.add_argument("--scenes", type=int, default=len(HELD_OUT_SEEDS), help="held-out scenes to judge by")
    arguments = parser.parse_args()
    report = json.dumps(judge_bundle(arguments.bundle, arguments.scenes), indent=1)
    arguments.out.write_text(report + "\n", encoding="utf-8")
    sys.stdout.write(report + "\n")


if __name__ == "__main__":
    main()
