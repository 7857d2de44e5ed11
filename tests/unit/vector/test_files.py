"""Every format, read back by others' readers: nothing is lost, whatever features have for geometries and attributes."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geojson_pydantic
import geopandas
import pyarrow.parquet as pq
import pycocotools.mask as coco_mask
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from shapely import affinity

from sam3edge.core.errors import VectorFileError
from sam3edge.vector import files
from sam3edge.vector.files import FeatureWriter, write_features
from sam3edge.vector.rows import features_of, row_of
from support.vector_files import (
    FIELD,
    SQUARE,
    Back,
    attributes,
    feature,
    layers,
    message,
    multiple,
    names_in,
    placed,
    read_layer,
    read_parquet,
    unplaced,
    utc,
)

HOLE = shapely.Polygon(FIELD.exterior, [shapely.box(13.402, 52.502, 13.404, 52.504).exterior])
TWO = shapely.MultiPolygon([HOLE, shapely.box(14, 53, 14.1, 53.1)])
DIVIDED = shapely.MultiPolygon([shapely.box(179.9, -17, 180, -16), shapely.box(-180, -17, -179.9, -16)])

GIS = (".gpkg", ".fgb", ".parquet", ".geojson")


def places(path: Path) -> Back:
    """What a file holds on Earth."""
    if path.suffix == ".parquet":
        return {name: one for name, one in read_parquet(path).items() if one[0] is not None}
    if path.suffix == ".geojson":
        return {name: one for name, one in read_layer(path).items() if one[0] is not None}
    return read_layer(path, "detections") if "detections" in layers(path) else {}


def outlines(path: Path) -> Back:
    """What a file holds in pixels, of features without a place."""
    if path.suffix == ".parquet":
        unplaced = {name for name, one in read_parquet(path).items() if one[0] is None}
        return {name: one for name, one in read_parquet(path, "image_geometry").items() if name in unplaced}
    if path.suffix == ".geojson":
        read = {name: values for name, (place, values) in read_layer(path).items() if place is None}
        drawn = {name: json.dumps(values["imageGeometry"]) for name, values in read.items()}
        return {name: (multiple(shapely.from_geojson(drawn[name])), read[name]) for name in read}
    if path.suffix == ".fgb":
        beside = path.with_stem(f"{path.stem}_pixels")
        path = beside if beside.exists() else path
    return read_layer(path, "detections_pixels") if "detections_pixels" in layers(path) else {}


@pytest.mark.parametrize("end", GIS)
def test_a_message_becomes_a_file_with_all_that_it_says(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"found{end}"
    body = message(placed(), unplaced())
    assert write_features(path, features_of(body)) == 2
    [(identity, (place, values))] = places(path).items()
    assert identity == body["features"][0]["id"]
    assert place == multiple(FIELD)
    shared = {
        "device": "line-7",
        "source": "folder",
        "captured_at": utc("2026-01-02T03:04:05.678+00:00"),
        "frame": "a.png",
        "frame_id": "f" * 32,
        "frame_width": 320,
        "frame_height": 240,
        "message_id": body["id"],
        "model": "demo",
        "model_version": "1.2.3",
        "geometry_quality": "exact",
        "score": 0.8765,
        "x_min": 10.5,
        "y_min": 20.0,
        "x_max": 50.0,
        "y_max": 60.0,
    }
    expected = {
        **shared,
        "id": identity,
        "label": "scratch",
        "prompt": "scratch",
        "track_id": "t-1",
        "zones": "yard, gate",
        "area_m2": 754_321.99,
        "accuracy_m": 1.23,
        "longitude": 13.404,
        "latitude": 52.504,
        "outside": 0.25,
        "area": 1580.0,
    }
    assert {name: values[name] for name in expected} == expected
    assert values.get("object", json.loads(values.get("other", "{}")).get("object")) == 3
    [(other, (outline, values))] = outlines(path).items()
    assert other == body["features"][1]["id"]
    assert outline == multiple(shapely.Polygon(SQUARE.exterior, [shapely.box(20, 30, 30, 40).exterior]))
    expected = {**shared, "id": other, "label": "dent", "prompt": "dent", "area": 1480.0}
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("end", GIS)
def test_geometries_survive(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"found{end}"
    on_earth = {"whole": FIELD, "hole": HOLE, "two": TWO, "divided": DIVIDED, "empty": shapely.MultiPolygon()}
    in_pixels = {
        "square": SQUARE,
        "parts": shapely.MultiPolygon([SQUARE, shapely.box(100, 100, 101, 101)]),
        "none": None,
    }
    written = [feature(name, area) for name, area in on_earth.items()]
    written += [feature(name, None, outline) for name, outline in in_pixels.items()]
    if end == ".geojson":
        written = [one for one in written if one["id"] != "none"]  # has its own test
        in_pixels.pop("none")
    assert write_features(path, written) == len(written)
    back, pixels = places(path), outlines(path)
    if end in (".fgb", ".geojson"):  # read back, an area without points is none there
        read = back.pop("empty", None) or pixels.pop("empty")
        assert read[0] is None or read[0] == on_earth["empty"]
        on_earth.pop("empty")
    assert {name: one[0] for name, one in back.items()} == {name: multiple(one) for name, one in on_earth.items()}
    assert {name: one[0] for name, one in pixels.items()} == {name: multiple(one) for name, one in in_pixels.items()}


def test_a_feature_with_no_geometry_at_all_is_in_geojson(tmp_path: Path) -> None:
    write_features(tmp_path / "found.geojson", [feature("none", None, None)])
    [(geometry, values)] = read_layer(tmp_path / "found.geojson").values()
    assert geometry is None
    assert values["label"] == "scratch"


@pytest.mark.parametrize("end", [".gpkg", ".fgb"])
def test_other_kinds_of_geometry_have_layers_of_their_own(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"found{end}"
    point, line = shapely.Point(13.4, 52.5), shapely.LineString([(13, 52), (14, 53)])
    high = shapely.Polygon([(13, 52, 7.5), (14, 52, 8), (14, 53, 9)])
    several = shapely.GeometryCollection([point, line])
    kinds = {"point": point, "line": line, "high": high, "several": several, "area": FIELD}
    write_features(
        path, [*(feature(name, one) for name, one in kinds.items()), feature("x", None, shapely.Point(3, 4))]
    )
    stems = {"": "area", "_points": "point", "_lines": "line", "_collections": "several", "_z": "high"}
    for marks, name in stems.items():
        file = path if end == ".gpkg" else path.with_stem(f"found{marks}")
        assert read_layer(file, f"detections{marks}")[name][0] == multiple(kinds[name])
    file = path if end == ".gpkg" else path.with_stem("found_points_pixels")
    assert read_layer(file, "detections_points_pixels")["x"][0] == shapely.MultiPoint([(3, 4)])
    file = path if end == ".gpkg" else path.with_stem("found_z")
    [[corner, *_]] = [
        shapely.get_coordinates(one[0], include_z=True) for one in read_layer(file, "detections_z").values()
    ]
    assert corner[2] in (7.5, 8, 9)


def shifted(area: shapely.Polygon, x: float, y: float) -> shapely.Polygon:
    return affinity.translate(area, x, y)


texts = st.text(max_size=12)
scores = st.floats(0, 1)
areas = st.builds(
    shifted, st.sampled_from([FIELD, HOLE]), st.floats(-190, 160).filter(lambda x: x >= -193), st.floats(-60, 30)
)
some = st.fixed_dictionaries(
    {"place": st.none() | areas.filter(lambda a: a.bounds[0] >= -180), "label": texts, "score": scores},
    optional={
        "track_id": texts,
        "zones": st.lists(st.text("abc_.-", min_size=1, max_size=4), max_size=3),
        "area_m2": st.floats(0, 1e12),
        "accuracy_m": st.floats(0, 1e6),
        'odd "name" é': st.integers() | texts | st.booleans(),
        "": texts,
        "geom": texts,
        "fid": texts,
    },
)


@pytest.mark.parametrize("end", [".gpkg", ".fgb", ".parquet"])
@settings(max_examples=15, deadline=None)
@given(given_features=st.lists(some, max_size=6))
def test_whatever_features_have_is_read_back(end: str, given_features: list[dict[str, Any]]) -> None:
    written = [
        feature(str(n), one["place"], SQUARE, **{name: v for name, v in one.items() if name != "place"})
        for n, one in enumerate(given_features)
    ]
    rows = [row_of(one) for one in written]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"found{end}"
        assert write_features(path, written) == len(written)
        back = {**places(path), **outlines(path)}
    assert len(back) == len(rows)
    for row in rows:
        geometry, values = back[str(row.values["id"])]
        assert geometry == multiple(row.place if row.place is not None else row.outline)
        assert values == {name: value for name, value in row.values.items() if value != ""} | {
            name: "" for name, value in row.values.items() if value == "" and name in values
        }


@pytest.mark.parametrize("end", [".gpkg", ".fgb", ".parquet", ".geojson"])
def test_nothing_found_is_a_file_with_nothing_in_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"found{end}"
    assert write_features(path, []) == 0
    read = geopandas.read_parquet(path) if end == ".parquet" else pyogrio.read_dataframe(path, layer=0)
    assert len(read) == 0


def test_a_geopackage_is_whole_and_names_its_reference_systems(tmp_path: Path) -> None:
    path = tmp_path / "found.gpkg"
    write_features(path, [feature("a", FIELD), feature("b")])
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA user_version").fetchone() == (10200,)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        columns = "table_name, srs_id, geometry_type_name"
        rows = database.execute(f"SELECT {columns} FROM gpkg_geometry_columns ORDER BY 1").fetchall()
        assert rows == [("detections", 4326, "MULTIPOLYGON"), ("detections_pixels", -1, "MULTIPOLYGON")]
        described = dict(database.execute("SELECT table_name, description FROM gpkg_contents").fetchall())
    database.close()
    assert "WGS 84" in described["detections"]
    assert "y down" in described["detections_pixels"]


def test_flatgeobuf_says_what_pixels_are_and_has_an_index(tmp_path: Path) -> None:
    path = tmp_path / "found.fgb"
    write_features(path, [feature("a", FIELD), feature("b")])
    assert names_in(tmp_path) == ["found.fgb", "found.qml", "found_pixels.fgb", "found_pixels.qml"]
    earth, pixels = pyogrio.read_info(path), pyogrio.read_info(path.with_stem("found_pixels"))
    assert (earth["crs"], pixels["crs"]) == ("EPSG:4326", None)
    assert "y down" in pixels["layer_metadata"]["DESCRIPTION"]
    assert earth["capabilities"]["fast_spatial_filter"]


def test_pixels_alone_are_in_the_file_that_was_asked_for(tmp_path: Path) -> None:
    write_features(tmp_path / "found.fgb", [feature("b")])
    assert names_in(tmp_path) == ["found.fgb", "found.qml"]
    assert pyogrio.read_info(tmp_path / "found.fgb")["crs"] is None


def test_geoparquet_has_both_geometries_and_shows_the_one_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / "found.parquet"
    write_features(path, [feature("a", DIVIDED), feature("b")])
    table = geopandas.read_parquet(path)
    assert (table.geometry.name, table.crs.to_string(), table["image_geometry"].crs) == ("geometry", "OGC:CRS84", None)
    assert table["image_geometry"].notna().all()
    metadata = pq.read_metadata(path).metadata
    document = json.loads(metadata[b"geo"])
    assert document["columns"]["geometry"]["geometry_types"] == ["MultiPolygon"]
    assert document["columns"]["geometry"]["bbox"] == [-180.0, -17.0, 180.0, -16.0]
    assert "y down" in json.loads(metadata[b"sam3edge"])["image_geometry"]
    write_features(path, [feature("b")])
    table = geopandas.read_parquet(path)
    assert (table.geometry.name, table.crs) == ("image_geometry", None)


def test_geojson_is_what_the_standard_and_oversightml_say(tmp_path: Path) -> None:
    path = tmp_path / "found.geojson"
    body = message(placed(DIVIDED), unplaced())
    write_features(path, features_of(body))
    document = json.loads(path.read_text())
    with pytest.warns(UserWarning, match="crossing the Antimeridian"):
        collection = geojson_pydantic.FeatureCollection.model_validate(document)
    assert len(collection.features) == 2
    for one, given_one in zip(document["features"], body["features"], strict=True):
        assert set(one) <= {"type", "id", "bbox", "geometry", "properties"}
        same = {name: one[name] for name in given_one if name != "properties"}
        assert same == {name: v for name, v in given_one.items() if name != "properties"}
        osml = ("imageGeometry", "imageBBox", "featureClasses", "modelMetadata", "image_id")
        assert {name: one["properties"][name] for name in osml} == {
            name: given_one["properties"][name] for name in osml
        }
    again = tmp_path / "again.geojson"
    write_features(again, document["features"])
    assert again.read_bytes() == path.read_bytes()


def test_a_written_file_leads_to_the_same_rows(tmp_path: Path) -> None:
    write_features(tmp_path / "found.geojson", features_of(message(placed(), unplaced())))
    written = json.loads((tmp_path / "found.geojson").read_text())["features"]
    before = [row_of(one) for one in features_of(message(placed(), unplaced()))]
    assert [attributes(row_of(one).values) for one in written] == [attributes(row.values) for row in before]


def test_coco_is_read_by_its_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "found.coco.json"
    cut = shapely.Polygon(SQUARE.exterior, [shapely.box(20, 30, 30, 40).exterior])
    parts = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(300, 200, 320, 240)])
    other = {
        **feature("d", None, shapely.box(1, 2, 4, 6)),
        "frame": {"id": "e", "name": "b.png", "width": 9, "height": 8},
    }
    written = [
        feature("a", None, SQUARE, score=0.25),
        feature("b", FIELD, cut, label="dent"),
        feature("c", None, parts),
        other,
    ]
    assert write_features(path, written) == 4
    coco = COCO(str(path))
    assert [coco.imgs[n]["file_name"] for n in (1, 2)] == ["a.png", "b.png"]
    assert [(coco.imgs[n]["width"], coco.imgs[n]["height"]) for n in (1, 2)] == [(320, 240), (9, 8)]
    assert [coco.cats[n]["name"] for n in (1, 2)] == ["scratch", "dent"]
    assert [(a["image_id"], a["category_id"], a["score"]) for a in coco.anns.values()] == [
        (1, 1, 0.25),
        (1, 2, 0.5),
        (1, 1, 0.5),
        (2, 1, 0.5),
    ]
    assert [a["bbox"] for a in coco.anns.values()][3] == [1, 2, 3, 4]
    # the square begins in the middle of a column; COCO's own rule for polygons may take its edges otherwise
    covered = [int(coco_mask.area(coco.annToRLE(a))) for a in coco.anns.values()]
    assert covered[1:] == [1600 - 100, 100 + 800, 12]


@pytest.mark.parametrize("end", [".gpkg", ".fgb", ".parquet", ".geojson", ".coco.json"])
def test_features_are_not_kept(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, no more than a batch of them is alive at once."""

    class Watched(dict[str, Any]):
        pass

    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def many() -> Iterator[dict[str, Any]]:
        nonlocal most
        for n in range(200):
            one = Watched(feature(str(n), FIELD if n % 2 else None))
            one.__class__.__hash__ = object.__hash__  # type: ignore[method-assign]
            alive.add(one)
            most = max(most, len(alive))
            yield one

    monkeypatch.setattr(files, "MAX_ROWS", 20)
    assert write_features(tmp_path / f"found{end}", many()) == 200
    assert most <= 22


def test_large_geometries_are_written_before_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 20_000)
    round_ = shapely.Point(13, 52).buffer(1, 100)
    write_features(tmp_path / "found.parquet", [feature(str(n), round_) for n in range(12)])
    groups = pq.read_metadata(tmp_path / "found.parquet")
    assert groups.num_row_groups >= 3
    assert groups.num_rows == 12


def test_features_come_little_by_little(tmp_path: Path) -> None:
    path = tmp_path / "found.gpkg"
    with FeatureWriter(path) as writer:
        writer.write([feature("a", FIELD)])
        assert not path.exists()
        writer.write([feature("b")])
        writer.write([])
    assert writer.count == 2
    assert writer.files == (path,)
    assert len(read_layer(path, "detections")) == len(read_layer(path, "detections_pixels")) == 1


@pytest.mark.parametrize("name", ["found.GPKG", "a.b.FGB", "x.GeoParquet", "x.GeoJSON", "x.COCO.json"])
def test_ends_are_known_in_upper_case_too(tmp_path: Path, name: str) -> None:
    assert write_features(tmp_path / name, [feature("a", FIELD)]) == 1
    assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("name", ["found.shp", "found", "found.json", ".gpkg", "gpkg"])
def test_an_unknown_end_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(VectorFileError, match=r"ends in \.gpkg, \.fgb, .*\.coco\.json, got"):
        write_features(tmp_path / name, [feature("a", FIELD)])
    assert names_in(tmp_path) == []


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="GDAL's programs are not installed")
@pytest.mark.parametrize("end", [".gpkg", ".fgb", ".geojson"])
def test_ogrinfo_reads_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / f"found{end}"
    write_features(path, [feature("a", FIELD), feature("b", TWO)])
    done = subprocess.run(["ogrinfo", "-al", "-so", str(path)], capture_output=True, text=True, check=True)
    assert "Feature Count: 2" in done.stdout
    assert "captured_at: DateTime" in done.stdout
