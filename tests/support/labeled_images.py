"""Small images and labels for tests of datasets and labeling."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import shapely

from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent
from sam3edge_pipeline.datasets.store import Dataset
from support.samples import red_square

WIDTH, HEIGHT = 320, 240


def at(hour: int) -> datetime:
    """A day in May."""
    return datetime(2026, 5, 1, hour, tzinfo=timezone.utc)


def write_image(path: Path, x: int = 100) -> str:
    """A PNG of 320 x 240 pixels with a red square at ``x``, 80; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", np.ascontiguousarray(red_square(x)[:, :, ::-1]))
    assert done
    path.write_bytes(data.tobytes())
    return hashlib.sha256(data.tobytes()).hexdigest()


def square(x: float, phrase: str = "red", ignored: bool = False) -> LabeledObject:
    """The outline of the square at ``x``."""
    return LabeledObject(phrase, shapely.orient_polygons(shapely.box(x, 80, x + 60, 140)), ignored)


def record(
    path: Path, image: str, group: str = "line", hour: int = 8, perceptual_hash: int | None = None
) -> ImageRecord:
    """What is known of an image of ``write_image``."""
    return ImageRecord(image, path.suffix, WIDTH, HEIGHT, group, at(hour), perceptual_hash, path.name)


def event(image: str, hour: int, *xs: float, phrase: str = "red", approved: bool = True) -> LabelEvent:
    """At that hour somebody saw all squares of a phrase at ``xs``."""
    objects = tuple(square(x, phrase) for x in xs)
    return LabelEvent(image, phrase, objects, True, at(hour), approved, "job-1", "ann", "ab" * 32)


def dataset(folder: Path, count: int = 3) -> Dataset:
    """``count`` images with a square each, the first for training, the others for testing; all lack anything blue."""
    images, events = {}, []
    for number in range(count):
        path = folder / f"{number}.png"
        image = write_image(path, 10 + 40 * number)
        images[image] = record(path, image, f"line/{number}", perceptual_hash=number), path
        events += [event(image, 9, 10 + 40 * number), event(image, 9, phrase="blue")]
    splits = {image: ("test" if number else "train") for number, image in enumerate(images)}
    return Dataset(images, tuple(sorted(events, key=lambda e: (e.image, e.phrase))), splits)  # type: ignore[arg-type]
