"""From outlines to places: long edges stay where they were, the sky is cut off, things stand on the ground."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from rasterio.transform import Affine

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference, Points
from sam3edge.geo.camera import HORIZON_MARGIN
from sam3edge.geo.places import densified, footprint, place_of
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from sam3edge.geo.raster import RasterGeoreference, RasterOptions, open_raster
from sam3edge_pipeline.synthetic.georeferenced import World
from support.places import CAMERA, POSE, metres, write_raster

COARSE = World("EPSG:3413", (-600_000.0, -700_000.0), (2000.0, 2000.0))
"""1280 km of Greenland, on which straight lines are no lines of longitude and latitude."""


@pytest.fixture
def coarse(tmp_path: object) -> Georeference:
    path = write_raster(tmp_path / "a.tif", crs=COARSE.crs, transform=COARSE.transform)  # type: ignore[operator]
    return open_raster(path, RasterOptions())


def test_long_edges_stay_where_they_were(coarse: Georeference) -> None:
    """Every point of every straight line between positions is where the edge is in the picture."""
    outline = shapely.box(50, 50, 600, 450)
    place = place_of(outline, outline.bounds, coarse)
    assert place is not None
    dense = shapely.segmentize(place.geometry, 0.01)
    back = coarse.to_pixels(shapely.get_coordinates(dense))
    edge = shapely.LineString(outline.exterior.coords)
    away = shapely.distance(shapely.points(back), edge)
    assert away.max() < 0.2
    assert len(place.geometry.exterior.coords) < 400


def test_without_more_vertices_they_would_not(coarse: Georeference) -> None:
    ring = np.asarray(shapely.box(50, 50, 600, 450).exterior.coords)
    straight = shapely.segmentize(shapely.Polygon(coarse.to_world(ring)), 0.01)
    back = coarse.to_pixels(shapely.get_coordinates(straight))
    away = shapely.distance(shapely.points(back), shapely.LineString(ring))
    assert away.max() > 5


def test_straight_lines_get_no_vertices() -> None:
    ring = np.asarray(shapely.box(300, 400, 340, 430).exterior.coords)
    assert len(densified(ring, CAMERA)) == len(ring)


def test_the_area_is_that_on_the_ellipsoid(coarse: Georeference) -> None:
    outline = shapely.box(200, 200, 400, 300)
    place = place_of(outline, outline.bounds, coarse)
    assert place is not None
    ring = shapely.segmentize(outline, 0.1).exterior.coords
    x = COARSE.corner[0] + np.asarray(ring)[:, 0] * 2000
    y = COARSE.corner[1] - np.asarray(ring)[:, 1] * 2000
    equal_area = Transformer.from_crs(COARSE.crs, "EPSG:6933", always_xy=True)
    truth = shapely.Polygon(np.stack(equal_area.transform(x, y), 1)).area
    assert place.area == pytest.approx(truth, rel=1e-3)


def test_what_is_above_the_horizon_is_cut() -> None:
    camera = camera_of(replace(POSE, tilt=5.0, roll=0.0), (1280, 720), PoseAccuracy())
    horizon = 360 - float(camera.below_horizon(np.array([[640.0, 360.0]]))[0])
    tower = shapely.box(600, 0, 700, 600)
    place = place_of(tower, tower.bounds, camera)
    assert place is not None
    assert place.outside == pytest.approx((horizon + HORIZON_MARGIN) / 600, abs=1e-6)
    back = camera.to_pixels(shapely.get_coordinates(place.geometry))
    assert back[:, 1].min() == pytest.approx(horizon + HORIZON_MARGIN, abs=0.1)
    cloud = shapely.box(100, 0, 300, horizon + 10)
    assert place_of(cloud, cloud.bounds, camera) is None


def test_a_camera_places_things_where_they_stand() -> None:
    person = shapely.box(600, 300, 640, 420)
    place = place_of(person, person.bounds, CAMERA)
    assert place is not None
    [feet] = CAMERA.to_world(np.array([[620.0, 420.0]]))
    assert place.position == pytest.approx(feet, abs=1e-9)
    assert metres(np.array([place.position]), np.array([place.centroid]))[0] > 1
    assert place.accuracy == pytest.approx(CAMERA.accuracy(np.array([[620.0, 420.0]]))[0])


def test_far_places_are_as_far_off_as_a_little_less_tilt_makes_them() -> None:
    """Near the horizon half a degree less is many times as far; what would be in the sky is not counted."""
    accuracy = PoseAccuracy(0.0, 0.0, 0.0, 0.5, 0.0, 0.0)
    pose = CameraPose(13.4, 52.5, 8.0, 30.0, 12.0, 0.0, 65.0)
    stated, rng = camera_of(pose, (1920, 1080), accuracy), np.random.default_rng(4)
    pixels = np.array([[960.0, 1000.0], [960.0, 540.0], [300.0, 400.0], [960.0, 330.0], [1600.0, 290.0]])
    inside = []
    for tilt in rng.normal(12.0, 0.5, 300):
        true = camera_of(replace(pose, tilt=float(tilt)), (1920, 1080), accuracy).to_world(pixels)
        on_ground = np.isfinite(true).all(axis=1)
        off = np.where(on_ground, metres(stated.to_world(pixels), np.nan_to_num(true)), 0.0)
        inside.append(off <= stated.accuracy(pixels))
    assert (np.mean(inside, axis=0) >= 0.95).all()


def test_a_camera_that_sees_no_ground_is_refused() -> None:
    """Such as by a tilt as drones write it."""
    camera_of(CameraPose(13.4, 52.5, 8.0, 30.0, 0.0, 0.0, 65.0), (1920, 1080), PoseAccuracy())
    with pytest.raises(GeoreferenceError, match=r"degrees below the horizontal, 90 for straight down, got -25"):
        camera_of(CameraPose(13.4, 52.5, 8.0, 30.0, -25.0, 0.0, 65.0), (1920, 1080), PoseAccuracy())


def test_a_person_cut_by_the_lower_edge_stands_there() -> None:
    person = shapely.box(600, 300, 640, 720)
    place = place_of(person, person.bounds, CAMERA)
    assert place is not None
    assert place.position == pytest.approx(CAMERA.to_world(np.array([[620.0, 720.0]]))[0], abs=1e-9)


def test_the_footprint_is_a_pixel_on_the_ground(coarse: Georeference) -> None:
    assert footprint(coarse, np.array([[300.0, 250.0]])) == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("scale", [(2.0, 0.5), (0.5, 2.0)])
def test_the_footprint_of_an_oblong_pixel_is_its_longer_side(scale: tuple[float, float], tmp_path: Path) -> None:
    transform = Affine(scale[0], 0, 391_000, 0, -scale[1], 5_820_000)
    path = write_raster(tmp_path / "a.tif", crs="EPSG:32633", transform=transform)
    assert footprint(open_raster(path, RasterOptions()), np.array([[320.0, 250.0]])) == pytest.approx(2.0, rel=2e-3)


LARGE: dict[str, tuple[str, Affine, float]] = {
    "degrees at 65 N": ("EPSG:4326", Affine(0.005, 0, 10, 0, -0.005, 66), 236),
    "degrees at 52 N": ("EPSG:4326", Affine(0.0025, 0, 10, 0, -0.0025, 53), 171),
    "degrees at 75 N": ("EPSG:4326", Affine(0.01, 0, 10, 0, -0.01, 76), 288),
    "degrees at 80 S, across the antimeridian": ("EPSG:4326", Affine(0.01, 0, 175, 0, -0.01, -75), 288),
    "Mercator, across the antimeridian": ("EPSG:3857", Affine(500, 0, 19.9e6, 0, -500, 9e6), 250),
    "Mercator around the Pacific": ("EPSG:3832", Affine(500, 0, -20.2e6, 0, -500, 9e6), 250),
    "grads": ("EPSG:4807", Affine(0.01, 0, 195, 0, -0.01, 66), 400),
    "Mercator": ("EPSG:3857", Affine(2000, 0, 0, 0, -2000, 9e6), 1000),
    "sinusoidal": ("ESRI:54008", Affine(500, 0, -8e6, 0, -500, 7e6), 500),
    "UTM": ("EPSG:32633", Affine(100, 0, 391_000, 0, -100, 7_820_000), 100),
    "around a pole": ("EPSG:3995", Affine(500, 0, -250_000, 0, -500, 250_000), 500),
}
"""Reference system, transform, and metres of a pixel's shorter side."""

OUTLINES = {
    "box": shapely.box(5, 5, 1005, 205),
    "triangle": shapely.Polygon([(5, 5), (1005, 5), (505, 605)]),
    "ring": shapely.Point(505, 505).buffer(500).difference(shapely.Point(405, 405).buffer(200)),
}


@pytest.mark.parametrize("shown", OUTLINES)
@pytest.mark.parametrize("where", LARGE)
def test_an_object_of_1000_pixels_has_its_area_and_its_centre(where: str, shown: str, tmp_path: Path) -> None:
    """By PROJ, of an outline that is divided into quarters of a pixel."""
    crs, transform, metres_of_pixel = LARGE[where]
    outline = OUTLINES[shown]
    path = write_raster(tmp_path / "a.tif", 1010, 1010, crs=crs, transform=transform)
    place = place_of(outline, outline.bounds, open_raster(path, RasterOptions()))
    assert place is not None
    longitude, latitude = place.centroid
    plane = f"+proj=laea +lat_0={latitude!r} +lon_0={longitude!r} +datum=WGS84"
    onto = Transformer.from_crs(crs, plane, always_xy=True)

    def flattened(pixels: Points) -> Points:
        x, y = transform.a * pixels[:, 0] + transform.c, transform.e * pixels[:, 1] + transform.f
        return np.stack(onto.transform(x, y), axis=1)

    flat = shapely.transform(shapely.segmentize(outline, 0.25), flattened)
    assert place.area == pytest.approx(flat.area, rel=1e-3)
    assert np.hypot(flat.centroid.x, flat.centroid.y) < 0.2 * metres_of_pixel


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_small_outlines_have_their_area(crs: str, tmp_path: Path) -> None:
    """On seven decimals some are only just valid, and would be turned around by whoever mends them."""
    degrees = Affine(7.4e-6, 0, 13.4, 0, -4.5e-6, 52.5)
    transform = Affine(0.5, 0, 391_000, 0, -0.5, 5_820_000) if crs == "EPSG:32633" else degrees
    georeference = open_raster(write_raster(tmp_path / "a.tif", crs=crs, transform=transform), RasterOptions())
    rng, pixel = np.random.default_rng(0), footprint(georeference, np.array([[320.0, 240.0]])) ** 2
    for _ in range(400):
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 40)))
        reach = rng.uniform(3, 30) * rng.uniform(0.5, 1, len(turns))
        ring = rng.uniform(60, 400, 2) + (reach * np.stack([np.cos(turns), np.sin(turns)])).T
        outline = shapely.Polygon(np.round(ring, 1))
        if outline.is_valid and outline.area > 1:
            place = place_of(outline, outline.bounds, georeference)
            assert place is not None
            assert place.area == pytest.approx(outline.area * pixel, rel=0.02, abs=0.3 * pixel * outline.length)
            assert outline.buffer(1).covers(shapely.Point(georeference.to_pixels(np.array([place.centroid]))[0]))


def test_an_outline_around_half_the_globe_and_more_is_whole(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", 600, 600, crs="EPSG:4326", transform=Affine(0.6, 0, -180, 0, -0.3, 90))
    world = open_raster(path, RasterOptions())
    for west, east in ((0, 600), (10, 590), (100, 500)):
        belt = shapely.box(west, 200, east, 400)  # 30 N to 30 S, which is half of the Earth but for its flattening
        place = place_of(belt, belt.bounds, world)
        assert place is not None
        assert place.area == pytest.approx(510.07e12 * 0.4982 * (east - west) / 600, rel=2e-3)
        assert place.geometry.bounds == pytest.approx((west * 0.6 - 180, -30, east * 0.6 - 180, 30))


def test_an_outline_of_very_many_vertices_keeps_its_place(coarse: Georeference) -> None:
    jagged = shapely.Point(320, 250).buffer(240, quad_segs=2)
    lake = shapely.Polygon([*shapely.segmentize(jagged, 0.05).exterior.coords])
    assert len(lake.exterior.coords) > 29_000
    cut = shapely.union(lake, shapely.box(300, 240, 630, 260))  # which adds edges that are bent on Earth
    place = place_of(cut, cut.bounds, coarse)
    assert place is not None
    assert len(place.geometry.exterior.coords) > 20_000


@dataclass
class Counting:
    """A ``Georeference`` that counts what it is asked for."""

    inner: RasterGeoreference
    asked: int = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def to_world(self, pixels: Points) -> Points:
        self.asked += len(pixels)
        return self.inner.to_world(pixels)


@pytest.mark.parametrize("pixel", [1e6, 1e7, 1e9])
@pytest.mark.parametrize("crs", ["EPSG:3857", "ESRI:54008"])
def test_a_georeference_that_tears_outlines_apart_gives_no_place_and_takes_no_time(
    crs: str, pixel: float, tmp_path: Path
) -> None:
    path = write_raster(tmp_path / "a.tif", crs=crs, transform=Affine(pixel, 0, 0, 0, -pixel, 0))
    try:
        counting = Counting(open_raster(path, RasterOptions()))
    except GeoreferenceError:
        return
    blob = shapely.Point(320, 250).buffer(200, quad_segs=64)
    assert place_of(blob, blob.bounds, counting) is None  # type: ignore[arg-type]
    assert counting.asked < 2_000_000
