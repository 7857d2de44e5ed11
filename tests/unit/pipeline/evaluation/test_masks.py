"""Outlines become the masks of the pixels whose centres they hold."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.masks import rasterize
from sam3edge.core.polygons import outline_of
from sam3edge.vector.run_lengths import rle_of
from sam3edge_pipeline.evaluation.masks import rle_iou
from sam3edge_pipeline.synthetic import draw_scene

POINTS = st.lists(st.tuples(st.integers(-40, 300), st.integers(-40, 250)), min_size=3, max_size=9)


@given(POINTS, POINTS)
def test_a_pixel_is_inside_when_its_centre_is(shell: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    def polygons(points: list[tuple[int, int]]) -> shapely.Geometry:  # type: ignore[name-defined]
        # coordinates that are odd multiples of 0.05 never meet a centre
        valid = shapely.make_valid(shapely.Polygon([(x / 10 + 0.05, y / 10 + 0.05) for x, y in points]))
        return shapely.union_all([p for p in shapely.get_parts(valid) if isinstance(p, shapely.Polygon)] or [None])

    outline = shapely.difference(polygons(shell), polygons(cut))
    if not isinstance(outline, shapely.Polygon | shapely.MultiPolygon):
        outline = shapely.Polygon()
    y, x = np.mgrid[:20, :25] + 0.5
    near_an_edge = shapely.distance(outline.boundary, shapely.points(x, y)) < 1e-9
    same = rasterize(outline, 25, 20) == shapely.contains_xy(outline, x, y)
    assert np.all(same | near_an_edge)


def test_the_masks_of_scenes_survive_their_outlines() -> None:
    for seed in range(8):
        for one in draw_scene(seed).instances:
            height, width = one.mask.shape
            outline = outline_of(np.where(one.mask, 1, -1).astype(np.float32), width, height)
            # parts and holes of a single pixel are not outlined
            assert np.count_nonzero(rasterize(outline, width, height) != one.mask) <= 4


def test_overlaps_of_boxes() -> None:
    whole, half, far = (rle_of(shapely.box(*b), 30, 20) for b in ((0, 0, 10, 10), (0, 0, 10, 5), (20, 0, 30, 10)))
    assert rle_iou([half, far], [whole]).tolist() == [[0.5], [0.0]]
    assert rle_iou([half], [whole], crowd=True).tolist() == [[1.0]]
    assert rle_iou([], [whole]).shape == (0, 1)
    assert rle_iou([whole], []).shape == (1, 0)
