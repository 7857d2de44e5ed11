"""Many rasters: two processes of Ray against one process, on the same rasters, in one run.

    python -m benchmarks.batch, from tests

One process has one core to compute with, as each of the two has; and once more it has both, which is how it runs by
default. Ray's start is part of its time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
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

COUNT, ACROSS, SIDE = 20, 4, 288


def main() -> None:
    """Print each figure when it is known."""
    with tempfile.TemporaryDirectory() as folder:
        rasters = _rasters(Path(folder))
        asked = read_prompts("car, building, ship", 0.5)
        task = Task(
            Path("assets/demo-bundle").resolve(), asked, SegmentOptions(tile=SIDE), Path(folder) / "1", threads=1
        )
        one = _seconds("one process, one core", ThisProcess(), task, rasters)
        both = _seconds(
            "one process, all cores", ThisProcess(), replace(task, out=Path(folder) / "2", threads=0), rasters
        )
        ray = _seconds("two processes of Ray", RayProcesses(2), replace(task, out=Path(folder) / "3"), rasters)
        sys.stdout.write(f"Ray against one process: {ray / one:.2f} of its time on one core, {ray / both:.2f} on all\n")


def _rasters(folder: Path) -> list[RasterInput]:
    for number in range(COUNT):
        seeds = [[number * 16 + row * ACROSS + column for column in range(ACROSS)] for row in range(ACROSS)]
        image = np.concatenate(
            [np.concatenate([draw_scene(seed).image[:SIDE, :SIDE] for seed in row], axis=1) for row in seeds], axis=0
        )
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
