"""Outlines are drawn where they are, in frames of fewer pixels than their coordinates, too."""

from __future__ import annotations

import base64
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import shapely

from sam3edge.images.views import View, close_up, overview
from support.samples import frame

RED = (255, 0, 0)


def drawn(view: View) -> tuple[int, int, int, int]:
    """Bounds of the red pixels: x0, y0, x1, y1, the last ones included."""
    rows, columns = np.nonzero((view.canvas[..., 0] > 200) & (view.canvas[..., 1] < 100))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.parametrize("size", [None, (640, 480)])
def test_an_overview_shows_the_whole_frame(size: tuple[int, int] | None) -> None:
    given = replace(frame(), size=size)
    view = overview(given, 160)
    assert view.canvas.shape == (120, 160, 3)
    view.draw(shapely.box(given.width / 4, given.height / 4, given.width / 2, given.height / 2), RED, 1)
    assert drawn(view) == pytest.approx((40, 30, 80, 60), abs=1)


def test_an_overview_does_not_enlarge() -> None:
    assert overview(frame(), 4000).canvas.shape == (240, 320, 3)


@pytest.mark.parametrize("size", [None, (640, 480)])
def test_a_close_up_holds_the_object_and_little_else(size: tuple[int, int] | None) -> None:
    given = replace(frame(), size=size)
    box = (given.width * 0.5, given.height * 0.5, given.width * 0.75, given.height * 0.75)
    view = close_up(given, box, 300)
    assert max(view.canvas.shape) == 300
    view.draw(shapely.box(*box), RED, 1)
    x0, y0, x1, y1 = drawn(view)
    assert 5 < x0 < 60
    assert 5 < y0 < 60
    assert 240 < x1 < 295
    assert x1 - x0 > y1 - y0 > 100


def test_a_close_up_at_the_border_stays_inside() -> None:
    view = close_up(frame(), (310.0, 235.0, 320.0, 240.0), 100)
    view.draw(shapely.box(310, 235, 319, 239), RED, 1)
    assert drawn(view)[2] < view.canvas.shape[1]


def test_drawing_leaves_the_frame_as_it_was() -> None:
    given = frame()
    for view in (overview(given, 320), close_up(given, (0.0, 0.0, 320.0, 240.0), 320)):
        view.draw(shapely.box(50, 50, 100, 100), RED, 3)
    assert not given.image.any()


def test_a_data_url_is_a_jpeg_of_the_canvas() -> None:
    image: npt.NDArray[np.uint8] = np.full((240, 320, 3), (200, 30, 30), np.uint8)
    head, data = overview(frame(image), 320).to_data_url().split(",")
    assert head == "data:image/jpeg;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded[120, 160].tolist() == pytest.approx([30, 30, 200], abs=4)
