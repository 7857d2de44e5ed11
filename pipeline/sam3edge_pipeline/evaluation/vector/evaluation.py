"""Detections on a raster against a truth on a map: pixel by pixel and object by object, with pictures."""

from __future__ import annotations

import heapq
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam3edge_pipeline.evaluation.vector.classes import Classes
from sam3edge_pipeline.evaluation.vector.dates import Period, date_warnings
from sam3edge_pipeline.evaluation.vector.grid import WINDOW, Block, Grid, open_grid
from sam3edge_pipeline.evaluation.vector.maps import MapPictures, draw_maps
from sam3edge_pipeline.evaluation.vector.objects import ObjectFigures, match_class
from sam3edge_pipeline.evaluation.vector.pixels import Compared, Comparison, confusion
from sam3edge_pipeline.evaluation.vector.preparation import (
    DetectionColumns,
    Prepared,
    TruthColumns,
    prepare_detections,
    prepare_truth,
)
from sam3edge_pipeline.evaluation.vector.source import VectorSource

OVERVIEW, DETAIL = 1000, 512
"""Pixels: of the pictures of all of the raster, and of the raster that a close-up shows."""

CLOSE_UPS = 6
"""Of where most is wrong."""

OnWindow = Callable[[int, int], None]
"""Called after each window with how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How detections are compared with the truth.

    Attributes:
        iou: intersection over union of outlines from which on an object is found.
        blur: side of the median filter over the detected classes, pixels, odd; 1 for none.
        max_days: between raster and truth, before the reader is warned.
        raster_date, truth_date: where files do not say it, or say it wrongly.
    """

    iou: float = 0.5
    blur: int = 1
    max_days: int = 90
    raster_date: Period | None = None
    truth_date: Period | None = None


@dataclass(frozen=True, slots=True)
class MapInputs:
    """What is compared.

    Attributes:
        raster: the image that the detections were made on.
        detections, truth: vector files.
        classes: which value of the truth is which prompt.
    """

    raster: Path
    detections: VectorSource
    truth: VectorSource
    classes: Classes
    detection_columns: DetectionColumns = field(default_factory=DetectionColumns)
    truth_columns: TruthColumns = field(default_factory=TruthColumns)


@dataclass(frozen=True, slots=True, eq=False)
class MapEvaluation:
    """What came of it.

    Attributes:
        raster: its file's name.
        size: its width and height, pixels.
        crs: the name of its reference system.
        raster_date, truth_date: None where they are not known.
        names: of the classes, the background first.
        by_value: prompts of the truth's values.
        detections, truth: what became of the files.
        confusion: int64 [K, K], pixels by true class (rows) and detected class (columns).
        ambiguous: pixels of which the truth says two classes.
        objects: by prompt.
        warnings: what a reader must know.
        overview: pictures of all of the raster.
        close_ups: of where most is wrong, with how many pixels are.
    """

    raster: str
    size: tuple[int, int]
    crs: str
    raster_date: Period | None
    truth_date: Period | None
    names: tuple[str, ...]
    by_value: dict[str, str]
    detections: Prepared
    truth: Prepared
    confusion: npt.NDArray[np.int64]
    ambiguous: int
    objects: dict[str, ObjectFigures]
    warnings: tuple[str, ...]
    overview: MapPictures
    close_ups: tuple[tuple[int, MapPictures], ...]


def evaluate_map(inputs: MapInputs, options: MapOptions, on_window: OnWindow | None = None) -> MapEvaluation:
    """Compare; memory is that of a window, and of the outlines of one class.

    Raises:
        GeoreferenceError: the raster is not one that can be compared on.
        VectorFileError: detections or truth cannot be read, or are elsewhere.
        SettingsError: there are too many classes.
    """
    with open_grid(inputs.raster) as grid, tempfile.TemporaryDirectory(prefix="sam3edge-evaluation-") as scratch:
        folder = Path(scratch)
        truth = prepare_truth(inputs.truth, inputs.truth_columns, inputs.classes, grid, folder / "truth.gpkg")
        found = prepare_detections(
            inputs.detections, inputs.detection_columns, inputs.classes, grid, folder / "detections.gpkg"
        )
        comparison = Comparison(grid, found.areas, truth.areas, options.blur)
        names = inputs.classes.names
        seen = _Seen(grid, len(names))
        total = math.ceil(grid.width / WINDOW) * math.ceil(grid.height / WINDOW)
        for number, compared in enumerate(comparison.windows(), 1):
            seen.see(compared)
            if on_window is not None:
                on_window(number, total)
        prompts = inputs.classes.prompts
        objects = {
            prompt: match_class(found.areas, truth.areas, number, options.iou)
            for number, prompt in enumerate(prompts, 1)
        }
        whole = (0, 0, grid.width, grid.height)
        overview = draw_maps(grid, whole, seen.predicted, seen.truth, seen.has_data, prompts, OVERVIEW)
        close_ups = []
        for wrong, block in seen.worst():
            one = comparison.at(block)
            close_ups.append((wrong, draw_maps(grid, block, one.predicted, one.truth, one.has_data, prompts, DETAIL)))
        raster_date, truth_date = options.raster_date or grid.date, options.truth_date or truth.dates
        warnings = (*date_warnings(raster_date, truth_date, options.max_days), *_about(found, truth, seen))
        return MapEvaluation(
            raster=grid.name,
            size=(grid.width, grid.height),
            crs=grid.crs.name,
            raster_date=raster_date,
            truth_date=truth_date,
            names=names,
            by_value=inputs.classes.by_value,
            detections=found,
            truth=truth,
            confusion=seen.confusion,
            ambiguous=seen.ambiguous,
            objects=objects,
            warnings=warnings,
            overview=overview,
            close_ups=tuple(close_ups),
        )


class _Seen:
    """What is kept of the windows: sums, a thinned-out picture, and where most is wrong."""

    def __init__(self, grid: Grid, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.ambiguous = 0
        self._step = math.ceil(max(grid.width, grid.height) / OVERVIEW)
        size = math.ceil(grid.height / self._step), math.ceil(grid.width / self._step)
        self.predicted, self.truth = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self.has_data = np.zeros(size, bool)
        self._worst: list[tuple[int, Block]] = []

    def see(self, compared: Compared) -> None:
        """Add a window."""
        self.confusion += confusion(compared, len(self.confusion))
        self.ambiguous += compared.ambiguous
        x0, y0, x1, y1 = compared.block
        step = self._step
        rows, columns = slice(-y0 % step, None, step), slice(-x0 % step, None, step)
        at = slice(-(-y0 // step), -(-y1 // step)), slice(-(-x0 // step), -(-x1 // step))
        self.predicted[at] = compared.predicted[rows, columns]
        self.truth[at] = compared.truth[rows, columns]
        self.has_data[at] = compared.has_data[rows, columns]
        differs = compared.differs
        for y in range(y0, y1, DETAIL):
            for x in range(x0, x1, DETAIL):
                block = x, y, min(x + DETAIL, x1), min(y + DETAIL, y1)
                wrong = int(np.count_nonzero(differs[y - y0 : block[3] - y0, x - x0 : block[2] - x0]))
                if wrong:
                    heapq.heappush(self._worst, (wrong, block))
                    if len(self._worst) > CLOSE_UPS:
                        heapq.heappop(self._worst)

    def worst(self) -> list[tuple[int, Block]]:
        """Blocks and how many of their pixels are wrong, the worst first."""
        return sorted(self._worst, reverse=True)


def _about(found: Prepared, truth: Prepared, seen: _Seen) -> list[str]:
    """What a reader must know of the files."""
    said = []
    if found.without_class:
        prompts = ", ".join(f"{prompt} ({count})" for prompt, count in list(found.without_class.items())[:10])
        said.append(f"detections of prompts that are no class of the truth are left out: {prompts}")
    for one, what in ((truth, "truth"), (found, "detections")):
        if one.counts.repaired:
            said.append(f"{one.counts.repaired} geometries of the {what} were invalid and have been repaired")
        unusable = one.counts.empty + one.counts.unreadable + one.counts.not_areas
        if unusable:
            said.append(f"{unusable} geometries of the {what} are empty, damaged or not areas, and were left out")
    if seen.ambiguous:
        said.append(f"the truth says two classes of {seen.ambiguous} pixels; the first counts")
    return said
