"""Rasters by tiles: what is found is what one look at the whole finds, wherever the tiles are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from rasterio.transform import Affine
from shapely.geometry import shape

from sam3edge.core.errors import EngineError, FrameError, SettingsError
from sam3edge.core.types import Exemplar, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.options import ObjectSize, RasterPrompt, SegmentOptions
from sam3edge.rasters.segment import segment_raster
from support.rasters import (
    GROUND,
    RED,
    SMALL,
    UTM,
    Alive,
    Shades,
    features,
    ground,
    in_one_look,
    outlines,
    scattered,
    share_of_same,
    within,
    write,
)

SHIFTS = [(0, 0), (37, 21), (91, 64)]


@pytest.mark.parametrize("seed", range(3))
def test_tiles_give_what_one_look_at_the_whole_gives(seed: int, tmp_path: Path) -> None:
    """With things of up to three times what tiles have in common, on borders and corners of tiles."""
    image = scattered(seed, 700, 520, largest=60)
    truth = in_one_look(image)
    for dx, dy in SHIFTS:  # another grid over the same things
        path = write(tmp_path / "a.tif", np.pad(image, ((dy, 0), (dx, 0), (0, 0)), constant_values=GROUND))
        found = outlines(features(path), -dx, -dy)
        assert len(found) == len(truth)
        assert share_of_same(found, truth) == 1.0


@pytest.mark.parametrize("largest", [ObjectSize(20, "px"), ObjectSize(60, "px"), ObjectSize(5000, "px")])
def test_how_much_tiles_overlap_changes_nothing(largest: ObjectSize, tmp_path: Path) -> None:
    image = scattered(7, 600, 400, largest=50)
    path = write(tmp_path / "a.tif", image)
    found = outlines(features(path, SegmentOptions(tile=128, largest=largest)))
    assert share_of_same(found, in_one_look(image)) == 1.0


def test_a_part_that_was_cut_out_gives_the_same_features(tmp_path: Path) -> None:
    """In a file of its own, or as the extent that counts; where it lies is taken from the reference system."""
    image = scattered(3, 900, 700, largest=60)
    whole = outlines(features(write(tmp_path / "a.tif", image, **UTM)))
    x, y = 137, 91
    part = write(
        tmp_path / "b.tif", image[y:600, x:800], crs=UTM["crs"], transform=UTM["transform"] @ Affine.translation(x, y)
    )
    expected = within(whole, x + 1, y + 1, 799, 599)
    assert len(expected) > 10
    by_file = within(outlines(features(part), x, y), x + 1, y + 1, 799, 599)
    by_extent = within(
        outlines(features(tmp_path / "a.tif", SegmentOptions(tile=128, extent=(x, y, 800, 600)))),
        x + 1,
        y + 1,
        799,
        599,
    )
    assert share_of_same(expected, by_file) == share_of_same(expected, by_extent) == 1.0


def test_things_that_touch_stay_two(tmp_path: Path) -> None:
    """Each larger than what tiles have in common, side by side over several tiles."""
    image = ground(500, 300)
    image[40:140, 30:460] = (255, 0, 0)
    image[140:260, 30:460] = (200, 0, 0)
    image[20:40, 100:140] = (230, 0, 0)
    found = outlines(features(write(tmp_path / "a.tif", image), engine=Shades()))
    assert sorted(one.area for one in found) == pytest.approx([800, 43_000, 51_600], rel=0.01)
    assert share_of_same(found, in_one_look(image, Shades())) == 1.0


def test_a_thing_on_the_corner_of_four_tiles_is_one(tmp_path: Path) -> None:
    """Small enough to be whole in one of them, and too large for that; the first tiles' corner is at 128 - 36 / 2."""
    for half in (10, 17, 40, 150):
        image = ground(420, 420)
        image[max(0, 110 - half) : 110 + half, max(0, 110 - half) : 110 + half] = (255, 0, 0)
        found = outlines(features(write(tmp_path / "a.tif", image)))
        assert len(found) == 1
        assert share_of_same(found, in_one_look(image)) == 1.0


def test_a_thing_with_arms_in_one_tile_and_its_body_in_the_next_is_one(tmp_path: Path) -> None:
    image = ground(300, 400)
    image[20:330, 20:40] = image[20:330, 80:100] = image[300:330, 20:100] = (255, 0, 0)
    found = outlines(features(write(tmp_path / "a.tif", image)))
    assert len(found) == 1
    assert share_of_same(found, in_one_look(image)) == 1.0


def test_features_leave_before_the_raster_is_read_to_its_end(tmp_path: Path) -> None:
    image = ground(200, 2000)
    image[20:40, 20:40] = image[1960:1980, 20:40] = (255, 0, 0)
    engine = Alive()
    found = segment_raster(write(tmp_path / "a.tif", image), engine, [RED], SMALL)
    next(found)
    assert engine.frames < 10
    assert len(list(found)) == 1
    assert engine.frames > 40


def test_memory_holds_a_few_tiles_however_many_there_are(tmp_path: Path) -> None:
    engine = Alive()
    features(write(tmp_path / "a.tif", scattered(1, 500, 1500, 50)), engine=engine)
    assert engine.frames > 80
    assert engine.most <= 3


def test_places_areas_and_pixels_are_those_of_the_whole_raster(tmp_path: Path) -> None:
    image = ground(700, 500)
    image[300:340, 500:580] = (255, 0, 0)
    [one] = features(write(tmp_path / "a.tif", image, **UTM))
    properties = one["properties"]
    assert one["geometry"] is not None
    assert shape(one["geometry"]).exterior.is_ccw
    assert properties["imageBBox"] == pytest.approx([500, 300, 580, 340], abs=1)
    assert properties["area"] == pytest.approx(3200, rel=0.02)
    assert properties["area_m2"] == pytest.approx(800, rel=0.02)
    assert properties["accuracy_m"] == pytest.approx(0.5 * np.sqrt(2) / 2, abs=0.01)
    assert properties["image_id"] == "a.tif"


def test_a_prompt_may_say_at_which_size_to_look(tmp_path: Path) -> None:
    """Metres a pixel: four pixels of half a metre become one, and things of a few metres vanish in it."""
    image = ground(1600, 1200)
    image[400:1000, 300:1300] = (255, 0, 0)
    image[100:103, 100:103] = (255, 0, 0)
    path, engine = write(tmp_path / "a.tif", image, **UTM), Alive()
    coarse = features(path, engine=engine, prompts=[RasterPrompt(Prompt("red"), 2.0)])
    assert engine.frames <= 6 * 5  # of 400 x 300 pixels
    assert share_of_same(outlines(coarse), [shapely.box(300, 400, 1300, 1000)]) == 1.0
    both = features(
        path, prompts=[RasterPrompt(Prompt("red", label="large"), 2.0), RasterPrompt(Prompt("red", label="all"))]
    )
    assert [one["properties"]["label"] for one in both] == ["large", "all", "all"]


def test_degrees_are_metres_at_the_place(tmp_path: Path) -> None:
    """At 60 degrees north a degree of longitude is half as long: to look at 2 m, 2 rows but 4 columns become one."""
    metre = 1 / 111_412  # of latitude, at 60 degrees
    image = ground(1200, 600)
    image[200:400, 400:800] = (255, 0, 0)
    path = write(tmp_path / "a.tif", image, crs="EPSG:4326", transform=Affine(metre, 0, 10, 0, -metre, 60))
    engine = Alive()
    [one] = features(path, engine=engine, prompts=[RasterPrompt(Prompt("red"), 2.0)])
    assert share_of_same(outlines([one]), [shapely.box(400, 200, 800, 400)]) == 1.0
    assert one["properties"]["area_m2"] == pytest.approx(200 * 200, rel=0.02)
    assert engine.frames <= 5 * 5  # 300 x 300 pixels


def test_features_are_the_same_in_every_run_and_have_ids_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", scattered(5, 500, 400, 50), **UTM)
    once, again = features(path), features(path)
    assert once == again
    assert len({one["id"] for one in once}) == len(once)


def test_prompts_that_find_the_same_have_features_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", scattered(5, 200, 200, 50))
    both = features(path, prompts=[RasterPrompt(Prompt("red", label=name)) for name in ("ours", "theirs")])
    assert len({one["id"] for one in both}) == len(both) > 1


def test_small_things_go_by_their_whole_area(tmp_path: Path) -> None:
    """Not by that of a part: a bar over several tiles has parts of less than ``min_area``."""
    image = ground(600, 200)
    image[100:110, 20:580] = image[20:30, 20:30] = (255, 0, 0)
    [one] = features(write(tmp_path / "a.tif", image), prompts=[RasterPrompt(Prompt("red", min_area=3000))])
    assert one["properties"]["area"] == pytest.approx(5600, rel=0.02)


def test_scores_of_parts_count_by_their_area(tmp_path: Path) -> None:
    """Two tiles show a bar that is red on one side and less so on the other."""
    image = ground(220, 60)
    image[20:40, 10:110] = (255, 0, 0)
    image[20:40, 110:210] = (195, 0, 0)
    [one] = features(write(tmp_path / "a.tif", image), prompts=[RasterPrompt(Prompt("red", 0.1))])
    assert 1 - 60 / 255 < one["properties"]["score"] < 1.0
    [whole] = features(tmp_path / "a.tif", SegmentOptions(tile=256), prompts=[RasterPrompt(Prompt("red", 0.1))])
    assert one["properties"]["score"] == pytest.approx(whole["properties"]["score"], abs=0.05)


def test_unknown_phrases_are_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", scattered(5, 300, 200, 50))
    both = features(path, prompts=[RED, RasterPrompt(Prompt("purple"))])
    assert {one["properties"]["prompt"] for one in both} == {"red"}


def test_prompts_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(64, 64))
    with pytest.raises(SettingsError, match="each once"):
        features(path, prompts=[RED, RED])
    with pytest.raises(SettingsError, match="each once"):
        features(path, prompts=[])
    with pytest.raises(SettingsError, match="has exemplars"):
        RasterPrompt(Prompt("red", exemplars=(Exemplar((0, 0, 1, 1)),)))


def test_sizes_in_metres_need_a_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(640, 640))
    with pytest.raises(FrameError, match=r"red@0\.5 needs the size of a pixel .* expected a GeoTIFF"):
        features(path, prompts=[RasterPrompt(Prompt("red"), 0.5)])
    with pytest.raises(FrameError, match="an object of 30m needs"):
        features(path, SegmentOptions(tile=128, largest=ObjectSize(30, "m")))
    found = features(path)
    assert found == []


@pytest.mark.parametrize("metres", [0.05, 1000.0])
def test_sizes_that_leave_nothing_to_see_are_refused(metres: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(640, 640), **UTM)
    with pytest.raises(FrameError, match=r"expected .* or more"):
        features(path, prompts=[RasterPrompt(Prompt("red"), metres)])


def test_an_engine_that_fails_ends_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(640, 640))
    with pytest.raises(EngineError, match="no memory"):
        features(path, engine=FakeEngine(EngineError("no memory")))


def test_a_consumer_may_stop(tmp_path: Path) -> None:
    engine = Alive()
    found = segment_raster(write(tmp_path / "a.tif", scattered(5, 600, 3000, 50)), engine, [RED], SMALL)
    next(found)
    found.close()
    assert engine.frames < 30
