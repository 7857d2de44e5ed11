"""Geometries become areas on the raster, whatever they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from sam3edge.geo.globe import on_globe
from sam3edge_pipeline.evaluation.vector.grid import Grid, open_grid
from sam3edge_pipeline.evaluation.vector.placing import Placer, PlacingCounts
from sam3edge_pipeline.synthetic.georeferenced import WORLDS, draw_world, write_geotiff
from support.map_scenes import UTM, crs_of, on_earth, write_raster

SQUARE = shapely.box(10, 10, 30, 30)
NOT_NUMBERS = (math.nan, math.inf)


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with open_grid(write_raster(tmp_path / "a.tif")) as one:
        yield one


def place(grid: Grid, *geometries: Any, crs: str = UTM) -> tuple[list[Any], PlacingCounts]:
    binary = [one if one is None or isinstance(one, bytes) else shapely.to_wkb(one) for one in geometries]
    placed, counts = Placer(grid, crs_of(crs)).place(np.array([*binary, None], object)[:-1])
    return list(placed), counts


def test_an_area_is_where_it_is(grid: Grid) -> None:
    [area], counts = place(grid, on_earth(SQUARE, UTM))
    assert area.symmetric_difference(SQUARE).area < 1e-6
    assert counts == PlacingCounts(read=1, inside=1)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:3857"])
def test_it_is_there_from_any_reference_system(grid: Grid, crs: str) -> None:
    [area], _ = place(grid, on_earth(SQUARE, crs), crs=crs)
    assert area.symmetric_difference(SQUARE).area < 0.05  # of 400; PROJ is right to a tenth of a millimetre


def test_long_edges_stay_where_they_were(tmp_path: Path) -> None:
    """A parallel of 60 km is no straight line in UTM: its middle is 60 m beside the chord."""
    transform = Affine(30, 0, 340_000, 0, -30, 6_680_000)
    with open_grid(write_raster(tmp_path / "large.tif", transform, image=np.zeros((900, 2000, 3), np.uint8))) as one:
        south = shapely.Polygon([(11, 59), (14, 59), (14, 60.2), (11, 60.2)])
        [area], _ = place(one, south, crs="EPSG:4326")
        there = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
        x, y = there.transform(np.linspace(12.2, 13.0, 9), np.full(9, 60.2))
        edge = shapely.points((x - transform.c) / 30, (transform.f - y) / 30)
        assert shapely.distance(area.boundary, edge).max() < 0.05


def test_what_cannot_be_used_is_counted(grid: Grid) -> None:
    bow = shapely.Polygon([(391_010, 5_819_990), (391_030, 5_819_970), (391_030, 5_819_990), (391_010, 5_819_970)])
    with np.errstate(invalid="ignore"):
        nan, inf = (shapely.Polygon([(391_010, 5_819_990), (391_030, y), (391_030, 5_819_990)]) for y in NOT_NUMBERS)
    placed, counts = place(
        grid,
        None,
        shapely.Polygon(),
        b"no geometry",
        nan,
        inf,
        shapely.Point(391_010, 5_819_990),
        on_earth(SQUARE.exterior, UTM),
        bow,
        on_earth(shapely.box(-20, 10, 10, 30), UTM),
        on_earth(shapely.box(200, 10, 210, 30), UTM),
        on_earth(shapely.box(-50, 10, 0, 30), UTM),  # touches
    )
    assert counts == PlacingCounts(
        read=11, empty=2, unreadable=3, not_areas=2, repaired=1, outside=2, clipped=1, inside=2
    )
    assert placed[7].area == pytest.approx(200)
    assert placed[8].equals_exact(shapely.box(0, 10, 10, 30), 1e-6) or placed[8].area == pytest.approx(200)
    assert [one for number, one in enumerate(placed) if number not in (7, 8)] == [None] * 9


def test_of_a_collection_the_areas_count(grid: Grid) -> None:
    mixed = shapely.GeometryCollection([on_earth(SQUARE, UTM), shapely.Point(391_000, 5_820_000)])
    [area], counts = place(grid, mixed)
    assert area.area == pytest.approx(400)
    assert (counts.inside, counts.not_areas) == (1, 0)


def test_heights_do_not_matter(grid: Grid) -> None:
    high = shapely.force_3d(on_earth(SQUARE, UTM), 7.5)
    [area], _ = place(grid, high)
    assert not shapely.has_z(area)
    assert area.area == pytest.approx(400)


def test_holes_and_parts_stay(grid: Grid) -> None:
    ring = SQUARE.difference(shapely.box(15, 15, 20, 20))
    both = shapely.MultiPolygon([ring, shapely.box(50, 50, 60, 60)])
    [area], _ = place(grid, on_earth(both, "EPSG:4326"), crs="EPSG:4326")
    assert area.symmetric_difference(both).area < 1e-3


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3035"])
def test_huge_areas_are_clipped_and_huge_coordinates_harm_nobody(grid: Grid, crs: str) -> None:
    huge = shapely.box(-1e300, -1e300, 1e300, 1e300)
    large = shapely.box(-170, -80, 170, 80) if crs == "EPSG:4326" else shapely.box(-2e7, -2e7, 2e7, 2e7)
    far = shapely.box(1e200, 1e200, 1.1e200, 1.1e200)
    placed, counts = place(grid, large, huge, far, on_earth(SQUARE, crs), crs=crs)
    assert placed[0].area == pytest.approx(100 * 80)
    assert placed[3].area == pytest.approx(400, abs=0.05)
    assert (counts.read, counts.inside, counts.clipped, counts.unreadable) == (4, 2, 1, 2)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("crs", ["EPSG:4326", "own"])
def test_scenes_come_back_from_earth(tmp_path: Path, name: str, crs: str) -> None:
    """Across the antimeridian and at the pole, too; on Earth as RFC 7946 has them."""
    world = WORLDS[name]
    scene = draw_world(1, world)
    write_geotiff(tmp_path / "a.tif", scene)
    crs = world.crs if crs == "own" else crs
    with open_grid(tmp_path / "a.tif") as one:
        outlines = [o.outline for o in scene.objects]
        dense = [on_earth(shapely.segmentize(o, 0.5), crs, world.transform, world.crs) for o in outlines]
        geometries = [on_globe([rings(o)]) for o in dense] if crs == "EPSG:4326" else dense
        placed, counts = place(one, *geometries, crs=crs)
    assert counts.inside == len(outlines) >= 3
    for area, outline in zip(placed, outlines, strict=True):
        assert area.is_valid
        assert area.symmetric_difference(outline).area < 0.02 * outline.area


def rings(polygon: shapely.Polygon) -> list[np.ndarray]:
    return [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]


corners = st.lists(st.tuples(st.floats(-150, 250), st.floats(-150, 250)), min_size=3, max_size=7, unique=True).filter(
    lambda points: shapely.Polygon(points).area > 1
)


@settings(max_examples=60, deadline=None)
@given(corners)
def test_any_ring_becomes_a_valid_area_within_the_raster_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "ring.tif"
    with open_grid(path if path.exists() else write_raster(path)) as one:
        ring = shapely.Polygon([(391_000 + x, 5_820_000 - y) for x, y in points])
        [area], counts = place(one, ring)
    assert counts.read == counts.inside + counts.outside
    if area is not None:
        assert area.is_valid
        assert shapely.box(-1e-9, -1e-9, 100 + 1e-9, 80 + 1e-9).covers(area)
