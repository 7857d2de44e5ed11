"""Outlines become the pixels whose centres they hold, as masks and as run lengths."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as coco_mask
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.masks import crossings, rasterize, run_lengths
from sam3edge.core.polygons import outline_of
from sam3edge.vector.run_lengths import rle_of, segmentation_of
from sam3edge_pipeline.synthetic import draw_scene

POINTS = st.lists(st.tuples(st.integers(-40, 300), st.integers(-40, 250)), min_size=3, max_size=9)


def outline_with(shell: list[tuple[int, int]], cut: list[tuple[int, int]]) -> shapely.Polygon | shapely.MultiPolygon:
    def polygons(points: list[tuple[int, int]]) -> shapely.Geometry:  # type: ignore[name-defined]
        # coordinates that are odd multiples of 0.05 never meet a centre
        valid = shapely.make_valid(shapely.Polygon([(x / 10 + 0.05, y / 10 + 0.05) for x, y in points]))
        return shapely.union_all([p for p in shapely.get_parts(valid) if isinstance(p, shapely.Polygon)] or [None])

    outline = shapely.difference(polygons(shell), polygons(cut))
    return outline if isinstance(outline, shapely.Polygon | shapely.MultiPolygon) else shapely.Polygon()


@given(POINTS, POINTS)
def test_a_pixel_is_inside_when_its_centre_is(shell: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    outline = outline_with(shell, cut)
    y, x = np.mgrid[:20, :25] + 0.5
    near_an_edge = shapely.distance(outline.boundary, shapely.points(x, y)) < 1e-9
    same = rasterize(outline, 25, 20) == shapely.contains_xy(outline, x, y)
    assert np.all(same | near_an_edge)


@given(POINTS, POINTS)
def test_run_lengths_are_cocos_of_the_mask(shell: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    outline = outline_with(shell, cut)
    encoded = coco_mask.encode(np.asfortranarray(rasterize(outline, 25, 20), np.uint8))
    assert rle_of(outline, 25, 20) == {"size": [20, 25], "counts": encoded["counts"].decode()}


def test_run_lengths_by_hand() -> None:
    assert run_lengths(shapely.box(0, 0, 2, 3), 2, 3).tolist() == [0, 6]  # all
    assert run_lengths(shapely.Polygon(), 2, 3).tolist() == [6]  # nothing
    assert run_lengths(shapely.box(1, 0, 9, 9), 3, 4).tolist() == [4, 8]  # two columns, down to the edge
    ring = shapely.Polygon(shapely.box(0, 0, 3, 3).exterior, [shapely.box(1, 1, 2, 2).exterior])
    assert run_lengths(ring, 3, 3).tolist() == [0, 4, 1, 4]


def test_a_raster_of_any_size_takes_the_outlines_memory() -> None:
    far = shapely.box(29_000, 29_000, 30_000, 30_000)
    runs = run_lengths(far, 30_000, 30_000)
    assert runs.sum() == 30_000**2
    assert runs[1::2].sum() == 1000**2
    assert len(runs) == 2 * 1000


def test_only_what_has_a_hole_needs_run_lengths() -> None:
    one = shapely.Polygon([(1, 1), (4, 1), (4, 3)])
    two = shapely.MultiPolygon([one, shapely.box(5, 5, 6, 6)])
    assert segmentation_of(one, 9, 9) == [[1, 1, 4, 1, 4, 3]]
    assert [len(ring) for ring in segmentation_of(two, 9, 9)] == [6, 8]
    ring = shapely.Polygon(shapely.box(0, 0, 3, 3).exterior, [shapely.box(1, 1, 2, 2).exterior])
    assert segmentation_of(ring, 3, 3) == rle_of(ring, 3, 3)


def test_the_masks_of_scenes_survive_their_outlines() -> None:
    for seed in range(8):
        for one in draw_scene(seed).instances:
            height, width = one.mask.shape
            outline = outline_of(np.where(one.mask, 1, -1).astype(np.float32), width, height)
            # parts and holes of a single pixel are not outlined
            assert np.count_nonzero(rasterize(outline, width, height) != one.mask) <= 4


@given(POINTS, POINTS)
def test_crossings_are_what_memory_is_taken_by(shell: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    """Each change of the mask within a column is at one of them."""
    outline = outline_with(shell, cut)
    inside = np.pad(rasterize(outline, 25, 20), ((1, 1), (0, 0)))
    assert crossings(outline, 25) >= np.count_nonzero(inside[1:] != inside[:-1])
    assert crossings(shapely.box(3, 4, 13, 9), 25) == 20
