"""The scene whose figures are worked out by hand: whatever the format, the reference system, the windows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pytest
import shapely

from sam3edge.core.errors import SettingsError, VectorFileError
from sam3edge_pipeline.evaluation.counting import Counts
from sam3edge_pipeline.evaluation.vector import grid
from sam3edge_pipeline.evaluation.vector.classes import Classes
from sam3edge_pipeline.evaluation.vector.evaluation import MapEvaluation, MapInputs, MapOptions, evaluate_map
from sam3edge_pipeline.evaluation.vector.preparation import DetectionColumns, TruthColumns
from sam3edge_pipeline.evaluation.vector.source import VectorSource
from support.map_scenes import (
    CLASSES,
    CONFUSION,
    HEIGHT,
    TRUTH,
    TURNED,
    UTM,
    WIDTH,
    scene_inputs,
    write_detections,
    write_raster,
    write_truth,
)


def evaluate(inputs: MapInputs, **options: Any) -> MapEvaluation:
    return evaluate_map(inputs, MapOptions(**options))


def truth_at(folder: Path, path: Path, **columns: Any) -> MapInputs:
    return replace(scene_inputs(folder), truth=VectorSource(path), truth_columns=TruthColumns("CROP", **columns))


def test_the_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    found = evaluate(scene_inputs(tmp_path))
    assert found.names == ("background", "field", "road")
    assert found.confusion.tolist() == CONFUSION
    assert found.objects["field"].counts == Counts(found=2, missed=0, invented=1)
    assert found.objects["field"].mean_iou == pytest.approx((1 + 0.6) / 2, abs=1e-3)
    assert found.objects["road"].counts == Counts(found=0, missed=1, invented=1)
    assert found.objects["road"].mean_iou is None
    assert (found.truth.counts.read, found.truth.counts.inside, found.ambiguous) == (3, 3, 0)


def test_the_overlap_that_an_object_needs_can_be_chosen(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    assert evaluate(inputs, iou=0.61).objects["field"].counts == Counts(found=1, missed=1, invented=2)
    assert evaluate(inputs, iou=0.39).objects["road"].counts == Counts(found=1, missed=0, invented=0)


@pytest.mark.parametrize("name", ["truth.shp", "truth.geojson", "truth.fgb", "truth.kml", "truth.parquet", "truth.gml"])
def test_any_format_gives_the_same_figures(tmp_path: Path, name: str) -> None:
    driver = {".kml": "KML", ".gml": "GML"}.get(Path(name).suffix)
    crs = "EPSG:4326" if name.endswith((".kml", ".geojson")) else UTM
    inputs = truth_at(tmp_path, write_truth(tmp_path / name, crs=crs, driver=driver))
    if name == "truth.kml":  # its reader knows Name and Description
        inputs = replace(inputs, truth_columns=TruthColumns("CROP"))
    assert evaluate(inputs).confusion.tolist() == CONFUSION


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:3857", "EPSG:4258", "EPSG:25832", "EPSG:3413"])
def test_any_reference_system_gives_the_same_figures(tmp_path: Path, crs: str) -> None:
    found = evaluate(truth_at(tmp_path, write_truth(tmp_path / "other.gpkg", crs=crs)))
    assert found.confusion.tolist() == CONFUSION
    assert found.objects["field"].counts == Counts(found=2, missed=0, invented=1)


@pytest.mark.parametrize("end", [".fgb", ".parquet", ".geojson"])
def test_detections_may_be_in_any_of_our_formats(tmp_path: Path, end: str) -> None:
    path = write_detections(tmp_path / f"again{end}")
    inputs = replace(scene_inputs(tmp_path), detections=VectorSource(path))
    assert evaluate(inputs).confusion.tolist() == CONFUSION


@pytest.mark.parametrize("side", [17, 50, 100])
def test_windows_do_not_matter(tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = scene_inputs(tmp_path)
    whole = evaluate(inputs, blur=5)
    monkeypatch.setattr(grid, "WINDOW", side)
    monkeypatch.setattr("sam3edge_pipeline.evaluation.vector.evaluation.WINDOW", side)
    calls: list[tuple[int, int]] = []
    windowed = evaluate_map(inputs, MapOptions(blur=5), lambda *done: calls.append(done))
    assert windowed.confusion.tolist() == whole.confusion.tolist()
    assert windowed.objects == whole.objects
    total = math.ceil(WIDTH / side) * math.ceil(HEIGHT / side)
    assert calls == [(number, total) for number in range(1, total + 1)]


def test_speckle_goes_as_opencvs_median_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(1, WIDTH - 2, 120), rng.integers(1, HEIGHT - 2, 120)
    speckle = [("field", 0.5, shapely.box(a, b, a + 1, b + 1)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    block = ("field", 0.9, shapely.box(20, 20, 60, 50))
    inputs = scene_inputs(tmp_path, ["*=field"], "")
    inputs = replace(inputs, detections=VectorSource(write_detections(tmp_path / "s.gpkg", [block, *speckle])))
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    painted[20:50, 20:60] = 1
    painted[y, x] = 1
    there = np.zeros((HEIGHT, WIDTH), np.uint8)
    for one in (*TRUTH["F16"], *TRUTH["R"]):
        x0, y0, x1, y1 = map(int, one.bounds)
        there[y0:y1, x0:x1] = 1
    monkeypatch.setattr(grid, "WINDOW", 33)
    for side in (1, 3, 7):
        filtered = painted if side == 1 else cv2.medianBlur(painted, side)
        expected = np.bincount(there.ravel() * 2 + filtered.ravel(), minlength=4).reshape(2, 2)
        assert evaluate(inputs, blur=side).confusion.tolist() == expected.tolist()


def test_pixels_without_data_are_in_no_figure(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    nodata = np.zeros((HEIGHT, WIDTH), bool)
    nodata[:, 50:] = True
    write_raster(inputs.raster, nodata=nodata)
    # of the right half: field B from 50 to 60, its detection from 50 to 65, the invented one, half of the road
    left = [[4000 - 600 - 200, 0, 0], [100, 400 + 100, 0], [4 * 10, 0, 160]]
    assert evaluate(inputs).confusion.tolist() == left


def test_the_best_detection_counts_where_several_overlap(tmp_path: Path) -> None:
    both = [("road", 0.4, shapely.box(10, 10, 30, 30)), ("field", 0.6, shapely.box(10, 10, 20, 30))]
    for order in (both, both[::-1]):
        path = write_detections(tmp_path / "both.gpkg", order)
        found = evaluate(replace(scene_inputs(tmp_path), detections=VectorSource(path)))
        assert found.confusion[1].tolist() == [400, 200, 200]


def test_the_first_class_counts_where_the_truth_says_two_and_it_is_said(tmp_path: Path) -> None:
    areas = {"R": [shapely.box(0, 0, 20, 10)], "F16": [shapely.box(10, 0, 30, 10)]}
    found = evaluate(truth_at(tmp_path, write_truth(tmp_path / "two.gpkg", areas)))
    assert found.confusion.sum(axis=1).tolist() == [WIDTH * HEIGHT - 300, 200, 100]
    assert found.ambiguous == 100
    assert "the truth says two classes of 100 pixels; the first counts" in found.warnings


def test_scores_that_are_too_low_do_not_count(tmp_path: Path) -> None:
    inputs = replace(scene_inputs(tmp_path), detection_columns=DetectionColumns(threshold=0.7))
    found = evaluate(inputs)
    assert found.objects["field"].counts == Counts(found=2, missed=0, invented=0)
    assert found.objects["road"].counts == Counts(found=0, missed=1, invented=0)
    assert found.detections.below == 2


def test_values_may_be_the_prompts_themselves(tmp_path: Path) -> None:
    areas = {"road": TRUTH["R"], "field": TRUTH["F16"]}
    inputs = truth_at(tmp_path, write_truth(tmp_path / "named.gpkg", areas))
    found = evaluate(replace(inputs, classes=Classes()))
    assert found.names == ("background", "road", "field")
    order = [0, 2, 1]
    assert found.confusion.tolist() == np.array(CONFUSION)[np.ix_(order, order)].tolist()


def test_a_truth_of_one_class_needs_no_attribute(tmp_path: Path) -> None:
    found = evaluate(scene_inputs(tmp_path, ["*=field"], ""))
    assert found.confusion.sum(axis=1).tolist() == [6800, 1200]
    assert found.detections.without_class == {"road": 1}
    assert any("no class of the truth" in warning and "road (1)" in warning for warning in found.warnings)


def test_values_that_are_no_class_are_background_and_counted(tmp_path: Path) -> None:
    areas: dict[Any, Any] = {**TRUTH, "W": [shapely.box(90, 70, 95, 75)], None: [shapely.box(80, 70, 85, 75)]}
    found = evaluate(truth_at(tmp_path, write_truth(tmp_path / "more.gpkg", areas)))
    assert found.confusion.tolist() == CONFUSION
    assert found.truth.without_class == {"W": 1, "(none)": 1}
    assert (found.truth.counts.inside, found.truth.areas.count) == (5, 3)


def test_numbers_are_values_too(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "n.gpkg", NUMBER=[16.0, 16.0, 7.5])
    inputs = replace(
        scene_inputs(tmp_path),
        truth=VectorSource(path),
        classes=Classes(["16=field", "7.5=road"]),
        truth_columns=TruthColumns("NUMBER"),
    )
    assert evaluate(inputs).confusion.tolist() == CONFUSION


def test_nothing_detected_is_a_result(tmp_path: Path) -> None:
    inputs = replace(scene_inputs(tmp_path), detections=VectorSource(write_detections(tmp_path / "none.gpkg", [])))
    found = evaluate(inputs)
    assert found.confusion.tolist() == [[6800, 0, 0], [800, 0, 0], [400, 0, 0]]
    assert found.objects["field"].counts == Counts(found=0, missed=2, invented=0)


def test_a_raster_that_is_turned_gives_the_same_figures(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    write_raster(inputs.raster, TURNED)
    write_truth(inputs.truth.path, transform=TURNED)
    write_detections(inputs.detections.path, transform=TURNED)
    assert evaluate(inputs).confusion.tolist() == CONFUSION


def test_a_truth_that_is_elsewhere_is_refused_with_counts(tmp_path: Path) -> None:
    far = {"F16": [shapely.box(1000, 1000, 1010, 1010)], "W": [shapely.box(1, 1, 5, 5)]}
    with pytest.raises(VectorFileError, match=r"of 2 geometries 1 are outside .* 1 are areas on it, .*\(W\)"):
        evaluate(truth_at(tmp_path, write_truth(tmp_path / "far.gpkg", far)))


def test_too_many_classes_are_refused_with_the_way_out(tmp_path: Path) -> None:
    areas = {f"value {n}": [shapely.box(n, 0, n + 1, 1)] for n in range(70)}
    inputs = truth_at(tmp_path, write_truth(tmp_path / "many.gpkg", areas))
    with pytest.raises(SettingsError, match=r"at most 64 classes; say by --class VALUE=PROMPT"):
        evaluate(replace(inputs, classes=Classes()))


def test_what_happened_to_the_truth_is_told(tmp_path: Path) -> None:
    bow = shapely.Polygon([(10, 10), (30, 30), (30, 10), (10, 30)])
    areas: dict[str, Any] = {
        "F16": [bow, shapely.box(-10, 40, 10, 50), shapely.Point(5, 5), None, shapely.box(500, 500, 510, 510)]
    }
    found = evaluate(truth_at(tmp_path, write_truth(tmp_path / "odd.gpkg", areas)))
    counts = found.truth.counts
    assert (counts.read, counts.empty, counts.not_areas, counts.repaired, counts.outside) == (5, 1, 1, 1, 1)
    assert (counts.clipped, counts.inside) == (1, 2)
    assert found.confusion[1].sum() == pytest.approx(200 + 100, abs=20)  # the bow's diagonals run through centres
    assert "1 geometries of the truth were invalid and have been repaired" in found.warnings
    assert "2 geometries of the truth are empty, damaged or not areas, and were left out" in found.warnings


def test_dates_are_those_of_the_areas_that_count(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    write_raster(inputs.raster, TIFFTAG_DATETIME="2017:06:01 18:04:25")
    path = write_truth(tmp_path / "dated.gpkg", DRAWN=["2015-07-01", "2015-08-15", "2016"])
    inputs = replace(inputs, truth=VectorSource(path), truth_columns=TruthColumns("CROP", "DRAWN"))
    found = evaluate(inputs)
    assert (str(found.truth_date), str(found.raster_date)) == ("2015-07-01 to 2016-12-31", "2017-06-01")
    [warning] = [one for one in found.warnings if "days apart" in one]
    assert "up to 701 days apart, more than 90" in warning
    assert not [one for one in evaluate(inputs, max_days=701).warnings if "days apart" in one]


def test_classes_are_given_in_order(tmp_path: Path) -> None:
    inputs = replace(scene_inputs(tmp_path), classes=Classes(CLASSES[::-1]))
    assert evaluate(inputs).names == ("background", "road", "field")


def test_scores_that_are_no_numbers_are_refused_in_words(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    table = geopandas.read_file(inputs.detections.path, layer="detections")
    for scores, name in ((["0.9", "0.8", "0.7", "0.6"], "said.gpkg"), (["high", "0.8", "0.7", "0.6"], "words.gpkg")):
        table.assign(score=scores).to_file(tmp_path / name, engine="pyogrio")
    assert evaluate(replace(inputs, detections=VectorSource(tmp_path / "said.gpkg"))).confusion.tolist() == CONFUSION
    with pytest.raises(VectorFileError, match=r"expected numbers as score in words\.gpkg, got 'high'"):
        evaluate(replace(inputs, detections=VectorSource(tmp_path / "words.gpkg")))
