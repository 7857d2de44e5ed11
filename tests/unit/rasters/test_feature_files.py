"""Features in files, as readers of GeoJSON read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geojson_pydantic
import jsonschema
import pyogrio
import pytest

from sam3edge.core.messages.features import Feature
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.feature_files import write_collection, write_lines
from sam3edge.rasters.options import ReadOptions
from sam3edge.rasters.raster_file import open_raster_file
from sam3edge.rasters.segment import RasterRun
from support.rasters import RED, SMALL, UTM, features, ground, scattered, write

SCHEMA = Path(__file__).parents[3] / "components/sam3edge/core/messages/schemas/detections.schema.json"


def collected(raster: Path, out: Path) -> Any:
    with open_raster_file(raster, ReadOptions()) as file:
        run = RasterRun(file, FakeEngine(), [RED], SMALL)
        write_collection(out, run.features(), lambda: run.collection("line-7"))
    return json.loads(out.read_bytes())


def test_a_collection_is_a_detections_message(tmp_path: Path) -> None:
    raster = write(tmp_path / "a.tif", scattered(3, 400, 300, 50), **UTM)
    body = collected(raster, tmp_path / "a.geojson")
    jsonschema.validate(body, json.loads(SCHEMA.read_text()))
    assert geojson_pydantic.FeatureCollection.model_validate(body).features
    assert body["features"] == json.loads(json.dumps(features(raster)))
    assert body["frame"]["name"] == "a.tif"
    assert (body["frame"]["width"], body["frame"]["height"]) == (400, 300)
    assert body["device"] == "line-7"
    assert collected(raster, tmp_path / "b.geojson")["id"] == body["id"]
    table = pyogrio.read_dataframe(tmp_path / "a.geojson")
    assert len(table) == len(body["features"])
    assert table.crs == "EPSG:4326"


def test_a_collection_without_features_is_one(tmp_path: Path) -> None:
    body = collected(write(tmp_path / "a.tif", ground(100, 100)), tmp_path / "a.geojson")
    jsonschema.validate(body, json.loads(SCHEMA.read_text()))
    assert body["features"] == []


def test_lines_are_features(tmp_path: Path) -> None:
    found = features(write(tmp_path / "a.tif", scattered(3, 400, 300, 50), **UTM))
    write_lines(tmp_path / "a.geojsonl", found)
    assert [json.loads(line) for line in (tmp_path / "a.geojsonl").read_text().splitlines()] == json.loads(
        json.dumps(found)
    )
    assert len(pyogrio.read_dataframe(tmp_path / "a.geojsonl")) == len(found)


def test_a_file_that_was_there_stays_when_the_run_fails(tmp_path: Path) -> None:
    found = features(write(tmp_path / "a.tif", scattered(3, 400, 300, 50)))

    def failing() -> Iterator[Feature]:
        yield found[0]
        raise RuntimeError("the raster ends here")

    (tmp_path / "a.ndjson").write_text("before")
    with pytest.raises(RuntimeError):
        write_lines(tmp_path / "a.ndjson", failing())
    assert (tmp_path / "a.ndjson").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ndjson", "a.tif"]
