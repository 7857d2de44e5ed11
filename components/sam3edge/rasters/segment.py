"""From a raster of any size to features.

    raster -> looks -> tiles -> engine -> parts -> objects -> features

Tiles are looked at row by row, and features leave as soon as no later tile can touch them, so memory holds no more than
what a row of tiles shows. The engine has a thread of its own: while it has a tile, this thread joins what was found in
the one before, and reads the one after.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import SettingsError
from sam3edge.core.flow import DetectionOptions, Outlining, segment
from sam3edge.core.messages.detections import DetectionsMessage, FrameMember, collection
from sam3edge.core.messages.envelope import envelope, model_member, stable_id, timestamp
from sam3edge.core.messages.features import Feature, ModelMetadata, exact, feature
from sam3edge.core.polygons import SLIVER, areas_only
from sam3edge.core.ports import Engine
from sam3edge.core.types import Detection, Detections, Frame, Prompt
from sam3edge.geo.places import place_of
from sam3edge.geo.raster import area_of
from sam3edge.rasters.checkpoint import Checkpoint, Found, open_checkpoint
from sam3edge.rasters.grid import Tile
from sam3edge.rasters.joining import Joined, Joiner, Part
from sam3edge.rasters.looks import Look, looks_of
from sam3edge.rasters.options import RasterPrompt, SegmentOptions
from sam3edge.rasters.raster_file import RasterFile, View, open_raster_file

FORMAT = 1
"""Of what checkpoints keep; with another one, runs start again."""

SOURCE = "raster"
"""``source`` of what is found in rasters."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many tiles are done, and how many there are."""


def unwatched(done: int, total: int) -> None:
    """A ``Progress`` that nobody looks at."""


def segment_raster(
    path: str | Path,
    engine: Engine,
    prompts: Sequence[RasterPrompt],
    options: SegmentOptions | None = None,
    *,
    checkpoint: Path | None = None,
    progress: Progress = unwatched,
) -> Iterator[Feature]:
    """Find every instance of every prompt in a raster.

    Args:
        path: of the raster, see ``open_raster_file``.
        engine: used by one other thread, while this runs.
        checkpoint: file in which is kept what was found in tiles; a run that was ended and is started again with the
            same raster, model, prompts and options gives the same features, and looks at no tile twice.
        progress: called by this thread.

    Raises:
        FrameError: this raster cannot be read, or not looked at in this way.
        SettingsError: the prompts contradict each other, or the checkpoint cannot be used.
        EngineError: the model cannot run.
    """
    options = options or SegmentOptions()
    with ExitStack() as stack:
        raster = stack.enter_context(open_raster_file(path, options.reading))
        kept = None if checkpoint is None else stack.enter_context(open_checkpoint(checkpoint))
        yield from RasterRun(raster, engine, prompts, options, kept).features(progress)


class RasterRun:
    """One raster, one model and what it is asked; see ``segment_raster``.

    Attributes:
        unsupported_prompts: as in ``EngineOutput``, of the tiles so far.
    """

    def __init__(
        self,
        raster: RasterFile,
        engine: Engine,
        prompts: Sequence[RasterPrompt],
        options: SegmentOptions,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        if not prompts or len(set(prompts)) < len(prompts):
            raise SettingsError(f"expected prompts, each once, got {[p.prompt.text for p in prompts]}")
        self._raster, self._engine, self._prompts, self._options = raster, engine, tuple(prompts), options
        self._looks = looks_of(prompts, raster.ground, options)
        self._asked = [
            {replace(prompts[number].prompt, min_area=0.0): number for number in look.prompts} for look in self._looks
        ]
        self._checkpoint = checkpoint
        self._id = raster.digest.removeprefix("sha256:")[:32]
        run = repr((FORMAT, raster.identity, engine.model, self._prompts, options, self._looks))
        self._run = hashlib.sha256(run.encode("utf-8", "replace")).hexdigest()
        self.unsupported_prompts: dict[str, str] = {}

    def features(self, progress: Progress = unwatched) -> Iterator[Feature]:
        """Every object once, in the order in which they are complete; to be called once."""
        total, done = sum(look.count for look in self._looks), 0
        with ThreadPoolExecutor(1, "engine") as thread:
            for number, look in enumerate(self._looks):
                joiner = Joiner(look.grid, look.bounds)
                for tile, found in self._found(number, look, thread):
                    self.unsupported_prompts.update(found.unsupported_prompts)
                    yield from self._features(look, joiner.add(tile, found.parts))
                    done += 1
                    progress(done, total)
                yield from self._features(look, joiner.finish())

    def collection(self, device: str) -> DetectionsMessage:
        """The message that the features belong to, without them."""
        raster = self._raster
        frame: FrameMember = {
            "id": self._id,
            "name": raster.name,
            "captured_at": timestamp(raster.captured_at),
            "clock": raster.clock,
            "width": raster.size[0],
            "height": raster.size[1],
            "digest": raster.digest,
        }
        head = envelope(device, stable_id(device, self._id, self._run))
        prompts = [asked.prompt for asked in self._prompts]
        body = collection(head, SOURCE, frame, model_member(self._engine.model), prompts, {})
        body["unsupported_prompts"] = self.unsupported_prompts
        return body

    def _found(self, number: int, look: Look, thread: ThreadPoolExecutor) -> Iterator[tuple[Tile, Found]]:
        """What was found in each tile, in their order; one is always with the engine meanwhile."""
        waiting: deque[tuple[Tile, Callable[[], Found]]] = deque()
        for tile in look.tiles():
            waiting.append((tile, self._begun(number, look, tile, thread)))
            if len(waiting) > 1:
                before, found = waiting.popleft()
                yield before, found()
        for tile, found in waiting:
            yield tile, found()

    def _begun(self, number: int, look: Look, tile: Tile, thread: ThreadPoolExecutor) -> Callable[[], Found]:
        kept = None if self._checkpoint is None else self._checkpoint.found(self._run, number, tile)
        if kept is not None:
            return lambda: kept
        view = self._raster.read(look.in_raster(tile), look.grid.side)
        if not view.counts.any():
            return lambda: Found((), {})
        prompts = tuple(self._asked[number])
        options = DetectionOptions(prompts, self._options.tolerance, nms_iou=self._options.nms_iou)
        outlining = thread.submit(segment, self._engine, self._frame(view, tile), options)
        return partial(self._ended, number, look, tile, view, outlining)

    def _ended(self, number: int, look: Look, tile: Tile, view: View, outlining: Future[Outlining]) -> Found:
        detections = outlining.result()()
        parts = self._parts(self._asked[number], look, tile, view, detections)
        found = Found(parts, detections.unsupported_prompts)
        if self._checkpoint is not None:
            self._checkpoint.keep(self._run, number, tile, found)
        return found

    def _frame(self, view: View, tile: Tile) -> Frame:
        digest = hashlib.sha256(view.image.tobytes()).hexdigest()
        identity = f"{self._id}/{tile.row}/{tile.column}"
        raster = self._raster
        return Frame(identity, SOURCE, raster.name, view.image, raster.captured_at, f"sha256:{digest}", raster.clock)

    def _parts(
        self, asked: Mapping[Prompt, int], look: Look, tile: Tile, view: View, detections: Detections
    ) -> list[Part]:
        """Detections of a tile as far as they count, in pixels of the grid."""
        if not detections.detections:
            return []
        x, y, _, _ = look.grid.window(tile)
        counts = areas_only(shapely.intersection(_moved(area_of(view.counts), x, y), shapely.box(*look.bounds)))
        parts = []
        for detection in detections.detections:
            outline = _moved(detection.geometry, x, y)
            if not counts.covers(outline):
                outline = areas_only(shapely.intersection(outline, counts))
            if outline.area >= SLIVER:
                parts.append(Part(asked[detection.prompt], detection.score, outline))
        return parts

    def _features(self, look: Look, objects: Iterable[Joined]) -> Iterator[Feature]:
        for one in objects:
            prompt, outline = self._prompts[one.prompt].prompt, look.to_raster(one.outline)
            if outline.area > 0 and outline.area >= prompt.min_area:
                yield self._feature(Detection(prompt, one.score, outline.bounds, outline.area, outline))

    def _feature(self, detection: Detection) -> Feature:
        text, model, georeference = detection.prompt.text, self._engine.model, self._raster.georeference
        if georeference is not None:
            detection = replace(detection, place=place_of(detection.geometry, detection.box, georeference))
        by: ModelMetadata = {"modelName": model.name, "ontologyName": text, "ontologyVersion": model.version}
        identity = stable_id(self._id, "feature", text, detection.prompt.name, detection.geometry.wkb_hex)
        return feature(identity, detection, exact(detection), self._raster.name, by)


def _moved(outline: Polygon | MultiPolygon, x: float, y: float) -> Polygon | MultiPolygon:
    by = np.array([x, y])
    return shapely.transform(outline, lambda at: at + by)
