"""Many rasters: two processes of Ray against one process, on the same rasters, in one run.

    python -m benchmarks.batch, from tests

The serial run has one core, as each of Ray's two processes has. A process that is left alone reads and outlines beside
its engine, so that it takes more than a core; this is measured, too, and with all cores for the engine, which is how it
runs by default. Ray's start is part of its time.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from sam3edge.rasters.options import SegmentOptions
from sam3edge.rasters.texts import read_prompts
from sam3edge_pipeline.batch.inputs import RasterInput, find_rasters
from sam3edge_pipeline.batch.runners import RayProcesses, Runner, ThisProcess
from sam3edge_pipeline.batch.work import Task
from sam3edge_pipeline.synthetic import draw_scene

ASSETS = Path(__file__).parents[2] / "assets"
COUNT, ACROSS, SIDE = 20, 8, 288  # 5.3 megapixels each, so that starting Ray is not most of what is measured


def main() -> None:
    """Print each figure when it is known."""
    with tempfile.TemporaryDirectory() as folder:
        rasters = _rasters(Path(folder))

        def task(threads: int) -> Task:
            out, asked = Path(tempfile.mkdtemp(dir=folder)), read_prompts("car, building, ship", 0.5)
            return Task(ASSETS / "demo-bundle", asked, SegmentOptions(tile=SIDE), out, threads)

        core = min(os.sched_getaffinity(0))
        alone = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, {core}))
        with alone:
            serial = alone.submit(_seconds, "one process on one core", ThisProcess(), task(1), rasters).result()
        ray = _seconds("two processes of Ray", RayProcesses(2), task(1), rasters)
        one = _seconds("one process, one thread of the engine", ThisProcess(), task(1), rasters)
        both = _seconds("one process, all cores", ThisProcess(), task(0), rasters)
        sys.stdout.write(
            f"Ray's time: {ray / serial:.2f} of one core's, {ray / one:.2f} with one thread of the engine, "
            f"{ray / both:.2f} with all cores\n"
        )


def _rasters(folder: Path) -> list[RasterInput]:
    scenes = [draw_scene(seed).image[:SIDE, :SIDE] for seed in range(ACROSS**2)]
    for number in range(COUNT):
        order = np.random.default_rng(number).permutation(ACROSS**2).reshape(ACROSS, ACROSS)
        image = np.concatenate([np.concatenate([scenes[one] for one in row], axis=1) for row in order], axis=0)
        place = Affine(0.5, 0, 391_000, 0, -0.5, 5_820_000)
        side = ACROSS * SIDE
        with rasterio.open(
            folder / f"{number}.tif", "w", "GTiff", side, side, 3, "EPSG:32633", place, np.uint8
        ) as target:
            target.write(image.transpose(2, 0, 1))
    return find_rasters([str(folder)], "", lambda: None)  # type: ignore[arg-type, return-value]


def _seconds(name: str, runner: Runner, task: Task, rasters: list[RasterInput]) -> float:
    started = time.perf_counter()
    features = sum(report.features for report in runner.run(task, rasters))
    seconds = time.perf_counter() - started
    megapixels = COUNT * (ACROSS * SIDE) ** 2 / 1e6
    sys.stdout.write(f"{name}: {features} found, {seconds:.1f} s, {megapixels / seconds:.2f} megapixels a second\n")
    sys.stdout.flush()
    return seconds


if __name__ == "__main__":
    main()
