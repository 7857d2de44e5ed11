"""Scenes as labelled examples: the generator knows every object, as a perfect labeler would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.polygons import outline_of
from sam3edge_pipeline.datasets.examples import Example, LabeledObject, Split
from sam3edge_pipeline.synthetic.scene import PHRASES, Scene, SceneInstance, draw_scene

FIRST = datetime(2026, 1, 1, tzinfo=timezone.utc)


def labelled(seeds: Iterable[int], split: Split, folder: Path, phrases: Sequence[str] = PHRASES) -> list[Example]:
    """Draw scenes into ``folder`` as PNG files, and say where their objects of ``phrases`` are."""
    folder.mkdir(parents=True, exist_ok=True)
    return [example_of(draw_scene(seed), split, folder, phrases) for seed in seeds]


def example_of(scene: Scene, split: Split, folder: Path, phrases: Sequence[str] = PHRASES) -> Example:
    """One scene; taken a minute after the one of the seed before."""
    content = cv2.imencode(".png", np.ascontiguousarray(scene.image[..., ::-1]))[1].tobytes()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.png"
    path.write_bytes(content)
    height, width = scene.image.shape[:2]
    return Example(
        digest,
        path,
        width,
        height,
        f"scene-{scene.seed}",
        FIRST + timedelta(minutes=scene.seed % 500_000),
        objects_of(scene, phrases),
        tuple(phrases),
        split,
    )


def objects_of(scene: Scene, phrases: Sequence[str] = PHRASES) -> tuple[LabeledObject, ...]:
    """What a labeler would outline."""
    seen = (one for one in (*scene.instances, *scene.others) if one.phrase in phrases)
    return tuple(LabeledObject(one.phrase, _outline(one)) for one in seen)


def _outline(instance: SceneInstance) -> Polygon | MultiPolygon:
    height, width = instance.mask.shape
    return outline_of(np.where(instance.mask, 1.0, -1.0).astype(np.float32), width, height)
