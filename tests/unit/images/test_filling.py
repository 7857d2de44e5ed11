"""Pixels without data take the colour of the nearest one with data."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.images.filling import filled


@given(st.integers(0, 10_000), st.integers(1, 24), st.integers(1, 24), st.floats(0.02, 0.98))
@settings(max_examples=60)
def test_each_takes_the_colour_of_a_nearest_one(seed: int, height: int, width: int, share: float) -> None:
    """To within what the distance transform is exact to."""
    rng = np.random.default_rng(seed)
    image = np.arange(height * width * 3, dtype=np.uint16).reshape(height, width, 3).astype(np.uint8)
    image[..., 0], image[..., 1] = np.indices((height, width))
    valid = rng.random((height, width)) < share
    result = filled(image, valid)
    np.testing.assert_array_equal(result[valid], image[valid])
    if not valid.any():
        assert result is image
        return
    rows, columns = np.nonzero(valid)
    for row, column in zip(*np.nonzero(~valid), strict=True):
        away = np.hypot(rows - row, columns - column).min()
        taken = np.hypot(int(result[row, column, 0]) - row, int(result[row, column, 1]) - column)
        assert taken <= away * 1.1 + 0.1


def test_nothing_is_copied_where_all_is_there() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert filled(image, np.ones((4, 5), bool)) is image
    assert filled(image, np.zeros((4, 5), bool)) is image
