"""A review queue for tests, and an uploaded example as a device writes it."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
import shapely.affinity

from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.types import Detections, Prompt
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.labels import ImageRecord
from sam3edge_pipeline.labeling.prelabels import PreLabeled, Proposal
from sam3edge_pipeline.labeling.review.queue import ReviewQueue, create_queue
from sam3edge_pipeline.synthetic.examples import labels_of
from sam3edge_pipeline.synthetic.scene import Scene, draw_scene
from support.labeled_images import at, record, square, write_image
from support.samples import MODEL, detection, frame


def ticking() -> Callable[[], datetime]:
    """A clock that advances by a second whenever it is read."""
    seconds = itertools.count()
    return lambda: at(12) + timedelta(seconds=next(seconds))


def queue(folder: Path, count: int = 1, phrases: tuple[str, ...] = ("red", "blue")) -> ReviewQueue:
    """Images with a red square each; proposed are the square and one beside it."""
    made = create_queue(folder / "queue", "job-1")
    for number in range(count):
        path = folder / f"{number}.png"
        image = write_image(path, 100 + number)
        proposals = (
            Proposal("red", square(100 + number).outline, 0.9),
            Proposal("red", square(220).outline, 0.4),
        )
        made.add(PreLabeled(record(path, image), phrases, proposals, "uncertain: 0.4"), path.read_bytes())
    return made


@functools.cache
def scene(seed: int) -> Scene:
    """A synthetic scene, drawn once a process."""
    return draw_scene(seed)


@functools.cache
def objects_of(seed: int) -> tuple[LabeledObject, ...]:
    """All objects of a synthetic scene."""
    return labels_of(scene(seed))


def scene_queue(folder: Path, *seeds: int) -> ReviewQueue:
    """Scenes with a scratch, as a model might propose their objects: what is there in its order, but the first scratch
    beside where it is; then, at a corner, a scratch that is none. ``ship`` is to be decided, too, and absent.
    """
    made = create_queue(folder / "queue", "job-1")
    for seed in seeds:
        path = folder / f"scene-{seed}.png"
        height, width = scene(seed).image.shape[:2]
        cv2.imwrite(str(path), np.ascontiguousarray(scene(seed).image[..., ::-1]))
        proposals = [Proposal(one.phrase, one.outline, 0.9) for one in objects_of(seed)]
        wrong = scratch_of(seed)
        beside = shapely.affinity.translate(proposals[wrong].outline, 11, -7)
        proposals[wrong] = Proposal("scratch", shapely.intersection(beside, shapely.box(0, 0, width, height)), 0.6)
        proposals.append(Proposal("scratch", shapely.orient_polygons(shapely.box(4, 4, 40, 30)), 0.4))
        phrases = tuple(dict.fromkeys([*(one.phrase for one in proposals), "ship"]))
        image = hashlib.sha256(path.read_bytes()).hexdigest()
        known = ImageRecord(image, ".png", width, height, "line", at(8), None, f"<i>line</i>/{path.name}")
        made.add(PreLabeled(known, phrases, tuple(proposals), "uncertain: 0.4"), path.read_bytes())
    return made


def scratch_of(seed: int) -> int:
    """Index of the first scratch among a scene's objects."""
    return [one.phrase for one in objects_of(seed)].index("scratch")


def uploaded(scale: float = 0.5, cloud: bool = False, **changed: Any) -> tuple[bytes, bytes]:
    """``example.json`` and ``frame.jpg`` of a frame of 320 x 240 pixels with a box at 100, 80, 160, 140.

    Args:
        scale: of the JPEG's sides to the frame's.
        cloud: whether the cloud has found something, too: a box at 0, 0, 10, 10.
        changed: other members of the document.
    """
    taken, prompts = frame(), (Prompt("Red"), Prompt("dent"))
    _, encoded = cv2.imencode(".jpg", np.zeros((round(240 * scale), round(320 * scale), 3), np.uint8))
    jpeg = bytes(encoded.tobytes())

    def message(box: shapely.Polygon) -> Any:
        found = Detections(MODEL, (detection(box, prompts[0]),), {}, {})
        [whole] = encode(frame_result("thing-1", taken, prompts, found), "", 1 << 30, 0)
        return json.loads(whole.payload)

    document = {
        "format": 1,
        "frame": {
            "id": taken.id,
            "source": taken.source,
            "name": taken.name,
            "captured_at": taken.captured_at.isoformat(),
            "width": 320,
            "height": 240,
            "digest": taken.digest,
        },
        "image": {
            "width": round(320 * scale),
            "height": round(240 * scale),
            "sha256": hashlib.sha256(jpeg).hexdigest(),
        },
        "reason": {"kind": "uncertain", "detail": "0.41"},
        "model": {"name": "demo", "version": "1.2.3", "digest": "", "precision": "fp32", "provider": "cpu"},
        "prompts": [{"text": p.text, "threshold": 0.5, "label": p.name} for p in prompts],
        "prompts_digest": "sha256:" + "0" * 64,
        "perceptual_hash": "00ff00ff00ff00ff",
        "device": message(shapely.box(100, 80, 160, 140)),
        "cloud": message(shapely.box(0, 0, 10, 10)) if cloud else None,
        **changed,
    }
    return json.dumps(document).encode(), jpeg
