"""The plane of equal areas is PROJ's."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sam3edge.geo.equal_area import EqualAreaPlane
from support.places import ELLIPSOID, metres


@given(st.floats(-180, 180), st.floats(-89.9, 89.9), st.floats(10, 200_000), st.integers(0, 1000))
@settings(max_examples=30)
def test_centroids_are_those_on_projs_plane(longitude: float, latitude: float, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 12
    turns, far = np.sort(rng.uniform(0, 360, count)), size * rng.uniform(0.5, 1, count)
    around = ELLIPSOID.fwd([longitude] * count, [latitude] * count, turns, far)
    positions = np.column_stack(around[:2])
    plane = EqualAreaPlane(longitude, latitude)
    flat = shapely.Polygon(plane.to_plane(positions)).centroid
    projection = f"+proj=laea +lon_0={longitude!r} +lat_0={latitude!r} +datum=WGS84 +units=m"
    there = Transformer.from_crs("EPSG:4326", projection, always_xy=True)
    by_proj = shapely.Polygon(np.column_stack(there.transform(*positions.T))).centroid
    expected = there.transform(by_proj.x, by_proj.y, direction="INVERSE")
    assert metres(np.array([plane.to_world(flat.x, flat.y)]), np.array([expected]))[0] < 1e-3


def test_the_middle_is_where_it_was() -> None:
    assert EqualAreaPlane(13.4, 52.5).to_world(0.0, 0.0) == (13.4, 52.5)
