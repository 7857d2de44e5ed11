"""Files that people have: of several layers, without reference systems, broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from sam3edge.core.errors import Sam3EdgeError, VectorFileError
from sam3edge.vector.files import write_features
from sam3edge_pipeline.evaluation.vector.evaluation import MapInputs, MapOptions, evaluate_map
from sam3edge_pipeline.evaluation.vector.source import VectorSource, open_vector
from support.map_scenes import CONFUSION, TRUTH, UTM, on_earth, scene_inputs, write_raster, write_truth
from support.vector_files import feature


def read(path: Path, *columns: str, **how: str) -> tuple[str, int, dict[str, list[Any]]]:
    with open_vector(VectorSource(path, **how), columns) as table:
        batches = list(table.batches)
    values = {name: [v for _, attributes in batches for v in attributes[name]] for name in columns}
    return table.name, sum(len(binary) for binary, _ in batches), values


def judged(inputs: MapInputs, path: Path, **how: str) -> list[list[int]]:
    matrix: list[list[int]] = evaluate_map(
        replace(inputs, truth=VectorSource(path, **how)), MapOptions()
    ).confusion.tolist()
    return matrix


def without_crs(path: Path) -> Path:
    rows = [(value, on_earth(one, UTM)) for value, several in TRUTH.items() for one in several]
    table = geopandas.GeoDataFrame({"CROP": [value for value, _ in rows]}, geometry=[one for _, one in rows], crs=UTM)
    table.to_file(path, engine="pyogrio")
    path.with_suffix(".prj").unlink()
    return path


def test_a_truth_without_a_reference_system_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path, inputs = without_crs(tmp_path / "truth.shp"), scene_inputs(tmp_path)
    with pytest.raises(VectorFileError, match=r"names no reference system; write it by ogr2ogr.*by --truth-crs"):
        judged(inputs, path)
    assert judged(inputs, path, crs=UTM) == CONFUSION
    with pytest.raises(VectorFileError, match=r"PROJ does not know the reference system of truth.shp, nonsense"):
        judged(inputs, path, crs="nonsense")


def test_pixels_are_no_place(tmp_path: Path) -> None:
    write_features(tmp_path / "found.gpkg", [feature("a")])
    with pytest.raises(VectorFileError, match=r"such as pixels; expected coordinates on Earth"):
        read(tmp_path / "found.gpkg", "prompt")


def test_of_several_layers_one_is_named(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "several.gpkg")
    geopandas.GeoDataFrame({"X": [1]}, geometry=[shapely.Point(1, 1)], crs=UTM).to_file(path, layer="other")
    with pytest.raises(VectorFileError, match=r"has several layers, say which: several, other"):
        read(path, "CROP")
    assert read(path, "CROP", layer="several")[:2] == ("several.gpkg, layer several", 3)
    with pytest.raises(VectorFileError, match=r"no layer 'fields' with geometries; it has several, other"):
        read(path, "CROP", layer="fields")


def test_an_attribute_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    for name in ("truth.gpkg", "truth.parquet"):
        path = write_truth(tmp_path / name, AREA=[1, 2, 3])
        with pytest.raises(VectorFileError, match=r"has no attribute 'KIND'; it has CROP, AREA"):
            read(path, "KIND")


@pytest.mark.parametrize("name", ["Crop type (2015)", "größe", 'a "quoted" name', "a'b", "select", "x;y", " "])
def test_attribute_names_may_be_odd(tmp_path: Path, name: str) -> None:
    path = write_truth(tmp_path / "odd.gpkg", **{name: ["a", None, "c"]})
    assert read(path, name)[2] == {name: ["a", None, "c"]}


def test_an_empty_layer_is_no_truth(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "empty.gpkg", {})
    with pytest.raises(VectorFileError, match=r"nothing of empty.gpkg can be evaluated by: of 0 geometries"):
        judged(scene_inputs(tmp_path), path)


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.fgb", "a.parquet", "a.xyz"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"\0" * 5000, b'{"type": "FeatureCollection"'])
def test_a_broken_file_is_refused_in_words(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VectorFileError, match=f"{name} (cannot be read|has no layer|names no)"):
        read(tmp_path / name, "CROP")


@pytest.mark.parametrize("end", [".gpkg", ".fgb", ".geojson", ".parquet"])
def test_a_file_that_is_cut_off_is_refused_in_words(tmp_path: Path, end: str) -> None:
    many = {"F16": [shapely.box(n, 0, n + 1, 1) for n in range(2000)]}
    path = write_truth(tmp_path / f"whole{end}", many, crs="EPSG:4326")
    (tmp_path / f"cut{end}").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VectorFileError):
        read(tmp_path / f"cut{end}", "CROP")


def test_a_wrong_end_does_not_matter_to_gdal(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "truth.fgb").rename(tmp_path / "truth.dat")
    assert read(path, "CROP")[1] == 3


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VectorFileError, match=r"nowhere.shp is not there"):
        read(tmp_path / "nowhere.shp", "CROP")


def test_parquet_without_geometry_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"CROP": ["a"]}), tmp_path / "plain.parquet")
    with pytest.raises(VectorFileError, match=r"without the metadata of GeoParquet"):
        read(tmp_path / "plain.parquet", "CROP")
    broken = pa.table({"CROP": ["a"]}).replace_schema_metadata({"geo": json.dumps({"version": "1.1.0"})})
    pq.write_table(broken, tmp_path / "broken.parquet")
    with pytest.raises(VectorFileError, match=r"has not the metadata of GeoParquet"):
        read(tmp_path / "broken.parquet", "CROP")


def test_rasters_without_place_are_refused_with_the_way_out(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    write_raster(inputs.raster, crs=None)
    with pytest.raises(Sam3EdgeError, match=r"names no reference system; write it by gdal_edit"):
        evaluate_map(inputs, MapOptions())
    inputs.raster.write_bytes(b"nothing")
    with pytest.raises(Sam3EdgeError, match="expected a TIFF"):
        evaluate_map(inputs, MapOptions())
