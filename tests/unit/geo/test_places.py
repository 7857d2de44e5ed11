"""From outlines to places: long edges stay where they were, the sky is cut off, things stand on the ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from sam3edge.core.georeference import Georeference
from sam3edge.geo.camera import HORIZON_MARGIN
from sam3edge.geo.places import densified, footprint, place_of
from sam3edge.geo.pose import PoseAccuracy, camera_of
from sam3edge.geo.raster import RasterOptions, open_raster
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


def test_a_person_cut_by_the_lower_edge_stands_there() -> None:
    person = shapely.box(600, 300, 640, 720)
    place = place_of(person, person.bounds, CAMERA)
    assert place is not None
    assert place.position == pytest.approx(CAMERA.to_world(np.array([[620.0, 720.0]]))[0], abs=1e-9)


def test_the_footprint_is_a_pixel_on_the_ground(coarse: Georeference) -> None:
    assert footprint(coarse, np.array([[300.0, 250.0]])) == pytest.approx(2000, rel=0.05)
