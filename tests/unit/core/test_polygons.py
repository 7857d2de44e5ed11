"""Outlines follow the reference's mask: every part, every hole, at sub-pixel accuracy, and always valid."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.matching import mask_iou
from sam3edge.core.polygons import outline_of, simplify, to_detection
from sam3edge.core.types import Instance, MaskLogits, Prompt


def reference_mask(logits: MaskLogits, width: int, height: int) -> npt.NDArray[np.bool_]:
    """What the reference does: logits interpolated bilinearly to the frame (half-pixel centres), cut at 0."""
    y = (np.arange(height) + 0.5) * logits.shape[0] / height - 0.5
    x = (np.arange(width) + 0.5) * logits.shape[1] / width - 0.5
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    wy, wx = (y - y0)[:, None], (x - x0)[None, :]

    def at(dy: int, dx: int) -> npt.NDArray[np.float64]:
        rows = np.clip(y0 + dy, 0, logits.shape[0] - 1)
        columns = np.clip(x0 + dx, 0, logits.shape[1] - 1)
        return logits[np.ix_(rows, columns)].astype(np.float64)

    top = at(0, 0) * (1 - wx) + at(0, 1) * wx
    bottom = at(1, 0) * (1 - wx) + at(1, 1) * wx
    return np.asarray(top * (1 - wy) + bottom * wy > 0)


def rasterize(geometry: Polygon | MultiPolygon, width: int, height: int) -> npt.NDArray[np.bool_]:
    """The pixels whose centre lies inside."""
    ys, xs = np.mgrid[0:height, 0:width]
    shapely.prepare(geometry)
    return np.asarray(shapely.contains_xy(geometry, xs.ravel() + 0.5, ys.ravel() + 0.5).reshape(height, width))


def distances(grid: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    ys, xs = np.mgrid[0:grid, 0:grid]
    return (xs + 0.5) / grid, (ys + 0.5) / grid


@st.composite
def shapes(draw: st.DrawFn) -> MaskLogits:
    """Blobs, rings, touching pairs and shapes clipped by the border, as logits that fall off from their outline."""
    grid = draw(st.sampled_from([48, 64, 72]))
    x, y = distances(grid)
    kind = draw(st.sampled_from(["blob", "ring", "touching", "noise"]))
    cx, cy = draw(st.floats(-0.05, 1.05)), draw(st.floats(-0.05, 1.05))
    radius = draw(st.floats(0.12, 0.45))
    away = np.hypot(x - cx, y - cy)
    if kind == "blob":
        angle = np.arctan2(y - cy, x - cx)
        lobes = draw(st.integers(2, 6))
        z = radius * (1 + draw(st.floats(0, 0.35)) * np.sin(lobes * angle)) - away
    elif kind == "ring":
        z = radius * draw(st.floats(0.25, 0.45)) - np.abs(away - radius)
    elif kind == "touching":
        other = np.hypot(x - cx - 2 * radius, y - cy)
        z = np.maximum(radius - away, radius - other)
    else:
        coarse = np.random.default_rng(draw(st.integers(0, 10_000))).normal(size=(7, 7))
        z = cv2.resize(coarse, (grid, grid), interpolation=cv2.INTER_CUBIC)
    return (z * 20).astype(np.float32)


@given(shapes(), st.sampled_from([(640, 480), (301, 517), (144, 144)]))
@settings(max_examples=60, deadline=None)
def test_rasterised_again_the_outline_is_the_mask(logits: MaskLogits, size: tuple[int, int]) -> None:
    width, height = size
    mask = reference_mask(logits, width, height)
    if mask.sum() < 800:  # of a thin ring of so few pixels a dozen centres lie within the grid's 0.1 px of the outline
        return
    geometry = simplify(outline_of(logits, width, height), 0.5)
    assert geometry.is_valid
    assert all(ring.is_simple for part in shapely.get_parts(geometry) for ring in [part.exterior, *part.interiors])
    assert mask_iou([rasterize(geometry, width, height)], [mask]) >= 0.98


@given(shapes())
@settings(max_examples=30, deadline=None)
def test_nothing_leaves_the_frame_and_rings_run_as_geojson_wants(logits: MaskLogits) -> None:
    geometry = simplify(outline_of(logits, 400, 300), 2.0)
    if geometry.is_empty:
        return
    x0, y0, x1, y1 = geometry.bounds
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= 400
    assert y1 <= 300
    for part in shapely.get_parts(geometry):
        assert shapely.is_ccw(part.exterior)
        assert not any(shapely.is_ccw(hole) for hole in part.interiors)


def test_random_noise_is_always_valid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        logits = rng.normal(size=(24, 24)).astype(np.float32)
        geometry = simplify(outline_of(logits, 480, 360), 0.5)
        assert geometry.is_valid
        assert not geometry.is_empty


def test_every_part_and_every_hole_is_kept() -> None:
    logits = np.full((64, 64), -5, np.float32)
    logits[5:30, 5:30] = 5
    logits[12:20, 12:20] = -5
    logits[40:60, 40:60] = 5
    geometry = outline_of(logits, 640, 640)
    assert isinstance(geometry, MultiPolygon)
    assert sorted(len(p.interiors) for p in geometry.geoms) == [0, 1]
    assert geometry.area == pytest.approx((25 * 25 - 8 * 8 + 20 * 20) * 100, rel=0.02)


def test_a_mask_that_covers_the_frame_is_the_frame() -> None:
    geometry = outline_of(np.ones((16, 16), np.float32), 321, 123)
    assert geometry.equals(shapely.box(0, 0, 321, 123))


def test_logit_zero_is_background_as_in_the_reference() -> None:
    assert outline_of(np.zeros((8, 8), np.float32), 80, 80).is_empty


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_masks_of_a_single_row_or_column_work(shape: tuple[int, int]) -> None:
    geometry = outline_of(np.ones(shape, np.float32), 90, 70)
    assert geometry.area == pytest.approx(90 * 70)


def test_nan_is_background() -> None:
    logits = np.full((16, 16), -1, np.float32)
    logits[4:12, 4:12] = 1
    logits[6, 6] = np.nan
    geometry = simplify(outline_of(logits, 160, 160), 0.5)
    assert geometry.is_valid
    assert 3000 < geometry.area < 6400


def test_min_area_counts_pixels_of_the_frame() -> None:
    logits = np.full((16, 16), -1, np.float32)
    logits[4:8, 4:8] = 1  # 4 x 4 cells of 10 x 10 pixels
    for min_area, found in ((1500.0, True), (1700.0, False)):
        instance = Instance(Prompt("x", min_area=min_area), 0.9, (40, 40, 80, 80), logits)
        assert (to_detection(instance, 160, 160, 0.5) is not None) is found


def test_the_box_is_the_bounds_of_the_outline() -> None:
    logits = np.full((16, 16), -1, np.float32)
    logits[4:8, 4:8] = 1
    detection = to_detection(Instance(Prompt("x"), 0.9, (0, 0, 1, 1), logits), 160, 160, 0.5)
    assert detection is not None
    assert detection.box == detection.geometry.bounds


def test_a_coarser_tolerance_saves_vertices_and_moves_the_outline_no_further() -> None:
    x, y = distances(128)
    angle = np.arctan2(y - 0.5, x - 0.5)
    logits = ((0.3 + 0.03 * np.sin(17 * angle) - np.hypot(x - 0.5, y - 0.5)) * 20).astype(np.float32)
    outline = outline_of(logits, 1024, 1024)
    before = shapely.get_num_coordinates(outline)
    for tolerance in (0.5, 2.0, 4.0):
        simple = simplify(outline, tolerance)
        assert shapely.get_num_coordinates(simple) < before
        assert shapely.hausdorff_distance(simple.exterior, outline.exterior) <= tolerance + 0.15
        before = shapely.get_num_coordinates(simple)
