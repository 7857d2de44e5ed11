"""From parts to objects: what tiles that see everything alike give is exact; what they give otherwise follows rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from sam3edge.core.types import Box
from sam3edge.rasters.grid import Grid, Tile
from sam3edge.rasters.joining import Joined, Joiner, Part

GRID = Grid(side=64, overlap=18)  # of objects up to 16 pixels, one pixel from the edge


def parts_of(shapes: Sequence[Polygon], tile: Tile, grid: Grid, bounds: Box) -> list[Part]:
    """What an engine sees that makes no mistake: every connected piece of a shape that the tile shows."""
    window = shapely.intersection(shapely.box(*grid.window(tile)), shapely.box(*bounds))
    pieces = (piece for one in shapes for piece in shapely.get_parts(shapely.intersection(one, window)))
    return [Part(0, 0.9, piece) for piece in pieces if piece.area > 0]


def joined(shapes: Sequence[Polygon], bounds: Box, grid: Grid = GRID) -> Iterator[tuple[Tile, Joined]]:
    """Objects, each with the tile after which it came."""
    joiner = Joiner(grid, bounds)
    tile = Tile(0, 0)
    for tile in grid.tiles(bounds):
        for one in joiner.add(tile, parts_of(shapes, tile, grid, bounds)):
            yield tile, one
    for one in joiner.finish():
        yield tile, one
    assert joiner.pending == 0


def exactly(found: Sequence[Joined], shapes: Sequence[Polygon]) -> bool:
    left = list(shapes)
    for one in found:
        same = [s for s in left if s.symmetric_difference(one.outline).area < 1e-6 * s.area]
        if len(same) != 1:
            return False
        left.remove(same[0])
    return not left


def boxes(least: int, most: int) -> st.SearchStrategy[Polygon]:
    side = st.integers(least, most)
    return st.builds(
        lambda x, y, w, h: shapely.box(x, y, x + w, y + h), st.integers(2, 250), st.integers(2, 200), side, side
    )


def apart(shapes: Sequence[Polygon], distance: float) -> list[Polygon]:
    kept: list[Polygon] = []
    for one in shapes:
        if all(one.distance(other) > distance for other in kept):
            kept.append(one)
    return kept


@given(
    st.lists(st.one_of(boxes(3, 16), boxes(3, 160)), max_size=12),
    st.integers(0, 45),
    st.integers(0, 45),
    st.sampled_from([8, 16, 28]),
)
@settings(max_examples=60)
def test_tiles_that_make_no_mistake_give_every_object_once(
    shapes: list[Polygon], dx: int, dy: int, largest: int
) -> None:
    """Of any size, anywhere, whatever the overlap and wherever the grid begins."""
    shapes = [shapely.affinity.translate(one, dx, dy) for one in apart(shapes, 0.5)]
    bounds = (float(dx), float(dy), dx + 420.0, dy + 370.0)
    found = [one for _, one in joined(shapes, bounds, Grid.for_objects(64, largest))]
    assert exactly(found, shapes)


def test_objects_side_by_side_stay_apart() -> None:
    shapes = [shapely.box(10, 10, 300, 50), shapely.box(10, 50, 300, 120), shapely.box(300, 10, 310, 120)]
    assert exactly([one for _, one in joined(shapes, (0, 0, 320, 200))], shapes)


def test_an_object_leaves_with_the_first_tile_after_which_none_shows_it() -> None:
    shapes = apart([shapely.box(x, y, x + 12, y + 9) for x in range(5, 300, 37) for y in range(5, 250, 41)], 0.5)
    bounds = (0.0, 0.0, 320.0, 270.0)
    order = list(GRID.tiles(bounds))
    for tile, one in joined(shapes, bounds):
        last = max(n for n, t in enumerate(order) if shapely.box(*GRID.window(t)).intersection(one.outline).area > 0)
        assert order.index(tile) == last


@pytest.mark.parametrize("columns", [2, 4])
def test_what_is_held_grows_with_the_width_only(columns: int) -> None:
    """Rows of tiles that all look alike: after the first, no row makes it hold more."""

    def most_held(rows: int) -> int:
        stride, held = GRID.stride, 0
        bounds = (0.0, 0.0, columns * stride + 18.0, rows * stride + 18.0)
        joiner = Joiner(GRID, bounds)
        shapes = [
            shapely.box(x, y, x + 11, y + 11)
            for x in range(3, int(bounds[2]) - 12, 23)
            for y in range(3, int(bounds[3]) - 12, 23)
        ]
        for tile in GRID.tiles(bounds):
            joiner.add(tile, parts_of(shapes, tile, GRID, bounds))
            held = max(held, joiner.pending)
        return held

    assert most_held(5) == most_held(15) <= columns * 9 * 2


def one_row(parts: dict[int, list[Part]], columns: int = 4) -> list[Joined]:
    """A raster of one row of tiles, with what is found in each."""
    joiner = Joiner(GRID, (0.0, 0.0, columns * GRID.stride + 18.0, 64.0))
    found: list[Joined] = []
    for column in range(columns):
        found += joiner.add(Tile(0, column), parts.get(column, []))
    return found + joiner.finish()


def test_of_several_views_the_most_central_one_counts() -> None:
    """Both tiles show 46..64; the middle between their middles is 55. The scores do not matter."""
    left, also_left = shapely.box(48, 20, 58, 30), shapely.box(48.5, 20, 60, 31)
    right, also_right = shapely.box(52, 20, 61, 30), shapely.box(50, 20, 61.5, 31)
    [one] = one_row({0: [Part(0, 0.6, left)], 1: [Part(0, 0.9, also_left)]})
    assert one.outline.equals(left)
    assert one.score == 0.6
    [one] = one_row({0: [Part(0, 0.9, also_right)], 1: [Part(0, 0.6, right)]})
    assert one.outline.equals(right)
    assert one.score == 0.6


def test_what_only_one_tile_finds_is_found() -> None:
    """Also where the other shows it nearer to its middle."""
    [one] = one_row({0: [Part(0, 0.7, shapely.box(55, 20, 62, 28))]})
    assert one.score == 0.7


def test_a_fragment_that_the_next_tile_does_not_know_is_none() -> None:
    """A sliver at the edge; what reaches far into the tile stays, although it ends there."""
    assert one_row({0: [Part(0, 0.9, shapely.box(56, 20, 64, 40))]}) == []
    [one] = one_row({0: [Part(0, 0.9, shapely.box(20, 20, 64, 40))]})
    assert one.outline.area == 44 * 20
    several = {0: [Part(0, 0.9, shapely.box(56, 20, 64, 40))], 1: [Part(0, 0.9, shapely.box(48, 20, 62, 40))]}
    assert [one.outline.bounds for one in one_row(several)] == [(48, 20, 62, 40)]


def test_different_prompts_are_never_one() -> None:
    whole = shapely.box(20, 20, 90, 40)
    found = one_row(
        {0: [Part(0, 0.9, whole & shapely.box(0, 0, 64, 64))], 1: [Part(1, 0.8, whole & shapely.box(46, 0, 110, 64))]}
    )
    assert [one.prompt for one in found] == [0, 1]


def test_a_part_within_a_whole_object_adds_nothing() -> None:
    """The first tile shows the left of an object that the second shows as a whole, and draws it too tall."""
    whole, part = shapely.box(50, 20, 80, 40), shapely.box(50, 18, 64, 42)
    [one] = one_row({0: [Part(0, 0.9, part)], 1: [Part(0, 0.5, whole)]})
    assert one.outline.equals(whole)
    assert one.score == 0.5


def test_scores_are_weighted_by_area() -> None:
    [one] = one_row({0: [Part(0, 0.6, shapely.box(24, 20, 64, 40))], 1: [Part(0, 0.9, shapely.box(46, 20, 106, 40))]})
    assert one.outline.bounds == (24, 20, 106, 40)
    assert one.score == pytest.approx((0.6 * 40 + 0.9 * 60) / 100)


def test_cores_cover_the_plane_once() -> None:
    area = (-100.0, -70.0, 333.0, 250.0)
    cores = [shapely.box(*GRID.core(tile)) for tile in GRID.tiles(area)]
    assert shapely.union_all(cores).covers(shapely.box(*area))
    assert sum(core.area for core in cores) == pytest.approx(shapely.union_all(cores).area)
    assert all(core.intersects(shapely.box(*area)) for core in cores)


@pytest.mark.parametrize(("largest", "overlap"), [(16, 18), (25, 28), (31, 32), (500, 32)])
def test_tiles_overlap_by_the_largest_object_and_half_at_most(largest: int, overlap: int) -> None:
    assert Grid.for_objects(64, largest).overlap == overlap
