"""Rasters with things of one colour each, engines that see colours, and what comes out of both."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio.transform import Affine
from shapely import affinity
from shapely.geometry import MultiPolygon, Polygon, shape

from sam3edge.core.errors import EngineError
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.matching import outline_iou, pair_best_first
from sam3edge.core.messages.features import Feature
from sam3edge.core.ports import Engine
from sam3edge.core.types import EngineOutput, Frame, Instance, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.options import RasterPrompt, SegmentOptions
from sam3edge.rasters.segment import segment_raster
from sam3edge_pipeline.synthetic.canvas import Canvas
from sam3edge_pipeline.synthetic.overhead import draw_overhead
from support.places import not_yet_georeferenced
from support.samples import frame

Outline = Polygon | MultiPolygon

GROUND = 90
RED = RasterPrompt(Prompt("red"))
SMALL = SegmentOptions(tile=128)
UTM = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 391_000, 0, -0.5, 5_820_000)}


class Shades(FakeEngine):
    """Tells touching things apart: every connected region of exactly one shade of a prompt's colour is an instance."""

    def _find(self, frame: Frame, prompt: Prompt) -> list[Instance]:
        pixels = frame.image.reshape(-1, 3)
        shades = np.unique(pixels[(pixels[:, 0] > 150) & (pixels[:, 1:].max(1) < 60)], axis=0)
        found: list[Instance] = []
        for shade in shades:
            only = np.where((frame.image == shade).all(2, keepdims=True), np.uint8([255, 0, 0]), np.uint8(GROUND))
            found += super()._find(Frame(frame.id, "", "", only, frame.captured_at, ""), prompt)
        return found


class Alive(FakeEngine):
    """Knows how many of the frames that it was given are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.most, self.frames = 0, 0
        self._given: list[weakref.ref[Any]] = []

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """See ``Engine``."""
        self.frames += 1
        self._given = [*(given for given in self._given if given() is not None), weakref.ref(frame.image)]
        self.most = max(self.most, len(self._given))
        return super().segment(frame, prompts)


class Failing(Alive):
    """Fails at one of its tiles, as a model does that has no memory left.

    Args:
        at: number of tiles before it.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """See ``Engine``."""
        if self.frames == self._at:
            raise EngineError("no memory left")
        return super().segment(frame, prompts)


def ground(width: int, height: int) -> npt.NDArray[np.uint8]:
    """A grey picture, uint8 [h, w, 3]."""
    return np.full((height, width, 3), GROUND, np.uint8)


def scattered(seed: int, width: int, height: int, largest: float, count: int = 60) -> npt.NDArray[np.uint8]:
    """Red things on grey ground, some of them larger than ``largest``: blots, bars, rings and horseshoes."""
    rng = np.random.default_rng(seed)
    image, taken = ground(width, height), []
    for _ in range(count):
        size = float(rng.choice([0.2, 0.4, 0.8, 1.6, 3.0], p=[0.3, 0.3, 0.2, 0.1, 0.1])) * largest
        one = affinity.rotate(_thing(int(rng.integers(4)), max(size, 12.0)), float(rng.uniform(0, 180)), origin=(0, 0))
        one = affinity.translate(one, *map(float, rng.uniform((0, 0), (width, height))))
        if all(one.distance(other) > 8 for other in taken):
            taken.append(one)
            rings = [np.round(np.asarray(ring.coords)).astype(np.int32) for ring in (one.exterior, *one.interiors)]
            cv2.fillPoly(image, rings, (255, 0, 0))
    return image


def _thing(kind: int, size: float) -> Polygon:
    half = size / 2
    blot = shapely.Point(0, 0).buffer(half)
    if kind == 0:
        return affinity.scale(blot, 1.0, 0.7)
    if kind == 1:
        return shapely.box(-half, -max(5.0, size / 8), half, max(5.0, size / 8))
    ring = blot.difference(blot.buffer(-max(6.0, size / 5)))
    return ring if kind == 2 else ring.difference(shapely.box(-size, 0, size, size))


def write(path: Path, image: npt.NDArray[Any], **profile: Any) -> Path:
    """A TIFF of [h, w, bands] or [h, w]."""
    bands = np.atleast_3d(image).transpose(2, 0, 1)
    kind = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with not_yet_georeferenced(), rasterio.open(path, "w", dtype=bands.dtype.name, **kind, **profile) as dataset:
        dataset.write(bands)
    return path


@contextmanager
def changed(path: Path) -> Iterator[Any]:
    """A raster, opened to be changed."""
    with not_yet_georeferenced(), rasterio.open(path, "r+") as dataset:
        yield dataset


def features(
    path: Path,
    options: SegmentOptions = SMALL,
    engine: Engine | None = None,
    prompts: Sequence[RasterPrompt] = (RED,),
    checkpoint: Path | None = None,
) -> list[Feature]:
    """Everything that is found in a raster."""
    return list(segment_raster(path, engine or FakeEngine(), prompts, options, checkpoint=checkpoint))


def outlines(found: Sequence[Feature], dx: float = 0.0, dy: float = 0.0) -> list[Outline]:
    """In pixels of the raster, moved."""
    return [affinity.translate(shape(one["properties"]["imageGeometry"]), dx, dy) for one in found]


def in_one_look(image: npt.NDArray[np.uint8], engine: Engine | None = None) -> list[Outline]:
    """What an engine finds in all of a picture at once."""
    found = detect(engine or FakeEngine(), frame(image), DetectionOptions((RED.prompt,)))
    return [one.geometry for one in found.detections]


def share_of_same(one: Sequence[Outline], other: Sequence[Outline], iou: float = 0.95) -> float:
    """Share of all, 0..1, that have a partner on the other side with this intersection over union."""
    if not one or not other:
        return float(not one and not other)
    return 2 * len(pair_best_first(outline_iou(one, other), iou)) / (len(one) + len(other))


def within(found: Sequence[Outline], *box: float) -> list[Outline]:
    """Those that lie in a box as a whole."""
    return [one for one in found if shapely.box(*box).contains(one)]


def drawn_from_above(seed: int, width: int, height: int, crowd: int) -> npt.NDArray[np.uint8]:
    """A harbour, town or farmland as the demo model knows them, of any size, with about so many small things."""
    canvas = Canvas(np.zeros((height, width, 3), np.float32), np.random.default_rng(seed))
    draw_overhead(canvas, crowd)
    noise = canvas.rng.normal(0, 2, canvas.image.shape)
    return np.clip(cv2.GaussianBlur(canvas.image, (0, 0), 0.7) + noise, 0, 255).astype(np.uint8)
