"""How fast large rasters are, against a plain loop over tiles: ``python -m benchmarks.rasters``, from ``tests``.

A drawn town of 4096 x 4096 pixels as a tiled TIFF, the demo bundle, three prompts, at four pixels to one. The plain
loop reads every tile of the same grid at full size, makes it smaller, asks the model, brings every mask to the size of
the tile, takes its contours, and in the end drops polygons that overlap a better one, as tiled inference usually does;
its polygons have no places on Earth. Both, and the model with the same tiles alone, are run in turn, several times, so
that they see the same machine. Then the grid is moved, by giving the raster another place, which a model that errs does
not answer in the same way. Results are written to ``results`` beside this file, with the date.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import rasterio
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.matching import outline_iou, suppress
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Instance, Prompt, RgbImage
from sam3edge.engines.open_engine import open_engine
from sam3edge.rasters.grid import Grid
from sam3edge.rasters.options import RasterPrompt, ReadOptions, SegmentOptions
from sam3edge.rasters.raster_file import open_raster_file
from sam3edge.rasters.segment import segment_raster
from support.rasters import drawn_from_above, outlines, share_of_same, write
from support.samples import frame

ASSETS = Path(__file__).parents[2] / "assets"
RESULTS = Path(__file__).parent / "results"
SIDE, SCALE, TILE = 4096, 4, 128
PROMPTS = tuple(Prompt(phrase) for phrase in ("car", "building", "tree"))
MOVES = ((0, 0), (37, 21), (150, 83), (64, 256))
"""Pixels of the raster."""

PLACE = {"crs": "EPSG:32633", "transform": Affine(0.1, 0, 391_000, 0, -0.1, 5_820_000)}


def ours(path: Path, engine: Engine) -> int:
    """Number of features."""
    asked = [RasterPrompt(prompt, 0.1 * SCALE) for prompt in PROMPTS]
    return sum(1 for _ in segment_raster(path, engine, asked, SegmentOptions(tile=TILE)))


def same_with_moved_grid(town: RgbImage, folder: Path, engine: Engine, iou: float) -> float:
    """Share of features, over several places, that are found again with this intersection over union."""
    asked, options = [RasterPrompt(prompt, 0.1 * SCALE) for prompt in PROMPTS], SegmentOptions(tile=TILE)
    by_place = []
    for columns, rows in MOVES:
        place = PLACE["transform"] @ Affine.translation(columns, rows)
        path = write(folder / "moved.tif", town, crs=PLACE["crs"], transform=place)
        found = segment_raster(path, engine, asked, options)
        by_place.append({text: [] for text in ("car", "building", "tree")})
        for one in found:
            by_place[-1][one["properties"]["prompt"]] += outlines([one])
    first, *others = by_place
    shares = [share_of_same(first[text], other[text], iou) for other in others for text in first if first[text]]
    return sum(shares) / len(shares)


def plain(path: Path, engine: Engine) -> int:
    """Number of polygons."""
    grid, found = Grid.for_objects(TILE, TILE / 4), []
    with rasterio.open(path) as dataset:
        for tile in grid.tiles((0, 0, SIDE / SCALE, SIDE / SCALE)):
            x, y, _, _ = (int(SCALE * v) for v in grid.window(tile))
            window = Window(x, y, TILE * SCALE, TILE * SCALE)
            whole = dataset.read(window=window, boundless=True).transpose(1, 2, 0)
            seen = cv2.resize(whole, (TILE, TILE), interpolation=cv2.INTER_AREA)
            for one in engine.segment(_frame(seen, f"{x}/{y}"), PROMPTS).instances:
                found += [(one, polygon) for polygon in _polygons(one, x, y)]
    outlines = [polygon for _, polygon in found]
    kept = suppress(
        [one.score for one, _ in found],
        [one.prompt for one, _ in found],
        lambda one, others: outline_iou([outlines[one]], [outlines[k] for k in others]),
        0.5,
    )
    return len(kept)


def _polygons(one: Instance, x: int, y: int) -> list[shapely.Polygon]:
    mask = cv2.resize(one.mask, (TILE * SCALE, TILE * SCALE), interpolation=cv2.INTER_LINEAR) > 0
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [shapely.Polygon(c[:, 0] + (x, y)).buffer(0) for c in contours if len(c) > 3]


def views(path: Path) -> list[RgbImage]:
    """What the model is shown."""
    grid = Grid.for_objects(TILE, TILE / 4)
    with open_raster_file(path, ReadOptions()) as raster:
        windows = (grid.window(tile) for tile in grid.tiles((0, 0, SIDE / SCALE, SIDE / SCALE)))
        seen = [(SCALE * x0, SCALE * y0, SCALE * x1, SCALE * y1) for x0, y0, x1, y1 in windows]
        return [raster.read(window, TILE).image for window in seen]


def model_alone(shown: Sequence[RgbImage], engine: Engine) -> int:
    """Number of tiles."""
    for number, image in enumerate(shown):
        engine.segment(_frame(image, f"{number}"), PROMPTS)
    return len(shown)


def _frame(image: np.ndarray, name: str) -> Frame:
    like = frame(image, name)
    return Frame(name, like.source, name, image, like.captured_at, name)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    town = np.tile(drawn_from_above(9, SIDE // 2, SIDE // 2, 100), (2, 2, 1))
    bundle = ASSETS / "demo-bundle"
    files = model_files(bundle, verify(bundle, None))
    with tempfile.TemporaryDirectory() as folder, closing(open_engine(files)) as engine:
        small = drawn_from_above(9, SIDE // 2, SIDE // 2, 100)
        same = {iou: round(same_with_moved_grid(small, Path(folder), engine, iou), 2) for iou in (0.95, 0.5)}
        path = write(Path(folder) / "town.tif", town, tiled=True, compress="deflate", **PLACE)
        shown = views(path)
        variants: dict[str, Callable[[], int]] = {
            "raster": lambda: ours(path, engine),
            "plain": lambda: plain(path, engine),
            "model alone": lambda: model_alone(shown, engine),
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        processor: dict[str, list[float]] = {name: [] for name in variants}
        count: dict[str, int] = {}
        for _ in range(rounds):
            for name, work in variants.items():
                began, spent = time.perf_counter(), time.process_time()
                count[name] = work()
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - spent)
    megapixels = SIDE * SIDE / 1e6
    best = {name: min(taken) for name, taken in seconds.items()}
    least = {name: min(taken) for name, taken in processor.items()}
    report = {
        "date": date.today().isoformat(),
        "cpus": os.cpu_count(),
        "pixels": [SIDE, SIDE],
        "tiles": count["model alone"],
        "features": {name: count[name] for name in ("raster", "plain")},
        "megapixels_per_second": {name: round(megapixels / taken, 2) for name, taken in best.items()},
        "processor_seconds": {name: round(taken, 2) for name, taken in least.items()},
        "times_faster_than_plain": round(best["plain"] / best["raster"], 2),
        "times_less_processor_time_than_plain": round(least["plain"] / least["raster"], 2),
        "processor_time_beside_the_model": round(least["raster"] / least["model alone"] - 1, 2),
        "same_features_with_moved_grid_by_iou": same,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"rasters-{report['date']}.json").write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
