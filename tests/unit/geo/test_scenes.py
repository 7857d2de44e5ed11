"""From a GeoTIFF to a message: where things are, whatever the reference system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geojson_pydantic
import jsonschema
import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.geo.frames import RasterFiles
from sam3edge.geo.raster import RasterOptions
from sam3edge.geo.stage import Locate
from sam3edge.images.files import read_frame
from sam3edge_pipeline.synthetic.georeferenced import (
    ELLIPSOID,
    WORLDS,
    WorldObject,
    WorldScene,
    draw_world,
    write_geotiff,
)
from support.places import metres

PROMPTS = (Prompt("red"),)
SEEDS = (1, 2)


def located(path: Path) -> tuple[Frame, Detections]:
    frame = read_frame(path)
    reasons: list[object] = []
    stage = Locate(RasterFiles(path.parent, RasterOptions()), reasons.append)
    found = stage(frame, detect(FakeEngine(), frame, DetectionOptions(PROMPTS)))
    assert reasons == [None]
    return frame, found


def message_of(path: Path) -> dict[str, Any]:
    frame, found = located(path)
    [message] = encode(frame_result("line-7", frame, PROMPTS, found), "t", 1_000_000, 4.0)
    body: dict[str, Any] = json.loads(message.payload)
    jsonschema.Draft202012Validator(detections_schema()).validate(body)
    return body


def feature_of(body: dict[str, Any], one: WorldObject) -> dict[str, Any]:
    """The feature whose outline in the picture is that object's."""
    overlaps = [shape(f["properties"]["imageGeometry"]).intersection(one.outline).area for f in body["features"]]
    feature: dict[str, Any] = body["features"][int(np.argmax(overlaps))]
    return feature


@pytest.fixture(params=[(name, seed) for name in WORLDS for seed in SEEDS], ids=lambda p: f"{p[0]}-{p[1]}")
def scene_and_message(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[WorldScene, dict[str, Any]]:
    name, seed = request.param
    scene = draw_world(seed, WORLDS[name])
    write_geotiff(tmp_path / "a.tif", scene)
    return scene, message_of(tmp_path / "a.tif")


def test_centroids_are_within_a_pixel_and_areas_within_two_percent(
    scene_and_message: tuple[WorldScene, dict[str, Any]],
) -> None:
    scene, body = scene_and_message
    assert len(body["features"]) == len(scene.objects) >= 3
    for one in scene.objects:
        properties = feature_of(body, one)["properties"]
        x, y = one.outline.centroid.coords[0]
        longitudes, latitudes = scene.world.to_earth(np.array([[x, y], [x + 1, y], [x, y + 1]]))
        _, _, sides = ELLIPSOID.inv([longitudes[0]] * 2, [latitudes[0]] * 2, longitudes[1:], latitudes[1:])
        off = metres(np.array([properties["centroid"]]), np.array([one.centroid]))[0]
        assert off <= min(sides)
        assert off <= properties["accuracy_m"]
        assert properties["area_m2"] == pytest.approx(one.area, rel=0.02)
        assert properties["position"] == pytest.approx(properties["centroid"], abs=1e-6)


@pytest.mark.filterwarnings("ignore:BBOX crossing the Antimeridian:UserWarning")  # which RFC 7946 allows
def test_messages_are_geojson(scene_and_message: tuple[WorldScene, dict[str, Any]]) -> None:
    _, body = scene_and_message
    collection = geojson_pydantic.FeatureCollection.model_validate(body)
    for feature, read in zip(body["features"], collection.features, strict=True):
        assert read.geometry is not None
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        for part in shapely.get_parts(geometry):
            assert part.exterior.is_ccw
            assert not any(hole.is_ccw for hole in part.interiors)
            assert -180 <= part.bounds[0] < part.bounds[2] <= 180
            assert part.bounds[2] - part.bounds[0] < 360
        numbers = shapely.get_coordinates(geometry)
        np.testing.assert_array_equal(numbers, np.round(numbers, 7))
        west, south, east, north = feature["bbox"]
        assert south <= north
        assert (west > east) == (geometry.bounds[2] - geometry.bounds[0] == 360)


def test_holes_stay_holes(tmp_path: Path) -> None:
    scene = next(
        s
        for s in (draw_world(seed, WORLDS["utm"]) for seed in range(20))
        if any(o.outline.interiors for o in s.objects)
    )
    write_geotiff(tmp_path / "a.tif", scene)
    body = message_of(tmp_path / "a.tif")
    for one in scene.objects:
        geometry = shape(feature_of(body, one)["geometry"])
        assert len(geometry.interiors) == len(one.outline.interiors)


def test_what_crosses_the_antimeridian_is_divided_there(tmp_path: Path) -> None:
    scene = draw_world(4, WORLDS["antimeridian"], count=12)
    write_geotiff(tmp_path / "a.tif", scene)
    body = message_of(tmp_path / "a.tif")
    column = (180.0 - scene.world.corner[0]) / scene.world.pixel[0]
    crossing = [o for o in scene.objects if o.outline.bounds[0] < column - 2 and o.outline.bounds[2] > column + 2]
    assert crossing
    for one in crossing:
        feature = feature_of(body, one)
        parts = shapely.get_parts(shape(feature["geometry"]))
        assert {float(np.sign(part.bounds[0])) for part in parts} == {-1.0, 1.0}
        west, _, east, _ = feature["bbox"]
        assert west > 179.9
        assert east < -179.9


def test_parts_without_data_are_cut(tmp_path: Path) -> None:
    scene = draw_world(1, WORLDS["utm"])
    one = max(scene.objects, key=lambda o: o.outline.centroid.x)
    nodata = np.zeros(scene.image.shape[:2], bool)
    column = round(one.outline.centroid.x)
    nodata[:, :column] = True
    write_geotiff(tmp_path / "a.tif", scene, nodata)
    frame, found = located(tmp_path / "a.tif")
    detection = max(found.detections, key=lambda d: d.geometry.intersection(one.outline).area)
    remaining = one.outline.intersection(shapely.box(column, 0, frame.width, frame.height))
    assert detection.place is not None
    assert detection.place.outside == pytest.approx(1 - remaining.area / one.outline.area, abs=0.02)
    assert detection.place.area == pytest.approx(one.area * remaining.area / one.outline.area, rel=0.03)
    west, _, _, _ = detection.place.geometry.bounds
    edge = scene.world.to_earth(np.array([[column, y] for y in remaining.bounds[1::2]]))[0]
    assert west == pytest.approx(edge.min(), abs=1e-5)  # a pixel is 0.7e-5 degrees wide
    gone = [d for d in found.detections if d.geometry.bounds[2] < column]
    assert gone
    assert all(d.place is None for d in gone)
