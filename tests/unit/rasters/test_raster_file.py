"""From numbers of any kind to a picture, the same in every window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.geo.raster import RasterOptions
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge.rasters.options import ReadOptions, SegmentOptions
from sam3edge.rasters.raster_file import View, open_raster_file
from support.rasters import UTM, changed, features, ground, outlines, write

RNG = np.random.default_rng(8)


def view(
    path: Path, options: ReadOptions | None = None, window: tuple[float, ...] = (0, 0, 64, 64), side: int = 64
) -> View:
    with open_raster_file(path, options or ReadOptions()) as raster:
        return raster.read((window[0], window[1], window[2], window[3]), side)


def noise(kind: str, low: float, high: float, bands: int = 3) -> npt.NDArray[Any]:
    """[64, 64, bands], the left half darker."""
    values = RNG.uniform(low, high, (64, 64, bands))
    values[:, :32] = low + (values[:, :32] - low) / 4
    return values.astype(kind)


def test_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    image = noise("uint8", 40, 90)
    seen = view(write(tmp_path / "a.tif", image))
    np.testing.assert_array_equal(seen.image, image)
    assert seen.counts.all()


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("uint16", 300, 900), ("int16", -50, 800), ("uint32", 1e6, 9e6), ("float32", 0.01, 0.2), ("float64", -1e3, 1e3)],
)
def test_other_numbers_are_stretched_once_for_all_windows(kind: str, low: float, high: float, tmp_path: Path) -> None:
    image = noise(kind, low, high)
    path = write(tmp_path / "a.tif", image)
    whole = view(path).image
    dark, bright = np.percentile(image.reshape(-1, 3).astype(np.float32), [1, 99], axis=0)
    expected = np.clip((image.astype(np.float32) - dark) * 255 / (bright - dark), 0, 255)
    assert np.abs(whole - expected).max() <= 1
    np.testing.assert_array_equal(view(path, window=(3, 5, 35, 37), side=32).image, whole[5:37, 3:35])


def test_eight_bits_are_stretched_where_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise("uint8", 100, 120))
    stretched = view(path, ReadOptions(depth=DepthOptions(Depth.MIN_MAX))).image
    assert stretched.min() == 0
    assert stretched.max() == 255
    fixed = view(path, ReadOptions(depth=DepthOptions(Depth.FIXED, (0.0, 510.0)))).image
    assert 50 <= fixed.min() <= fixed.max() <= 60
    whole = view(path, ReadOptions(depth=DepthOptions(Depth.FULL_RANGE))).image
    np.testing.assert_array_equal(whole, view(path).image)


def test_bands_are_stretched_each_or_jointly(tmp_path: Path) -> None:
    image = np.concatenate([noise("uint16", 100, 200, 1), noise("uint16", 1000, 2000, 2)], axis=2)
    path = write(tmp_path / "a.tif", image)
    each, jointly = (view(path, ReadOptions(jointly=how)).image for how in (False, True))
    assert each[..., 0].max() == each[..., 1].max() == 255
    assert jointly[..., 0].max() < 20
    assert jointly[..., 1].max() == 255


def test_what_is_not_valid_does_not_count_for_the_stretch(tmp_path: Path) -> None:
    image = noise("uint16", 300, 900)
    image[:20] = 65535
    seen = view(write(tmp_path / "a.tif", image, nodata=65535))
    assert not seen.counts[:20].any()
    assert seen.counts[20:].all()
    assert seen.image[20:].min() == 0
    assert seen.image[20:].max() == 255
    real = image.astype(np.float32)
    real[:20] = np.nan
    as_numbers = view(write(tmp_path / "b.tif", real))
    np.testing.assert_array_equal(as_numbers.counts, seen.counts)
    assert np.abs(as_numbers.image.astype(int) - seen.image).max() <= 1


def test_where_there_is_no_data_colors_go_on(tmp_path: Path) -> None:
    """Beyond the raster, too: a model takes black for a thing."""
    image = noise("uint8", 40, 90)
    image[:20] = 0
    seen = view(write(tmp_path / "a.tif", image, nodata=0), window=(-16, 0, 48, 64))
    np.testing.assert_array_equal(seen.image[20:, 16:], image[20:, :48])
    np.testing.assert_array_equal(seen.image[:20, 16:], np.broadcast_to(image[20, :48], (20, 48, 3)))
    np.testing.assert_array_equal(seen.image[20:, :16], np.broadcast_to(image[20:, :1], (44, 16, 3)))
    assert not seen.counts[:, :16].any()


def test_percentiles_may_be_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise("uint16", 300, 900))
    options = ReadOptions(depth=DepthOptions(Depth.PERCENTILES, percentiles=(20, 80)))
    assert np.mean(view(path, options).image == 255) == pytest.approx(0.2, abs=0.02)


def test_bands_are_those_that_were_chosen(tmp_path: Path) -> None:
    image = noise("uint8", 0, 255, 5)
    path = write(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(view(path).image, image[..., :3])
    np.testing.assert_array_equal(view(path, ReadOptions(bands=(4, 3, 2))).image, image[..., [3, 2, 1]])
    np.testing.assert_array_equal(view(path, ReadOptions(bands=(5,))).image, image[..., [4, 4, 4]])
    with pytest.raises(FrameError, match="expected bands of 1 to 5, got 6"):
        view(path, ReadOptions(bands=(6, 1, 2)))
    with pytest.raises(SettingsError, match="one band or three"):
        ReadOptions(bands=(1, 2))


def test_colors_are_found_by_their_names(tmp_path: Path) -> None:
    image = noise("uint8", 0, 255, 4)
    path = write(tmp_path / "a.tif", image)
    with changed(path) as dataset:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    np.testing.assert_array_equal(view(path).image, image[..., [2, 1, 0]])


def test_palettes_are_colors_at_any_size(tmp_path: Path) -> None:
    """And not mixed: the average of the indices 1 and 3 is no colour between."""
    indices = np.tile(np.array([[1, 3], [3, 1]], np.uint8), (32, 32))
    path = write(tmp_path / "a.tif", indices)
    with changed(path) as dataset:
        dataset.colorinterp = [ColorInterp.palette]
        dataset.write_colormap(1, {1: (200, 10, 20, 255), 2: (0, 255, 0, 255), 3: (10, 20, 200, 255)})
    colors = {tuple(map(int, color)) for side in (64, 16) for color in view(path, side=side).image.reshape(-1, 3)}
    assert colors <= {(200, 10, 20), (10, 20, 200)}


def test_alpha_and_mask_bands_say_what_counts(tmp_path: Path) -> None:
    image = noise("uint8", 40, 90, 4)
    image[..., 3] = 255
    image[10:20, 10:20, 3] = 0
    alpha = write(tmp_path / "a.tif", image)
    with changed(alpha) as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    masked = tmp_path / "b.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(masked, image[..., :3])
        with changed(masked) as dataset:
            dataset.write_mask(image[..., 3])
    for path in (alpha, masked):
        np.testing.assert_array_equal(view(path).counts, image[..., 3] > 0)


def test_windows_may_reach_beyond_the_raster(tmp_path: Path) -> None:
    image = noise("uint8", 40, 90)
    path = write(tmp_path / "a.tif", image)
    seen = view(path, window=(-10, 50, 22, 82), side=32)
    np.testing.assert_array_equal(seen.image[:14, 10:], image[50:, :22])
    expected = np.zeros((32, 32), bool)
    expected[:14, 10:] = True
    np.testing.assert_array_equal(seen.counts, expected)
    assert not view(path, window=(100, 0, 164, 64)).counts.any()


@pytest.mark.parametrize("scale", [4.0, 2.5, 1.625, 0.5])
@pytest.mark.parametrize(("dx", "dy"), [(13, 5), (0, 50)])
def test_the_same_window_of_a_part_that_was_cut_out_shows_the_same(
    scale: float, dx: int, dy: int, tmp_path: Path
) -> None:
    image = RNG.integers(0, 255, (160, 200, 3), dtype=np.uint8)
    whole, part = write(tmp_path / "a.tif", image), write(tmp_path / "b.tif", image[dy:, dx:])
    x, y, side = 40.0 + scale / 4, 60.0, 24
    window = (x, y, x + side * scale, y + side * scale)
    moved = (window[0] - dx, window[1] - dy, window[2] - dx, window[3] - dy)
    np.testing.assert_array_equal(
        view(whole, window=window, side=side).image, view(part, window=moved, side=side).image
    )


def test_smaller_pixels_are_averages(tmp_path: Path) -> None:
    image = noise("uint8", 0, 255)
    mean = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.abs(view(write(tmp_path / "a.tif", image), side=16).image - mean).max() <= 1


def test_overviews_are_used_and_change_little(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(512), np.arange(512))[..., None].repeat(3, 2)
    path = write(tmp_path / "a.tif", (smooth / 4).astype(np.uint8), tiled=True)
    before = view(path, window=(0, 0, 512, 512))
    with changed(path) as dataset:
        dataset.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    after = view(path, window=(0, 0, 512, 512))
    assert np.abs(before.image.astype(int) - after.image).max() <= 2


def masked_features(
    tmp_path: Path, mask: npt.NDArray[np.uint8], values: tuple[int, ...] = (), **where: Any
) -> list[Any]:
    """Of a red bar of 400 x 40 pixels at 50, 100."""
    image = ground(500, 240)
    image[100:140, 50:450] = (255, 0, 0)
    raster = write(tmp_path / "a.tif", image, **(UTM if where else {}))
    reading = ReadOptions(mask=write(tmp_path / "mask.tif", mask, **where), mask_values=values)
    return outlines(features(raster, SegmentOptions(reading=reading, tile=128)))


def test_features_are_cut_by_a_mask_on_the_same_pixels(tmp_path: Path) -> None:
    mask = np.zeros((240, 500), np.uint8)
    mask[:, :200] = 7
    [left] = masked_features(tmp_path, mask)
    assert left.bounds == pytest.approx((50, 100, 200, 140), abs=0.6)
    [right] = masked_features(tmp_path, mask, values=(0, 5))
    assert right.bounds == pytest.approx((200, 100, 450, 140), abs=0.6)


def test_a_mask_may_be_coarser(tmp_path: Path) -> None:
    mask = np.ones((24, 50), np.uint8)
    mask[:, 15:20] = 0
    [one] = masked_features(tmp_path, mask)
    left, right = sorted(part.bounds for part in one.geoms)
    assert (left[0], left[2], right[0], right[2]) == pytest.approx((50, 150, 200, 450), abs=0.6)


def test_a_mask_may_be_in_another_reference_system(tmp_path: Path) -> None:
    """In the next zone of UTM, 20 m a pixel; what it does not cover does not count, whatever its values are."""
    inside = rasterio.warp.transform_bounds("EPSG:32633", "EPSG:32632", 391_000, 5_819_800, 391_150, 5_820_100)
    mask = np.zeros((10, 10), np.uint8)
    transform = Affine((inside[2] - inside[0]) / 10, 0, inside[0], 0, -(inside[3] - inside[1]) / 10, inside[3])
    [one] = masked_features(tmp_path, mask, values=(0,), crs="EPSG:32632", transform=transform)
    x0, y0, x1, y1 = one.bounds
    assert (x0, y0, y1) == pytest.approx((50, 100, 140), abs=0.6)
    assert 290 < x1 < 360  # 150 m are 300 pixels; the zones are turned by 5 degrees against each other


def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="expected 500 x 240 pixels or a part of that"):
        masked_features(tmp_path, np.ones((100, 100), np.uint8))


def far_larger(tmp_path: Path) -> Path:
    """A mask that knows where it is, of as many pixels as the raster, each ten times as large: of the raster, what is
    left of column 80 counts."""
    mask = np.zeros((240, 500), np.uint8)
    mask[:, :203] = 1
    return write(tmp_path / "mask.tif", mask, crs="EPSG:32633", transform=Affine(5, 0, 390_000, 0, -5, 5_820_600))


@pytest.mark.parametrize("known_by", ["the file", "a .prj beside it", "what is configured"])
def test_a_mask_that_knows_its_place_lies_there_wherever_the_raster_s_comes_from(known_by: str, tmp_path: Path) -> None:
    image = ground(500, 240)
    image[100:140, 50:450] = (255, 0, 0)
    crs = {"crs": "EPSG:32633"} if known_by == "the file" else {}
    raster = write(tmp_path / "a.tif", image, transform=Affine(0.5, 0, 390_975, 0, -0.5, 5_820_000), **crs)
    if known_by == "a .prj beside it":
        raster.with_suffix(".prj").write_text(rasterio.crs.CRS.from_epsg(32633).to_wkt())
    place = RasterOptions(crs="EPSG:32633" if known_by == "what is configured" else "")
    reading = ReadOptions(mask=far_larger(tmp_path), place=place)
    [one] = outlines(features(raster, SegmentOptions(reading=reading, tile=128)))
    assert one.bounds == pytest.approx((50, 100, 80, 140), abs=0.6)


def test_a_mask_that_knows_its_place_is_refused_where_a_raster_has_no_transform_to_it(tmp_path: Path) -> None:
    """It would lie somewhere, if it were stretched over the raster."""
    corners = [GroundControlPoint(r, c, 390_975 + c / 2, 5_820_000 - r / 2) for r in (0, 240) for c in (0, 500)]
    raster = write(tmp_path / "a.tif", ground(500, 240), gcps=corners, crs="EPSG:32633")
    with pytest.raises(FrameError, match=r"it says where on Earth it is .*, and the raster has no transform to that"):
        features(raster, SegmentOptions(reading=ReadOptions(mask=far_larger(tmp_path)), tile=128))


def test_features_end_where_the_data_do(tmp_path: Path) -> None:
    image = ground(500, 240)
    image[100:140, 50:450] = (255, 0, 0)
    image[:, 300:320] = 0
    image[60:220, 405:] = 0
    [one] = features(write(tmp_path / "a.tif", image, nodata=0, **UTM))
    [outline] = outlines([one])
    assert sorted(part.bounds[2] for part in outline.geoms) == pytest.approx([300, 405], abs=0.6)
    assert one["properties"]["area_m2"] == pytest.approx((250 + 85) * 40 / 4, rel=0.01)
    assert "outside" not in one["properties"]
