"""30,000 x 30,000 pixels in less than a gigabyte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
from rasterio.windows import Window

from support.rasters import UTM, drawn_from_above

SIDE = 30_000


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A town here and there, and no data in between."""
    town = drawn_from_above(9, 1024, 1024, 30).transpose(2, 0, 1)
    kind = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8", "nodata": 0, **UTM}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "SPARSE_OK": True}
    with rasterio.open(tmp_path / "a.tif", "w", **kind, **layout) as dataset:
        for place in range(0, SIDE - 1024, 5000):
            for row, column in {(place, place), (place, SIDE // 2)}:
                dataset.write(town, window=Window(column, row, 1024, 1024))
    return tmp_path / "a.tif"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_large_raster_takes_less_than_a_gigabyte(
    raster: Path, demo_bundle: Path, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    command = [sys.executable, "-m", "sam3edge.cli.main", "raster", str(raster), "--bundle", str(demo_bundle)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    process = subprocess.Popen(
        [*command, "--prompts", "car@2, building@2", "--out", str(tmp_path / "a.geojson")], env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    found = len(json.loads((tmp_path / "a.geojson").read_bytes())["features"])
    megabytes = usage.ru_maxrss / 1024
    figure(f"sam3edge raster, {SIDE} x {SIDE} pixels with the demo bundle: {megabytes:.0f} MB at most, {found} found")
    assert found > 50
    assert megabytes < 1000
