"""Rasters with RPCs over elevation models: where the ground is high, places are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.rpc import RPC
from rasterio.transform import Affine

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference
from sam3edge.geo import terrain
from sam3edge.geo.places import footprint, place_of
from sam3edge.geo.raster import RasterOptions, open_raster
from support.places import RPCS, metres, not_yet_georeferenced, write_raster

Ground = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Metres above the ellipsoid of longitudes and latitudes."""

SIDE = 200
WEST, NORTH, CELL = 13.36, 52.54, 0.0004
"""Of the elevation models, degrees: 27 m x 44 m a cell, as SRTM's of 90 m would be at half the size."""

UTM = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)


def slope(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """One in ten to the east, one in twenty to the north."""
    return 100 + (longitude - RPCS.long_off) * 6_780 + (latitude - RPCS.lat_off) * 5_560


def hills(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """60 m high, 700 m from one to the next."""
    return 150 + 60 * np.sin((longitude - RPCS.long_off) * 630) * np.cos((latitude - RPCS.lat_off) * 1000)


def write_model(path: Path, ground: Ground, hole: tuple[slice, slice] | None = None) -> Path:
    steps = CELL * (np.arange(SIDE) + 0.5)
    heights = ground(*np.meshgrid(WEST + steps, NORTH - steps)).astype(np.float32)
    if hole is not None:
        heights[hole] = -32768
    return write_heights(path, heights, "EPSG:4326", north_up(WEST, NORTH, CELL))


def north_up(west: float, north: float, cell: float) -> Affine:
    return Affine(cell, 0, west, 0, -cell, north)


def write_heights(path: Path, heights: np.ndarray, crs: str | None, transform: Affine) -> Path:
    shape = {"height": heights.shape[0], "width": heights.shape[1], "count": 1, "dtype": heights.dtype}
    with (
        not_yet_georeferenced(),
        rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, nodata=-32768, **shape) as model,
    ):
        model.write(heights, 1)
    return path


def seen_at(pixels: np.ndarray, ground: Ground) -> np.ndarray:
    """[n, 2] positions: where the lines of sight of ``RPCS`` meet the ground, by its own equations."""
    column = (pixels[:, 0] - 0.5 - RPCS.samp_off) / RPCS.samp_scale
    row = (pixels[:, 1] - 0.5 - RPCS.line_off) / RPCS.line_scale
    height = np.zeros(len(pixels))
    for _ in range(200):
        longitude = RPCS.long_off + RPCS.long_scale * (column - 0.1 * height)
        latitude = RPCS.lat_off + RPCS.lat_scale * (0.05 * height - row)
        height = (ground(longitude, latitude) - RPCS.height_off) / RPCS.height_scale
    return np.stack([longitude, latitude], axis=1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "a.tif", rpcs=RPCS)


def over(image: Path, model: Path | None, **options: float) -> Georeference:
    return open_raster(image, RasterOptions(elevation=model, height_accuracy=5.0, **options))


PIXELS = np.stack(np.meshgrid(np.linspace(5, 635, 15), np.linspace(5, 507, 12)), -1).reshape(-1, 2)


def test_on_a_slope_every_place_is_where_its_line_of_sight_meets_the_ground(image: Path, tmp_path: Path) -> None:
    """A plane is the same between cells, so that their size explains nothing."""
    georeference = over(image, write_model(tmp_path / "m.tif", slope))
    truth = seen_at(PIXELS, slope)
    assert metres(georeference.to_world(PIXELS), truth).max() < 0.05
    np.testing.assert_allclose(georeference.to_pixels(truth), PIXELS, atol=0.01)


def test_centroids_are_within_a_pixel_and_without_a_model_off_by_what_theory_says(
    image: Path, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    farthest = 0.0
    with_model, flat = over(image, write_model(tmp_path / "m.tif", hills)), over(image, None, height=100.0)
    for x, y in PIXELS[::7]:
        outline = shapely.Point(x, y).buffer(4.0)
        middle = np.array([[x, y]])
        truth, height = seen_at(middle, hills), hills(*seen_at(middle, hills).T)[0]
        found, level = (place_of(outline, outline.bounds, one) for one in (with_model, flat))
        assert found is not None
        assert level is not None
        pixel = footprint(with_model, middle)
        sagging = 60 * ((630 * CELL) ** 2 + (1000 * CELL) ** 2) / 8  # of a sine between two cells
        off = metres(np.array([found.centroid]), truth)[0]
        assert off < pixel + 0.4 * sagging
        assert off < found.accuracy
        farthest = max(farthest, off / pixel)
        by_theory = (height - 100.0) / RPCS.height_scale * np.array([[0.1 * RPCS.long_scale, -0.05 * RPCS.lat_scale]])
        np.testing.assert_allclose(metres(np.array([level.centroid]), truth + by_theory), 0, atol=pixel)
    without = metres(flat.to_world(PIXELS), seen_at(PIXELS, hills)).max()
    figure(
        f"rasters with RPCs over hills of 60 m: with an elevation model centroids are off by {farthest:.2f} pixels at "
        f"most, without by up to {without:.0f} m"
    )
    assert without > 20


def test_a_model_in_another_reference_system_with_fewer_metres(image: Path, tmp_path: Path) -> None:
    """In UTM, whole metres, below the ellipsoid by the geoid's 40 m: no place is off by more than the rounding does."""
    east, north = UTM.transform(RPCS.long_off, RPCS.lat_off)
    corner = (east - 2500, north + 2500)
    x, y = np.meshgrid(corner[0] + 25 * (np.arange(SIDE) + 0.5), corner[1] - 25 * (np.arange(SIDE) + 0.5))
    heights = np.round(slope(*UTM.transform(x, y, direction="INVERSE")) - 40.0).astype(np.int16)
    model = write_heights(tmp_path / "m.tif", heights, "EPSG:32633", north_up(*corner, 25))
    compound = write_heights(tmp_path / "c.tif", heights, "EPSG:32633+5773", north_up(*corner, 25))
    truth = seen_at(PIXELS, slope)
    for path in (model, compound):
        assert metres(over(image, path, height=40.0).to_world(PIXELS), truth).max() < 0.3
        assert metres(over(image, path).to_world(PIXELS), truth).min() > 5


def test_tiles_of_srtm_are_read(image: Path, tmp_path: Path) -> None:
    steps = np.arange(1201) / 1200
    heights = np.round(slope(*np.meshgrid(13 + steps, 53 - steps)))
    (tmp_path / "N52E013.hgt").write_bytes(np.clip(heights, -500, 9000).astype(">i2").tobytes())
    inside = PIXELS[PIXELS[:, 1] > 300]  # the tile ends at 53 degrees, the raster is around 52.5
    georeference = over(image, tmp_path / "N52E013.hgt")
    assert metres(georeference.to_world(inside), seen_at(inside, slope)).max() < 0.3


def test_heights_in_other_units_are_as_the_file_says(image: Path, tmp_path: Path) -> None:
    write_heights(tmp_path / "m.tif", np.full((SIDE, SIDE), 3000, np.int16), "EPSG:4326", north_up(WEST, NORTH, CELL))
    with rasterio.open(tmp_path / "m.tif", "r+") as model:
        model.scales, model.offsets = (0.1,), (20.0,)
    flat = over(image, None, height=320.0).to_world(PIXELS)
    np.testing.assert_allclose(over(image, tmp_path / "m.tif").to_world(PIXELS), flat, atol=1e-7)


@pytest.mark.parametrize("number", [-32767, -9999, 32767])
def test_what_cannot_be_a_height_is_none(image: Path, tmp_path: Path, number: int) -> None:
    heights = np.full((SIDE, SIDE), 100, np.int16)
    heights[:, : SIDE // 2] = number
    model = write_heights(tmp_path / "m.tif", heights, "EPSG:4326", north_up(WEST, NORTH, CELL))
    positions = over(image, model).to_world(np.array([[50.0, 256.0], [600.0, 256.0]]))
    np.testing.assert_array_equal(np.isnan(positions[:, 0]), [True, False])


def test_where_heights_are_missing_there_is_no_place(image: Path, tmp_path: Path) -> None:
    """Also in the middle; GDAL would have taken them as 0."""
    hole = (slice(95, 105), slice(95, 105))
    georeference = over(image, write_model(tmp_path / "m.tif", slope, hole))
    truth = seen_at(PIXELS, slope)
    column, row = (truth[:, 0] - WEST) / CELL - 0.5, (NORTH - truth[:, 1]) / CELL - 0.5
    missing = (column > 94) & (column < 105) & (row > 94) & (row < 105)
    assert 0 < missing.sum() < len(PIXELS) / 2
    found = georeference.to_world(PIXELS)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), missing)
    assert metres(found[~missing], truth[~missing]).max() < 0.05
    np.testing.assert_array_equal(np.isnan(georeference.to_pixels(truth)[:, 0]), missing)
    [middle] = PIXELS[missing][:1]
    outline = shapely.Point(middle).buffer(3.0)
    assert place_of(outline, outline.bounds, georeference) is None


def test_a_ground_that_is_hidden_has_no_place(image: Path, tmp_path: Path) -> None:
    """A wall of 1 in 1 cell, steeper than the line of sight: nothing is placed wrongly."""

    def wall(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        return np.where(longitude > RPCS.long_off, 100.0, 3000.0)

    georeference = over(image, write_model(tmp_path / "m.tif", wall))
    found = georeference.to_world(PIXELS)
    placed = np.isfinite(found).all(axis=1)
    assert placed.any()
    np.testing.assert_allclose(georeference.to_pixels(found[placed]), PIXELS[placed], atol=0.05)


def test_the_accuracy_is_that_of_the_model(image: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.tif", slope)
    middle = np.array([[320.0, 256.0]])
    good, poor = (
        open_raster(image, RasterOptions(elevation=model, height_accuracy=a)).accuracy(middle)[0] for a in (0.0, 50.0)
    )
    per_metre = np.hypot(0.1 * RPCS.long_scale * 67_800, 0.05 * RPCS.lat_scale * 111_300) / RPCS.height_scale
    assert np.sqrt(poor**2 - good**2) == pytest.approx(2.4477 * 50 * per_metre, rel=0.02)


def far_away(folder: Path) -> Path:
    return write_heights(folder / "m.tif", np.ones((9, 9), np.float32), "EPSG:4326", north_up(20, 40, 0.1))


def without_crs(folder: Path) -> Path:
    return write_heights(folder / "m.tif", np.ones((9, 9), np.float32), None, north_up(13, 53, 0.1))


def without_transform(folder: Path) -> Path:
    return write_heights(folder / "m.tif", np.ones((9, 9), np.float32), "EPSG:4326", Affine.identity())


def following(folder: Path) -> Path:
    """What GDAL would follow to another computer."""
    (folder / "m.tif").write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>')
    return folder / "m.tif"


def padded(folder: Path) -> Path:
    """The same in a file that looks like one of SRTM."""
    (folder / "N52E013.hgt").write_bytes(b'<VRTDataset rasterXSize="9"></VRTDataset>'.ljust(1201 * 1201, b" "))
    return folder / "N52E013.hgt"


def damaged(folder: Path) -> Path:
    path = write_model(folder / "m.tif", slope)
    path.write_bytes(path.read_bytes()[:60_000])
    return path


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (far_away, "is not where the raster is"),
        (without_crs, "names no reference system"),
        (without_transform, "expected a transform"),
        (following, "expected an elevation model in a GeoTIFF or .hgt file, got m.tif"),
        (padded, "cannot be read"),
        (damaged, "cannot be read"),
        (lambda folder: folder / "nowhere.tif", "nowhere.tif cannot be read"),
        (lambda folder: folder, "cannot be read"),
        (lambda folder: Path("/vsicurl/http://127.0.0.1/m.tif"), "cannot be read"),
    ],
)
def test_a_model_that_cannot_be_used_says_why(
    image: Path, tmp_path: Path, model: Callable[[Path], Path], reason: str
) -> None:
    with pytest.raises(GeoreferenceError, match=reason):
        over(image, model(tmp_path))


def test_a_model_that_is_too_fine_is_refused(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terrain, "MAX_CELLS", 1000)
    with pytest.raises(GeoreferenceError, match="use a coarser one"):
        over(image, write_model(tmp_path / "m.tif", slope))


def test_rasters_that_know_their_place_need_no_model(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:32633", transform=north_up(391_000, 5_820_000, 0.5))
    assert over(path, tmp_path / "nowhere.tif").size == (640, 512)


def test_rpcs_that_bend_are_inverted_to_a_hundredth_of_a_pixel(tmp_path: Path) -> None:
    bent = {**RPCS.to_dict(), "samp_num_coeff": [0.0, 1.0, 0.02, 0.1, 0.01, 0.01, 0.0, 0.03, *[0.0] * 12]}
    path = write_raster(tmp_path / "a.tif", rpcs=RPC(**bent))
    georeference = over(path, write_model(tmp_path / "m.tif", hills))
    np.testing.assert_allclose(georeference.to_pixels(georeference.to_world(PIXELS)), PIXELS, atol=0.01)
