"""What every ``Georeference`` does: rasters by transform, control points and RPCs, cameras, drones, turned pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS
from rasterio.transform import Affine

from sam3edge.core.georeference import Georeference
from sam3edge.geo.calibrate import PointAccuracy, calibrate
from sam3edge.geo.control_points import ControlPoint
from sam3edge.geo.drone import DroneOptions, open_photograph
from sam3edge.geo.lens import BendingLens, BrownConrady, Distortion, Fisheye
from sam3edge.geo.lensed import LensedCamera
from sam3edge.geo.oriented import Oriented
from sam3edge.geo.pose import PoseAccuracy, camera_of
from sam3edge.geo.raster import RasterOptions, open_raster
from sam3edge_pipeline.synthetic.georeferenced import WORLDS, World
from support.places import (
    CAMERA,
    CAMERA_SIZE,
    DJI,
    EXIF,
    POSE,
    RPCS,
    control_point_raster,
    drone_photograph,
    metres,
    write_raster,
)


def by_transform(world: World) -> Callable[[Path], Georeference]:
    return lambda folder: open_raster(
        write_raster(folder / "a.tif", crs=world.crs, transform=world.transform), RasterOptions()
    )


def by_world_file(folder: Path) -> Georeference:
    world = WORLDS["utm"]
    cv2.imwrite(str(folder / "a.png"), np.full((512, 640, 3), 90, np.uint8))
    x, y = world.corner[0] + world.pixel[0] / 2, world.corner[1] - world.pixel[1] / 2
    (folder / "a.pgw").write_text(f"{world.pixel[0]}\n0\n0\n{-world.pixel[1]}\n{x}\n{y}\n")
    (folder / "a.prj").write_text(CRS.from_user_input(world.crs).to_wkt("WKT1_ESRI"))
    return open_raster(folder / "a.png", RasterOptions())


def calibrated(folder: Path) -> Georeference:
    pixels = np.array([[100.0, 650], [1200, 680], [640, 500], [200, 300], [1100, 320], [640, 250]])
    pairs = zip(pixels, CAMERA.to_world(pixels), strict=True)
    return calibrate([ControlPoint(*p, *w) for p, w in pairs], CAMERA_SIZE, PointAccuracy()).camera


def over_hills(folder: Path) -> Georeference:
    steps = np.arange(200) / 2500
    heights = (100 + 50 * np.sin(400 * steps) * np.cos(300 * steps[:, None])).astype(np.float32)
    model = {"width": 200, "height": 200, "count": 1, "dtype": "float32", "driver": "GTiff", "crs": "EPSG:4326"}
    with rasterio.open(folder / "m.tif", "w", transform=Affine(4e-4, 0, 13.36, 0, -4e-4, 52.54), **model) as dataset:
        dataset.write(heights, 1)
    return open_raster(write_raster(folder / "a.tif", rpcs=RPCS), RasterOptions(elevation=folder / "m.tif"))


def through_a_lens(distortion: Distortion, focal: float) -> Georeference:
    lens = BendingLens(CAMERA_SIZE, (focal, 1.01 * focal), (650.0, 350.0), distortion)
    pose = replace(POSE, field_of_view=lens.field_of_view)
    return LensedCamera(camera_of(pose, CAMERA_SIZE, PoseAccuracy()), lens)


CASES: dict[str, Callable[[Path], Georeference]] = {
    **{name: by_transform(world) for name, world in WORLDS.items()},
    "world file": by_world_file,
    "control points": lambda folder: open_raster(control_point_raster(folder / "a.tif"), RasterOptions()),
    "rpcs": lambda folder: open_raster(write_raster(folder / "a.tif", rpcs=RPCS), RasterOptions(height=120.0)),
    "rpcs over hills": over_hills,
    "lens": lambda folder: through_a_lens(BrownConrady((-0.32, 0.12, 0.0008, -0.0005, -0.02)), 1000.0),
    "fisheye": lambda folder: through_a_lens(Fisheye((-0.02, 0.004, -0.002, 0.0003)), 600.0),
    "pose": lambda folder: CAMERA,
    "calibrated": calibrated,
    "drone": lambda folder: open_photograph(drone_photograph(folder / "a.jpg", EXIF, DJI), DroneOptions()),
    **{
        f"turned {n}": lambda folder, n=n: Oriented(by_transform(WORLDS["utm"])(folder), n)  # type: ignore[misc]
        for n in range(2, 9)
    },
}


@pytest.fixture(scope="module", params=CASES)
def georeference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Georeference:
    return CASES[request.param](tmp_path_factory.mktemp("place"))


def some_with_a_place(georeference: Georeference, shares: list[tuple[float, float]]) -> np.ndarray:
    """Those of the pixels at these shares of the frame that have a place."""
    pixels = np.array(shares).reshape(-1, 2) * georeference.size
    valid = georeference.valid((0.0, 0.0, *map(float, georeference.size)))
    return pixels[shapely.intersects_xy(valid, pixels[:, 0], pixels[:, 1])]


shares = st.lists(st.tuples(*[st.floats(0, 1)] * 2), min_size=1, max_size=20)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares)
def test_there_and_back(georeference: Georeference, shares: list[tuple[float, float]]) -> None:
    pixels = some_with_a_place(georeference, shares)
    positions = georeference.to_world(pixels)
    assert np.isfinite(positions).all()
    assert (np.abs(positions) <= [180.0, 90.0]).all()
    np.testing.assert_allclose(georeference.to_pixels(positions), pixels, atol=0.02)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares)
def test_the_accuracy_has_half_a_pixel_at_least(georeference: Georeference, shares: list[tuple[float, float]]) -> None:
    pixels = some_with_a_place(georeference, shares)
    accuracy = georeference.accuracy(pixels)
    aside = metres(georeference.to_world(pixels), georeference.to_world(pixels + np.array([0.5, 0.0])))
    assert accuracy.shape == (len(pixels),)
    assert np.isfinite(accuracy).all()
    assert (accuracy >= 0.99 * aside).all()


def test_far_from_the_frame_nothing_breaks(georeference: Georeference) -> None:
    away = np.array([[-1e5, -1e5], [1e7, 1e7], [0.0, -1e9]])
    positions = georeference.to_world(away)
    assert positions.shape == (3, 2)
    assert not np.isinf(positions).any()
    elsewhere = np.array([[-170.0, -80.0], [0.0, 0.0], [np.nan, np.nan]])
    pixels = georeference.to_pixels(elsewhere)
    assert not np.isinf(pixels).any()
    assert np.isnan(pixels[2]).all()


def test_what_is_valid_lies_within_the_bounds(georeference: Georeference) -> None:
    width, height = georeference.size
    bounds = (0.3 * width, 0.4 * height, 0.9 * width, float(height))
    valid = georeference.valid(bounds)
    assert valid.is_valid
    assert not valid.is_empty
    assert shapely.box(*bounds).buffer(1.0).covers(valid)


def test_they_look_from_above_or_from_the_side(georeference: Georeference) -> None:
    assert georeference.stance in ("above", "side")
