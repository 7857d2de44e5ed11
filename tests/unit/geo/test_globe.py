"""Rings on the globe: the antimeridian, the poles, holes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.messages.geometries import bbox_of, world_hull
from sam3edge.geo.equal_area import area_on_earth
from sam3edge.geo.globe import GRID, on_globe
from sam3edge.geo.plane import LocalPlane
from support.places import ELLIPSOID


def circle(longitude: float, latitude: float, radius: float, count: int = 256) -> np.ndarray:
    """Positions around a centre, radius in metres, in the order of a clock's opposite, closed."""
    angle = np.linspace(0, 2 * np.pi, count + 1)
    ring = LocalPlane(longitude, latitude).to_world(radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    ring[-1] = ring[0]
    return ring


def area(geometry: shapely.Geometry) -> float:
    return abs(float(ELLIPSOID.geometry_area_perimeter(geometry)[0]))


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(10, 200_000), st.booleans())
def test_a_circle_is_whole_wherever_it_is(longitude: float, latitude: float, radius: float, turned: bool) -> None:
    nearest_pole = float(ELLIPSOID.inv(longitude, latitude, longitude, np.copysign(90, latitude))[2])
    assume(abs(nearest_pole - radius) > 0.01 * radius + 1)  # a pole on the outline is on no side of it
    ring = circle(longitude, latitude, radius)
    geometry = on_globe([[ring[::-1] if turned else ring]])
    assert geometry.is_valid
    assert all(part.exterior.is_ccw for part in shapely.get_parts(geometry))
    west, _, east, _ = geometry.bounds
    assert -180 <= west <= east <= 180
    around = np.cos(np.pi / 256) * np.sin(np.pi / 256) / (np.pi / 256)  # of a polygon of 256 corners
    assert area(geometry) == pytest.approx(np.pi * radius**2 * around, rel=2e-3, abs=20 * GRID * 111_000 * radius)


def test_a_circle_across_the_antimeridian_has_two_parts_and_a_bbox_that_crosses_it() -> None:
    geometry = on_globe([[circle(179.999, -17.0, 500.0)]])
    assert isinstance(geometry, shapely.MultiPolygon)
    assert len(geometry.geoms) == 2
    west, south, east, north = bbox_of(geometry)
    assert (west, east) == (pytest.approx(179.9943, abs=1e-3), pytest.approx(-179.9963, abs=1e-3))
    assert south < -17.0 < north


def test_a_pole_has_all_longitudes() -> None:
    geometry = on_globe([[circle(20.0, 89.999, 5000.0)]])
    assert bbox_of(geometry)[0::2] == (-180.0, 180.0)
    assert geometry.bounds[3] == 90.0
    south = on_globe([[circle(20.0, -89.999, 5000.0)]])
    assert south.bounds[1] == -90.0


def test_holes_stay_holes_at_the_antimeridian_and_around_a_pole() -> None:
    for longitude, latitude in ((180.0, 10.0), (0.0, 90.0), (0.0, -89.99), (13.0, 52.0)):
        shell, hole = circle(longitude, latitude, 5000.0), circle(longitude, latitude, 2000.0)
        geometry = on_globe([[shell, hole]])
        assert geometry.is_valid
        assert area(geometry) == pytest.approx(np.pi * (5000.0**2 - 2000.0**2), rel=2e-3)


def test_what_vanishes_on_the_grid_is_empty() -> None:
    assert on_globe([[circle(13.0, 52.0, 0.0001)]]).is_empty


@pytest.mark.parametrize("longitude", [13.0, 179.999, -179.999, 180.0])
def test_the_hull_stays_on_its_side(longitude: float) -> None:
    star = circle(longitude, -17.0, 500.0, 300)
    inner = circle(longitude, -17.0, 300.0, 300)
    star[1:-1:2] = inner[1:-1:2]
    geometry = on_globe([[star]])
    hull = world_hull(geometry)
    assert hull.is_valid
    assert shapely.get_num_coordinates(hull) <= 50
    assert area(hull) < 1.3 * np.pi * 500.0**2
    assert hull.buffer(3e-4).covers(geometry)  # 6 % of its radius


def boxes(*bounds: tuple[float, float, float, float]) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.box(*one) for one in bounds])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (boxes((179.98, 8, 179.99, 9), (-179.92, 8, -179.91, 9)), (179.98, 8, -179.91, 9)),
        (boxes((179.5, 8, 180.0, 9), (-179.92, 7, -179.91, 9)), (179.5, 7, -179.91, 9)),
        (boxes((-180.0, 8, -179.5, 9), (179.91, 8, 179.92, 9)), (179.91, 8, -179.5, 9)),
        (boxes((179.5, 8, 180.0, 9), (-180.0, 8, -179.5, 9), (-170, 8, -169, 9)), (179.5, 8, -169, 9)),
        (boxes((-10, 8, -9, 9), (30, 8, 31, 9)), (-10, 8, 31, 9)),
        (boxes((-180, 80, 180, 90), (3, 70, 4, 71)), (-180, 70, 180, 90)),
    ],
)
def test_the_bbox_is_the_narrowest_and_hulls_stay_within(
    parts: shapely.MultiPolygon, expected: tuple[float, float, float, float]
) -> None:
    assert bbox_of(parts) == expected
    hull = world_hull(parts)
    west, south, east, north = expected
    within = boxes((west, south, 180, north), (-180, south, east, north)) if west > east else shapely.box(*expected)
    assert hull.is_valid
    assert shapely.union_all(within).buffer(1e-9).covers(hull)
    assert hull.buffer(1e-9).covers(parts)


@given(st.floats(-179, 179), st.floats(-80, 80), st.floats(1e-4, 50), st.floats(0.1, 2), st.booleans())
def test_areas_are_those_within_edges_that_are_straight_in_degrees(
    longitude: float, latitude: float, width: float, share: float, hollow: bool
) -> None:
    east = min(180.0, longitude + width)
    width, height = east - longitude, (east - longitude) * share
    north = min(90.0, latitude + height)
    corners = [(longitude, latitude), (east, latitude), ((longitude + east) / 2, north)]
    whole = shapely.Polygon(corners)
    if hollow:
        inner = shapely.transform(whole, lambda at: (at + 2 * np.mean(corners, axis=0)) / 3)
        whole = shapely.Polygon(corners, [inner.exterior.coords])
    fine = shapely.orient_polygons(shapely.segmentize(whole, max(width, height) / 2000))
    coarse = shapely.orient_polygons(shapely.segmentize(whole, max(width, height) / 100))
    assert area_on_earth(coarse) == pytest.approx(area(fine), rel=1e-5, abs=0.01)  # as exact as PROJ is


def test_positions_are_kept_to_seven_decimals() -> None:
    ring = circle(13.123456789, 52.0, 30.0, 64)
    geometry = on_globe([[ring]])
    at = shapely.get_coordinates(geometry)
    np.testing.assert_allclose(np.sort(at[:-1], axis=0), np.sort(ring[:-1], axis=0), rtol=0, atol=0.51e-7)


def test_a_ring_that_goes_round_again_and_again_is_refused() -> None:
    turns = np.arange(0, 4000.0, 100.0)
    spiral = np.stack([(turns + 180) % 360 - 180, np.linspace(0, 10, len(turns))], axis=1)
    with pytest.raises(GeoreferenceError, match="more than once"):
        on_globe([[np.vstack([spiral, spiral[:1]])]])
