"""Objects are paired as all at once would be, whatever is connected."""

from __future__ import annotations

import tracemalloc

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.core.matching import outline_iou, pair_in_order
from sam3edge_pipeline.evaluation.vector.areas import Areas
from sam3edge_pipeline.evaluation.vector.objects import pairs

boxes = st.lists(
    st.builds(
        lambda x, y, w, h: shapely.box(x, y, x + w, y + h),
        st.integers(0, 12),
        st.integers(0, 12),
        st.integers(1, 6),
        st.integers(1, 6),
    ),
    max_size=12,
)


def areas(outlines: list[shapely.Polygon], scores: list[float]) -> Areas:
    return Areas(outlines, np.ones(len(outlines), np.int64), np.array(scores[: len(outlines)], np.float64))


@settings(max_examples=150, deadline=None)
@given(
    boxes,
    boxes,
    st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=12, max_size=12),
    st.sampled_from([0.05, 0.3, 0.5, 1.0]),
)
def test_pairs_are_those_of_the_one_rule(
    found: list[shapely.Polygon], there: list[shapely.Polygon], scores: list[float], at_least: float
) -> None:
    one, other = areas(found, scores), areas(there, scores)
    order = np.argsort(-one.scores, kind="stable")
    whole = outline_iou([found[n] for n in order], there)
    expected = {(int(order[row]), column) for row, column in pair_in_order(whole, at_least)}
    assert {(row, column) for row, column, _ in pairs(one, other, at_least)} == expected
    for row, column, iou in pairs(one, other, at_least):
        assert iou == outline_iou([found[row]], [there[column]])[0, 0]


def test_thousands_of_neighbours_do_not_take_a_matrix() -> None:
    """Fields that all touch: 2,500 x 2,500 overlaps would take 50 MB."""
    x, y = (n.ravel() for n in np.meshgrid(np.arange(50) * 10.0, np.arange(50) * 10.0))
    fields = list(shapely.box(x, y, x + 10, y + 10))
    shifted = list(shapely.box(x + 1, y, x + 11, y + 10))
    scores = np.ones(len(fields)).tolist()
    tracemalloc.start()
    found = list(pairs(areas(shifted, scores), areas(fields, scores), 0.5))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 2500
    assert all(row == column and abs(iou - 9 / 11) < 1e-9 for row, column, iou in found)
    assert most < 25e6
