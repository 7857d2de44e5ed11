"""Rings on the globe: the antimeridian, the poles, holes."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from sam3edge.core.messages.geometries import bbox_of, world_hull
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
