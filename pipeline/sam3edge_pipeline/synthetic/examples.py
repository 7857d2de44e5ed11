"""Synthetic scenes as labelled images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.polygons import outline_of
from sam3edge_pipeline.datasets.examples import Example, LabeledObject, Split
from sam3edge_pipeline.synthetic.canvas import Mask
from sam3edge_pipeline.synthetic.scene import HELD_OUT_SEEDS, PHRASES, Scene, draw_scene

VALIDATION_SEEDS, TEST_SEEDS = HELD_OUT_SEEDS[:60], HELD_OUT_SEEDS[60:]
"""Held-out scenes to choose by, which are those that training shows its progress on, and to judge by."""


def write_examples(
    seeds: Sequence[int], folder: Path, split: Split, phrases: Sequence[str] = PHRASES
) -> tuple[Example, ...]:
    """Draw scenes, write them as PNG into a folder, which is made, and say all that is known of them: everything.

    Args:
        phrases: that are labeled; ``overhead.TANK`` may be among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_write(seed, folder, split, phrases) for seed in seeds)


def labels_of(scene: Scene, phrases: Sequence[str] = PHRASES) -> tuple[LabeledObject, ...]:
    """What a labeler who misses nothing would outline."""
    seen = (one for one in (*scene.instances, *scene.others) if one.phrase in phrases)
    return tuple(LabeledObject(one.phrase, _outline_of(one.mask)) for one in seen)


def _write(seed: int, folder: Path, split: Split, phrases: Sequence[str]) -> Example:
    scene = draw_scene(seed)
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(scene.image[..., ::-1]))
    data = encoded.tobytes()
    path = folder / f"scene-{seed}.png"
    path.write_bytes(data)
    height, width = scene.image.shape[:2]
    return Example(
        id=hashlib.sha256(data).hexdigest(),
        image=path,
        width=width,
        height=height,
        group=f"scene-{seed}",
        captured_at=datetime.fromtimestamp(0, timezone.utc),
        objects=labels_of(scene, phrases),
        exhaustive=tuple(phrases),
        split=split,
    )


def _outline_of(mask: Mask) -> Polygon | MultiPolygon:
    """Between the pixels of the mask and the others, corners cut; the pixels whose centre is inside are the mask's."""
    height, width = mask.shape
    return outline_of(np.where(mask, 1, -1).astype(np.float32), width, height)
