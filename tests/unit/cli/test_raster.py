"""``sam3edge raster``: what people type, and what they get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import jsonschema
import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.transform import Affine
from typer.testing import CliRunner, Result

from sam3edge.bundle.manifest import read_manifest
from sam3edge.cli.main import app
from sam3edge.cli.schemas import detections_schema
from sam3edge.engines import open_engine
from support.places import RPCS, not_yet_georeferenced
from support.rasters import UTM, Alive, Failing, scattered, write

Run = Callable[..., Result]

SATELLITE = {"driver": "GTiff", "width": 640, "height": 512, "count": 3, "dtype": "uint8"}
HEIGHTS = {
    "driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": "int16",
    "transform": Affine(0.02, 0, 13.3, 0, -0.02, 52.6),
}  # fmt: skip


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Alive:
    one = Alive()
    monkeypatch.setattr(open_engine, "open_engine", lambda files: one)
    return one


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_bundle: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tif", scattered(4, 400, 300, 60), **UTM)
    return lambda *arguments: CliRunner().invoke(app, ["raster", *arguments, "--bundle", str(demo_bundle)])


def test_a_raster_becomes_a_collection(run: Run, engine: Alive, tmp_path: Path) -> None:
    result = run("a.tif", "--prompts", "red, purple", "--out", "out/a.geojson")
    assert result.exit_code == 0, result.output
    body = json.loads((tmp_path / "out/a.geojson").read_bytes())
    jsonschema.Draft202012Validator(detections_schema()).validate(body)
    count = len(body["features"])
    assert count > 5
    assert body["unsupported_prompts"] == {"purple": "not one of red, green, blue"}
    assert "the model does not know purple" in result.output
    assert f"{count} found, in out/a.geojson" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.geojson"]
    assert engine.closed
    assert run("a.tif", "--prompts", "red", "--out", "a.ndjson").exit_code == 0
    assert len((tmp_path / "a.ndjson").read_text().splitlines()) == count


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.parquet", "a.coco.json"])
def test_a_raster_becomes_a_file_of_another_program(name: str, run: Run, engine: Alive, tmp_path: Path) -> None:
    assert run("a.tif", "--prompts", "red", "--out", "a.ndjson").exit_code == 0
    ids = {json.loads(line)["id"] for line in (tmp_path / "a.ndjson").read_text().splitlines()}
    result = run("a.tif", "--prompts", "red", "--out", name)
    assert result.exit_code == 0, result.output
    assert f"{len(ids)} found, in {name}" in result.output
    if name.endswith(".json"):
        assert len(json.loads((tmp_path / name).read_bytes())["annotations"]) == len(ids)
    elif name.endswith(".parquet"):
        assert set(geopandas.read_parquet(tmp_path / name)["id"]) == ids
    else:
        read = pyogrio.read_dataframe(tmp_path / name, layer=0)
        assert set(read["id"]) == ids
        assert set(read["frame"]) == {"a.tif"}


def test_tiles_are_the_models_input(run: Run, engine: Alive, demo_bundle: Path) -> None:
    run("a.tif", "--prompts", "red", "--out", "a.geojson")
    assert read_manifest(demo_bundle).input_size == 128
    by_default, engine.frames = engine.frames, 0
    run("a.tif", "--prompts", "red", "--out", "a.geojson", "--tile", "128", "--largest", "32px")
    assert engine.frames == by_default
    engine.frames = 0
    run("a.tif", "--prompts", "red@1", "--out", "a.geojson")
    assert engine.frames < by_default


def test_every_option_is_one_of_the_library(run: Run, engine: Alive, tmp_path: Path) -> None:
    write(tmp_path / "mask.tif", scattered(4, 400, 300, 60)[..., :1])
    options = ["--bands", "1,2,3", "--stretch", "0,255", "--jointly", "--mask", "mask.tif", "--mask-values", "255"]
    result = run("a.tif", "--prompts", "red", "--out", "a.geojson", *options, "--extent", "0,0,200,300")
    assert result.exit_code == 0, result.output
    boxes = [one["properties"]["imageBBox"] for one in json.loads((tmp_path / "a.geojson").read_bytes())["features"]]
    assert boxes
    assert max(x1 for _, _, x1, _ in boxes) <= 200


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.tif", "--prompts", "red@", "--out", "a.geojson"], "as in building@0.5"),
        (["a.tif", "--prompts", "red", "--out", "a.txt"], "ends in .geojson"),
        (["b.tif", "--prompts", "red", "--out", "a.geojson"], "expected a file, b.tif is not there"),
        (["/vsicurl/http://127.0.0.1/a.tif", "--prompts", "red", "--out", "a.geojson"], "where they are allowed"),
        (["a.tif", "--prompts", "red", "--out", "a.geojson", "--crs", "EPSG:0"], "such as EPSG:25833"),
        (["a.tif", "--prompts", "red", "--out", "a.geojson", "--bands", "7"], "expected bands of 1 to 3"),
        (["a.tif", "--prompts", "red@0.001", "--out", "a.geojson"], "metres a pixel or more"),
        (["a.tif", "--prompts", "red", "--out", "a.geojson", "--tile", "3"], "tiles of 64 to 4096 pixels a side"),
        (["a.tif", "--prompts", "red", "--out", "a.geojson", "--tile", "100000"], "tiles of 64 to 4096 pixels a side"),
        (["a.tif", "--prompts", "red", "--out", "a.geojson", "--max-pixels", "9"], "at most 9 pixels"),
        (["a.tif", "--prompts", "red", "--out", "a.tif/a.geojson"], "cannot be used"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], reason: str, run: Run, engine: Alive, tmp_path: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
    assert not (tmp_path / arguments[4]).exists()


@pytest.mark.parametrize("name", ["out.geojson", "out.ndjson", "out.gpkg"])
def test_an_output_that_is_a_folder_is_refused_before_anything(
    name: str, run: Run, engine: Alive, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    result = run("a.tif", "--prompts", "red", "--out", name)
    assert result.exit_code == 2
    assert f"expected the name of a file, {name} is a folder" in result.output
    assert engine.frames == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", name]


def test_a_raster_without_a_place_is_told_of(run: Run, engine: Alive, tmp_path: Path) -> None:
    write(tmp_path / "b.tif", scattered(4, 200, 200, 60))
    result = run("b.tif", "--prompts", "red", "--out", "b.geojson")
    assert result.exit_code == 0
    assert "without places on Earth" in result.output


def test_heights_move_places_of_rasters_with_rpcs(run: Run, engine: Alive, tmp_path: Path) -> None:
    with not_yet_georeferenced(), rasterio.open(tmp_path / "b.tif", "w", rpcs=RPCS, **SATELLITE) as image:
        image.write(scattered(4, 640, 512, 60).transpose(2, 0, 1))
    with rasterio.open(tmp_path / "heights.tif", "w", crs="EPSG:4326", **HEIGHTS) as model:
        model.write(np.full((9, 9), 1000, np.int16), 1)

    def places(*options: str) -> np.ndarray:
        result = run("b.tif", "--prompts", "red", "--out", "b.geojson", *options)
        assert result.exit_code == 0, result.output
        features = json.loads((tmp_path / "b.geojson").read_bytes())["features"]
        by_box = sorted(features, key=lambda one: one["properties"]["imageBBox"])
        return np.array([one["properties"]["centroid"] for one in by_box])

    by_model = places("--elevation", "heights.tif", "--ground-height", "50")
    np.testing.assert_allclose(by_model, places("--ground-height", "1050"), atol=1e-6)
    assert np.abs(by_model - places()).max() > 1e-3
    result = run("b.tif", "--prompts", "red", "--out", "b.geojson", "--elevation", "/vsicurl/http://127.0.0.1/m.tif")
    assert result.exit_code == 0
    assert "without places on Earth: the elevation model /vsicurl/" in " ".join(result.output.split())


def test_a_run_that_failed_goes_on_when_it_is_started_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Failing(6), Alive()
    engines = iter([first, second])
    monkeypatch.setattr(open_engine, "open_engine", lambda files: next(engines))
    arguments = ("a.tif", "--prompts", "red", "--out", "a.geojson")
    failed = run(*arguments)
    assert failed.exit_code == 2
    assert "no memory left" in failed.output
    assert not (tmp_path / "a.geojson").exists()
    assert (tmp_path / ".a.geojson.checkpoint").exists()
    assert run(*arguments).exit_code == 0
    assert not (tmp_path / ".a.geojson.checkpoint").exists()
    assert first.frames + second.frames == 24
