"""Pictures are north up, in the colours of their legends, and white where there is no data."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from affine import Affine

from sam3edge_pipeline.evaluation.cases import DETECTION_COLOR, TRUTH_COLOR
from sam3edge_pipeline.evaluation.vector.evaluation import MapOptions, evaluate_map
from sam3edge_pipeline.evaluation.vector.grid import open_grid
from sam3edge_pipeline.evaluation.vector.maps import CONFUSED, RIGHT, MapPictures, class_colors, draw_maps
from sam3edge_pipeline.evaluation.vector.source import VectorSource
from support.map_scenes import HEIGHT, TURNED, WIDTH, scene_inputs, write_detections, write_raster


def decoded(url: str) -> npt.NDArray[np.int64]:
    """[H, W, 3] RGB."""
    data = np.frombuffer(base64.b64decode(url.removeprefix("data:image/png;base64,")), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.int64)


def centre(picture: npt.NDArray[np.int64], rgb: tuple[int, int, int], of: float = 0.6) -> tuple[float, float]:
    """Where a colour over the grey of the raster is: x and y, 0..1."""
    tint = np.array(rgb) - np.array(rgb).mean()
    seen = picture - picture.mean(axis=2, keepdims=True)
    y, x = np.nonzero(np.abs(seen - of * tint).max(axis=2) < 12)
    assert len(y), "the colour is nowhere"
    return x.mean() / picture.shape[1], y.mean() / picture.shape[0]


@pytest.fixture
def drawn(tmp_path: Path) -> MapPictures:
    return evaluate_map(scene_inputs(tmp_path), MapOptions()).overview


def test_each_picture_shows_what_it_says(drawn: MapPictures) -> None:
    field, road = (rgb for _, rgb in class_colors(("field", "road")))
    # field: A and B, in the truth at x 20 and 50; detected, at 20, 55, and the invented one at 75, 65
    assert centre(decoded(drawn.truth), field) == pytest.approx((0.35, 0.25), abs=0.03)
    x = (20 * 400 + 55 * 400 + 75 * 100) / 900
    y = (20 * 800 + 65 * 100) / 900
    assert centre(decoded(drawn.detected), field) == pytest.approx((x / WIDTH, y / HEIGHT), abs=0.03)
    assert centre(decoded(drawn.truth), road) == pytest.approx((0.5, 52 / HEIGHT), abs=0.03)
    assert centre(decoded(drawn.detected), road) == pytest.approx((0.2, 52 / HEIGHT), abs=0.03)


def test_the_difference_tells_right_missed_and_invented(drawn: MapPictures) -> None:
    picture = decoded(drawn.difference)
    missed_x = (42.5 * 100 + 70 * 240) / 340
    assert centre(picture, TRUTH_COLOR)[0] == pytest.approx(missed_x / WIDTH, abs=0.03)
    assert centre(picture, DETECTION_COLOR)[0] == pytest.approx((62.5 * 100 + 75 * 100) / 200 / WIDTH, abs=0.03)
    assert centre(picture, RIGHT)[0] == pytest.approx((20 * 400 + 52.5 * 300 + 20 * 160) / 860 / WIDTH, abs=0.03)
    with pytest.raises(AssertionError):
        centre(picture, CONFUSED)


def test_another_class_has_its_colour(tmp_path: Path) -> None:
    wrong = write_detections(tmp_path / "wrong.gpkg", [("road", 0.9, shapely.box(10, 10, 30, 30))])
    found = evaluate_map(replace(scene_inputs(tmp_path), detections=VectorSource(wrong)), MapOptions())
    assert centre(decoded(found.overview.difference), CONFUSED) == pytest.approx((0.2, 0.25), abs=0.03)


def test_close_ups_are_of_where_most_is_wrong(tmp_path: Path) -> None:
    """Blocks are 40 x 40 pixels here; of them the one of the road's right end and those of field B."""
    found = evaluate_map(scene_inputs(tmp_path), MapOptions())
    wrong = [count for count, _ in found.close_ups]
    assert wrong == sorted(wrong, reverse=True)
    assert sum(wrong) == 200 + 100 + 240
    assert found.close_ups[0][0] == 40 * 4 + 100  # from 40, 40 to 80, 80: the road and the invented field
    assert found.close_ups[0][1].metres == pytest.approx(40, abs=1)


@pytest.mark.parametrize(
    ("crs", "transform", "north"),
    [
        # the pixel that is farthest north of the middle, by hand
        ("EPSG:32633", Affine(1, 0, 391_000, 0, -1, 5_820_000), (50, 4)),
        ("EPSG:32633", Affine(-1, 0, 391_100, 0, 1, 5_819_920), (50, 76)),  # upside down
        ("EPSG:32633", TURNED, (86, 4)),
        ("EPSG:3413", Affine(2, 0, 480_000, 0, -2, 990_000), (41, 76)),  # beyond the pole, south is up on the grid
        ("EPSG:4326", Affine(1e-5, 0, 179.9995, 0, -1e-5, -16.8), (50, 4)),
    ],
)
def test_north_is_up_whatever_the_raster_is(
    tmp_path: Path, crs: str, transform: Affine, north: tuple[int, int]
) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    x, y = north
    image[y - 4 : y + 4, x - 4 : x + 4] = (250, 0, 0)
    path = write_raster(tmp_path / "a.tif", transform, crs, image=image)
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    with open_grid(path) as grid:
        pictures = draw_maps(grid, (0, 0, WIDTH, HEIGHT), nothing, nothing, nothing == 0, ("field",), 200)
    picture = decoded(pictures.image)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 80)
    rows, columns = np.nonzero(red)
    assert rows.mean() / picture.shape[0] < 0.2
    assert columns.mean() / picture.shape[1] == pytest.approx(0.5, abs=0.12)


def test_what_has_no_data_is_white(tmp_path: Path) -> None:
    inputs = scene_inputs(tmp_path)
    nodata = np.zeros((HEIGHT, WIDTH), bool)
    nodata[:, 50:] = True
    write_raster(inputs.raster, nodata=nodata)
    overview = evaluate_map(inputs, MapOptions()).overview
    for url in (overview.image, overview.detected, overview.truth, overview.difference):
        picture = decoded(url)
        half = picture.shape[1] // 2
        assert (picture[5:-5, half + 5 : -5] == 255).all()
        assert (picture[5:-5, 5 : half - 5] != 255).any(axis=2).all()


def test_a_raster_of_one_band_and_sixteen_bits_has_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(7000, 9000, (HEIGHT, WIDTH)).astype(np.uint16)
    how = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "one.tif", "w", transform=Affine(1, 0, 391_000, 0, -1, 5_820_000), **how) as file:
        file.write(values, 1)
    with open_grid(tmp_path / "one.tif") as grid:
        picture = grid.picture((0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.min() == 0
    assert picture.max() == 255
