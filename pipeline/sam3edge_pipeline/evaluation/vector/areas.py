"""The areas of a class, in pixels of the raster: kept in a file with an index, so that there may be any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyogrio
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.masks import rasterize
from sam3edge.vector.gdal import append
from sam3edge_pipeline.evaluation.vector.grid import Block
from sam3edge_pipeline.evaluation.vector.source import BATCH

LAYER, GEOMETRY = "areas", "geom"


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Areas in the order in which they were given.

    Attributes:
        outlines: valid, in pixels of the raster.
        classes: int64 [n], numbers of their classes.
        scores: float64 [n]; 1 for the truth.
    """

    outlines: Sequence[Polygon | MultiPolygon]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


class AreaFile:
    """A file of areas. Used by one thread.

    Args:
        path: a GeoPackage that is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self._write(Areas([], np.zeros(0, np.int64), np.zeros(0)), {"SRID": "-1"})

    def add(self, areas: Areas) -> None:
        """Add areas."""
        if len(areas.outlines):
            self._write(areas)

    def _write(self, areas: Areas, options: Mapping[str, str] | None = None) -> None:
        binary = pa.array(shapely.to_wkb(list(areas.outlines)), pa.binary())
        columns = {
            "number": pa.array(np.arange(self.count, self.count + len(areas.outlines)), pa.int64()),
            "class": pa.array(areas.classes, pa.int64()),
            "score": pa.array(areas.scores, pa.float64()),
            GEOMETRY: binary,
        }
        append(self._path, "GPKG", LAYER, "Unknown", None, pa.table(columns), GEOMETRY, options)
        self.count += len(areas.outlines)

    def within(self, block: Block) -> Areas:
        """Those that touch a block of the raster."""
        return self._read(bbox=tuple(map(float, block)))

    def of_class(self, number: int) -> Areas:
        """Those of one class."""
        return self._read(where=f"class = {number:d}")

    def _read(self, **which: Any) -> Areas:
        how = {"layer": LAYER, "batch_size": BATCH, "use_pyarrow": True, **which}
        outlines: list[Polygon | MultiPolygon] = []
        values: list[npt.NDArray[np.float64]] = []  # doubles hold the numbers of all areas there may be
        with pyogrio.open_arrow(self._path, **how) as (_, reader):
            for batch in reader:
                outlines += shapely.from_wkb(batch.column(GEOMETRY).to_pylist()).tolist()
                columns = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("number", "class", "score"))
                values.append(np.column_stack([*columns]).astype(np.float64))
        known = np.concatenate([np.zeros((0, 3)), *values])
        order = np.argsort(known[:, 0])
        return Areas([outlines[n] for n in order], known[order, 1].astype(np.int64), known[order, 2])


def paint(areas: Areas, order: Sequence[int], block: Block) -> npt.NDArray[np.uint8]:
    """uint8 [h, w], the class of each pixel of a block whose centre is in an area; 0 for the background.

    Args:
        order: numbers of the areas; later ones are painted over earlier ones.
    """
    left, top, right, bottom = block
    classes = np.zeros((bottom - top, right - left), np.uint8)
    for number in order:
        box = _box_within(areas.outlines[number], block)
        if box is not None:
            x0, y0, x1, y1 = box
            outline = shapely.transform(areas.outlines[number], lambda at, x0=x0, y0=y0: at - [x0, y0])
            covered = rasterize(outline, x1 - x0, y1 - y0)
            classes[y0 - top : y1 - top, x0 - left : x1 - left][covered] = areas.classes[number]
    return classes


def claimed_twice(areas: Areas, block: Block) -> npt.NDArray[np.bool_]:
    """bool [h, w], pixels that lie in areas of two classes or more."""
    numbers = sorted(set(areas.classes.tolist()))
    covers = [paint(areas, np.flatnonzero(areas.classes == number).tolist(), block) > 0 for number in numbers]
    return np.sum(covers, axis=0) > 1 if len(covers) > 1 else np.zeros((block[3] - block[1], block[2] - block[0]), bool)


def by_rising_score(areas: Areas) -> list[int]:
    """The order in which detections are painted: the best one counts where several overlap, of equal ones the first."""
    order: list[int] = np.argsort(-areas.scores, kind="stable")[::-1].tolist()
    return order


def by_falling_class(areas: Areas) -> list[int]:
    """The order in which the truth is painted: the first class counts where several overlap."""
    order: list[int] = np.argsort(-areas.classes, kind="stable").tolist()
    return order


def _box_within(outline: Polygon | MultiPolygon, block: Block) -> Block | None:
    """The part of a block that an outline may cover; None where there is none."""
    west, north, east, south = outline.bounds
    x0, y0 = max(block[0], int(np.floor(west))), max(block[1], int(np.floor(north)))
    x1, y1 = min(block[2], int(np.ceil(east))), min(block[3], int(np.ceil(south)))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
