"""Rasters that are not as they should be: each is refused with the reason, or read as far as it says something."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from rasterio._err import CPLE_AppDefinedError
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from shapely.geometry import shape

from sam3edge.core.errors import FrameError, GeoreferenceError
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.geo.raster import RasterOptions, open_raster
from sam3edge.rasters import raster_file
from sam3edge.rasters.options import RasterPrompt, ReadOptions, SegmentOptions
from sam3edge.rasters.raster_file import open_raster_file
from support.places import RPCS, control_point_raster, not_yet_georeferenced
from support.rasters import (
    RED,
    SMALL,
    UTM,
    Alive,
    features,
    ground,
    in_one_look,
    outlines,
    scattered,
    share_of_same,
    write,
)


def refused(path: str | Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(FrameError) as error, open_raster_file(path, options or ReadOptions()):
        pass
    assert error.value.name
    return str(error.value)


def test_files_that_are_no_rasters_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "a.tif").write_text("II*")
    (tmp_path / "b.tif").write_bytes(b"II*\0" + bytes(200))
    (tmp_path / "c.vrt").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    assert "expected a TIFF" in refused(tmp_path / "empty.tif")
    assert "expected a TIFF" in refused(tmp_path / "a.tif")
    assert "cannot read" in refused(tmp_path / "b.tif")
    assert "expected a TIFF" in refused(tmp_path / "c.vrt")
    assert f"expected a file, {tmp_path} is a folder" in refused(tmp_path)
    assert "nowhere.tif is not there" in refused(tmp_path / "nowhere.tif")
    assert "expected a file" in refused(f"GTIFF_DIR:1:{write(tmp_path / 'd.tif', ground(9, 9))}")


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://{}/a.tif",
        "http://{}/a.tif",
        "/vsis3/bucket/a.tif",
        "s3://bucket/a.tif",
        "/vsizip//tmp/a.zip/a.tif",
    ],
)
def test_other_computers_are_not_asked(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        reason = refused(name.format(f"127.0.0.1:{server.getsockname()[1]}"))
        assert "expected a file" in reason
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_virtual_file_system_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    image = scattered(2, 200, 150, 40)
    data = write(tmp_path / "a.tif", image).read_bytes()
    with rasterio.MemoryFile(data, filename="scene.tif") as memory:
        assert "where they are allowed" in refused(memory.name, ReadOptions(virtual=("/vsis3/",)))
        found = features(memory.name, SegmentOptions(reading=ReadOptions(virtual=("/vsimem/",)), tile=128))
    assert share_of_same(outlines(found), in_one_look(image)) == 1.0


@pytest.mark.parametrize("compress", ["none", "deflate", "lzw"])
def test_a_raster_that_is_cut_short_is_refused_where_it_ends(compress: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    image[..., 0] = 0  # nothing red
    path = write(tmp_path / "a.tif", image, compress=compress, tiled=True, blockxsize=64, blockysize=64)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    engine = Alive()
    with pytest.raises(FrameError, match=r"the pixels from \d+, \d+ on cannot be read|cannot read"):
        features(path, engine=engine)


def test_a_raster_of_one_row_is_looked_at_along_it(tmp_path: Path) -> None:
    image = ground(100_000, 1)
    image[0, 5000:5400] = image[0, 99_990:] = (255, 0, 0)
    engine = Alive()
    found = outlines(features(write(tmp_path / "a.tif", image, **UTM), engine=engine))
    assert [one.bounds for one in found] == [(5000, 0, 5400, 1), (99_990, 0, 100_000, 1)]
    assert engine.most <= 3


def test_a_raster_thinner_than_a_pixel_is_looked_at(tmp_path: Path) -> None:
    image = ground(6000, 1)
    image[0, 1000:1400] = (255, 0, 0)
    path = write(tmp_path / "a.tif", image, **UTM)
    [one] = outlines(features(path, prompts=[RasterPrompt(Prompt("red"), 4.0)]))
    assert one.bounds == pytest.approx((1000, 0, 1400, 1), abs=8)


def test_a_raster_smaller_than_a_tile_is_one(tmp_path: Path) -> None:
    image = ground(20, 7)
    image[1:6, 3:17] = (255, 0, 0)
    assert share_of_same(outlines(features(write(tmp_path / "a.tif", image))), in_one_look(image), 0.9) == 1.0


def test_a_raster_without_data_has_no_features_and_costs_no_model(tmp_path: Path) -> None:
    engine = Alive()
    for kind, nodata in (("uint8", 0), ("uint16", 0), ("float32", np.nan)):
        image = np.full((400, 300, 3), nodata, kind)
        assert features(write(tmp_path / "a.tif", image, nodata=nodata, **UTM), engine=engine) == []
    assert engine.frames == 0


def test_one_value_everywhere_is_black(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((80, 80), -7.5, np.float32))
    with open_raster_file(path, ReadOptions()) as raster:
        assert raster.read((0, 0, 80, 80), 80).image.max() == 0


def test_numbers_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    for kind in ("complex64", "complex128"):
        assert "whole or floating point numbers" in refused(write(tmp_path / "a.tif", np.ones((8, 8), kind)))
    with (
        not_yet_georeferenced(),
        rasterio.open(tmp_path / "b.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="complex_int16"),
    ):
        pass
    assert "whole or floating point numbers" in refused(tmp_path / "b.tif")


def sparse(path: Path, width: int, height: int, **profile: Any) -> Path:
    """A TIFF whose blocks are all missing: a few bytes, however large it is."""
    kind = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8", "SPARSE_OK": True}
    with not_yet_georeferenced(), rasterio.open(path, "w", BIGTIFF="YES", **{**kind, **profile}):
        pass
    return path


def test_a_few_bytes_that_claim_to_be_a_continent_are_read_by_windows(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif", 400_000, 400_000, tiled=True, blockxsize=512, blockysize=512, compress="deflate")
    assert "raise max_pixels" in refused(path)
    with open_raster_file(path, ReadOptions(max_pixels=10**13)) as raster:
        assert raster.read((399_000, 399_000, 400_100, 400_100), 128).counts.any()


def test_blocks_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are unpacked whole, whatever is read of them; of bands that are stored together, all are."""
    monkeypatch.setattr(raster_file, "MAX_BLOCK_BYTES", 1 << 20)
    tiles = {"tiled": True, "count": 4, "interleave": "pixel"}
    with open_raster_file(
        sparse(tmp_path / "a.tif", 6000, 6000, blockxsize=512, blockysize=512, **tiles), ReadOptions()
    ):
        pass
    path = sparse(tmp_path / "b.tif", 6000, 6000, blockxsize=512, blockysize=528, **tiles)
    assert "gdal_translate -of COG" in refused(path)


def test_a_mask_whose_blocks_do_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_file, "MAX_BLOCK_BYTES", 1 << 20)
    tiles = {"tiled": True, "blockxsize": 1024}
    image = sparse(tmp_path / "a.tif", 2048, 2048, blockysize=1024, **tiles)
    with open_raster_file(image, ReadOptions(mask=sparse(tmp_path / "m.tif", 2048, 2048, blockysize=1024, **tiles))):
        pass
    mask = sparse(tmp_path / "n.tif", 2048, 2048, blockysize=1040, **tiles)
    with pytest.raises(FrameError, match="gdal_translate -of COG") as error:
        features(image, SegmentOptions(reading=ReadOptions(mask=mask)))
    assert error.value.name == "n.tif"


@pytest.mark.parametrize(
    ("photometric", "bands", "kind", "named"),
    [
        ("cmyk", 4, np.uint16, "CMYK"),
        ("cielab", 3, np.uint16, "CIE L*a*b*"),
        ("icclab", 3, np.uint8, "ICC L*a*b*"),
        ("itulab", 3, np.uint16, "ITU L*a*b*"),
    ],
)
def test_colours_that_are_not_rgb_are_refused_unless_bands_are_named(
    photometric: str, bands: int, kind: type[np.generic], named: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tif", np.full((60, 80, bands), 90, kind), photometric=photometric, **UTM)
    assert f"expected RGB, got {named}; convert it to RGB" in refused(path)
    with open_raster_file(path, ReadOptions(bands=(1, 2, 3))) as raster:
        assert raster.read((0, 0, 80, 60), 64).counts.any()


def test_cmyk_of_8_bits_is_converted(tmp_path: Path) -> None:
    red = np.zeros((60, 80, 4), np.uint8)
    red[..., 1:3] = 255
    with open_raster_file(write(tmp_path / "a.tif", red, photometric="cmyk", **UTM), ReadOptions()) as raster:
        assert (raster.read((0, 0, 60, 60), 60).image == (255, 0, 0)).all()


@pytest.mark.parametrize("count", [3, 4, 12])
def test_bands_of_which_nothing_is_said_are_taken(count: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((60, 80, count), 90, np.uint16), photometric="minisblack", **UTM)
    with open_raster_file(path, ReadOptions()) as raster:
        assert raster.read((0, 0, 60, 60), 60).counts.all()


def test_formats_that_are_decoded_as_a_whole_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scattered(2, 200, 150, 40)[..., ::-1])
    assert features(tmp_path / "a.png")
    monkeypatch.setattr(raster_file, "MAX_UNTILED_PIXELS", 20_000)
    assert "gdal_translate -of COG" in refused(tmp_path / "a.png")


@pytest.mark.parametrize(
    "where",
    [
        {"transform": UTM["transform"]},
        {"crs": UTM["crs"], "transform": Affine(0, 0, 391_000, 0, 0, 5_820_000)},
        {"crs": UTM["crs"], "transform": Affine(0.5, 0, 1e12, 0, -0.5, 1e12)},
        {"crs": 'LOCAL_CS["nowhere",UNIT["m",1]]', "transform": UTM["transform"]},
        {"crs": "+proj=longlat +a=3396190 +b=3376200 +no_defs", "transform": Affine(1e-3, 0, 0, 0, -1e-3, 10)},
    ],
    ids=["no CRS", "pixels without size", "off the Earth", "nowhere", "Mars"],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_a_place_features_are_in_pixels(where: dict[str, Any], tmp_path: Path) -> None:
    image = scattered(2, 300, 200, 40)
    path = write(tmp_path / "a.tif", image, **where)
    with open_raster_file(path, ReadOptions()) as raster:
        assert raster.no_place
    found = features(path)
    assert all(one["geometry"] is None for one in found)
    assert share_of_same(outlines(found), in_one_look(image)) == 1.0


def rpcs_with(**changed: Any) -> RPC:
    return RPC(**{**RPCS.to_dict(), **changed})


def control_points(*at: tuple[float, float, float, float]) -> dict[str, Any]:
    return {"crs": "EPSG:32633", "gcps": [GroundControlPoint(*one, 0.0) for one in at]}


@pytest.mark.parametrize(
    "where",
    [
        control_points(*[(10, 10, 391_000, 5_820_000)] * 9),
        control_points((1, 1, float("nan"), 1), (5, 1, 1, 1), (9, 2, 3, 1)),
        control_points((0, 0, 0, 0), (100, 100, 50, 50), (200, 200, 100, 100), (50, 50, 25, 25)),
        {"rpcs": rpcs_with(line_den_coeff=[0.0] * 20)},
        {"rpcs": rpcs_with(lat_scale=0.0, long_scale=0.0)},
        {"rpcs": rpcs_with(lat_off=float("nan"))},
        {"rpcs": rpcs_with(line_num_coeff=[0.0] * 20)},
    ],
    ids=["one point", "NaN", "on a line", "no denominator", "no scale", "NaN in RPCs", "flat RPCs"],
)
@pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning", "ignore::rasterio.errors.TransformWarning"
)
def test_what_cannot_be_solved_leaves_features_in_pixels_too(where: dict[str, Any], tmp_path: Path) -> None:
    image = scattered(2, 300, 200, 40)
    path = write(tmp_path / "a.tif", image, **where)
    with open_raster_file(path, ReadOptions()) as raster:
        assert raster.no_place
    assert all(one["geometry"] is None for one in features(path))
    with pytest.raises(GeoreferenceError):
        open_raster(path, RasterOptions())


@pytest.mark.parametrize(
    "where",
    [
        {"crs": "EPSG:32633", "transform": Affine(0.4, 0.3, 391_000, 0.3, -0.4, 5_820_000)},
        {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 391_000, 0, 0.5, 5_820_000)},
        {"crs": "EPSG:4326", "transform": Affine(4.5e-6, 0, 179.9993, 0, -4.5e-6, 1)},
        {"crs": "EPSG:4326", "transform": Affine(4.5e-6, 0, -180.0007, 0, -4.5e-6, 1)},
        {"crs": "EPSG:3857", "transform": Affine(1, 0, 1_500_000, 0, -1, 8_399_738)},
    ],
    ids=["turned", "upside down", "across the antimeridian", "across it from the other side", "Mercator at 60 degrees"],
)
def test_wherever_it_is_half_a_metre_is_half_a_metre(where: dict[str, Any], tmp_path: Path) -> None:
    """All have pixels of half a metre on the ground."""
    image = ground(400, 300)
    image[100:200, 120:280] = (255, 0, 0)
    path, engine = write(tmp_path / "a.tif", image, **where), Alive()
    [one] = features(path, engine=engine, prompts=[RasterPrompt(Prompt("red"), 1.0)])
    assert one["properties"]["area_m2"] == pytest.approx(100 * 160 / 4, rel=0.03)
    assert share_of_same(outlines([one]), [shapely.box(120, 100, 280, 200)]) == 1.0
    assert engine.frames <= 4 * 3  # of 200 x 150 pixels
    sides = {float(np.sign(part.bounds[0])) for part in shapely.get_parts(shape(one["geometry"]))}
    assert sides == ({-1.0, 1.0} if where["crs"] == "EPSG:4326" else {1.0})


def test_places_may_come_from_control_points(tmp_path: Path) -> None:
    path = control_point_raster(tmp_path / "a.tif")
    with open_raster_file(path, ReadOptions()) as raster:
        assert raster.ground.steps == pytest.approx((0.5, 0.5), rel=0.01)
        assert raster.ground.anchor == (0, 0)


def test_a_raster_may_reach_beyond_the_pole(tmp_path: Path) -> None:
    image = ground(400, 400)
    image[10:60, 50:100] = image[200:300, 50:150] = (255, 0, 0)
    path = write(tmp_path / "a.tif", image, crs="EPSG:4326", transform=Affine(0.01, 0, 10, 0, -0.01, 90.3))
    beyond, before = sorted(features(path), key=lambda one: one["properties"]["area"])
    assert beyond["geometry"] is None
    assert before["geometry"] is not None


def test_an_extent_outside_of_the_raster_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(100, 100))
    with pytest.raises(FrameError, match="expected an extent within the raster of 100 x 100"):
        features(path, SegmentOptions(tile=128, extent=(200, 0, 300, 100)))


def test_the_callers_own_errors_are_left_alone(tmp_path: Path) -> None:
    """Those of files that are written meanwhile are not the raster's."""
    with (
        pytest.raises(OSError, match="disk full"),
        open_raster_file(write(tmp_path / "a.tif", ground(9, 9)), ReadOptions()),
    ):
        raise OSError("disk full")
    assert features(tmp_path / "a.tif", SMALL, FakeEngine(), [RED]) == []


def test_damaged_rasters_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    """A few bytes of small TIFFs changed, most of them in their headers."""
    image = scattered(2, 100, 80, 30)
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    kinds = [
        write(tmp_path / "a.tif", image, compress="deflate", **UTM).read_bytes(),
        write(tmp_path / "b.tif", image.astype(np.uint16) * 200, nodata=0, **tiles).read_bytes(),
        write(tmp_path / "c.tif", image.astype(np.float32), interleave="band").read_bytes(),
    ]
    rng = random.Random(11)
    options = SegmentOptions(tile=128, reading=ReadOptions(max_pixels=1_000_000))
    outcomes = set()
    for _ in range(60):
        data = bytearray(rng.choice(kinds))
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.choice([rng.randrange(600), -1 - rng.randrange(900)])] = rng.randrange(256)
        (tmp_path / "damaged.tif").write_bytes(data)
        try:
            outcomes.add(type(features(tmp_path / "damaged.tif", options)))
        except FrameError as error:
            outcomes.add(type(error))
    assert outcomes == {list, FrameError}


NOT_UTF_8 = UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte")


@pytest.mark.parametrize("error", [CPLE_AppDefinedError(1, 1, "Key 2049 of unknown type"), NOT_UTF_8])
def test_what_gdal_raises_of_a_damaged_header_is_the_rasters_error(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a thousand damaged headers one does so."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(raster_file, "visible_bands", fails)
    assert "cannot be read" in refused(write(tmp_path / "a.tif", ground(9, 9)))
