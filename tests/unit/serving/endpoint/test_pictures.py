"""Images of every kind that the endpoint promises to read."""

from __future__ import annotations

import itertools
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

from sam3edge.core.types import RgbImage
from sam3edge.images.decoding import DecodeOptions, decode
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge_serving.endpoint.images import inspect, to_frame
from sam3edge_serving.http.errors import HttpError, TooLarge, Unanswerable
from support import media

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # so are most requests

OPTIONS = DecodeOptions(max_pixels=1_000_000)


def read(data: bytes, options: DecodeOptions = OPTIONS) -> RgbImage:
    return to_frame(inspect(data, options.max_pixels), options, "endpoint", "x").image


def tiff(bands: npt.NDArray[Any], **profile: Any) -> bytes:
    """A TIFF of bands [C, H, W], written by GDAL."""
    count, height, width = bands.shape
    kind = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    with MemoryFile() as file:
        with file.open(**kind, **profile) as dataset:
            dataset.write(bands)
        return bytes(file.read())


@pytest.mark.parametrize("extension", media.EXTENSIONS)
def test_every_format_is_read_as_on_the_device(extension: str) -> None:
    data = media.encode(media.quarters(), extension)
    np.testing.assert_array_equal(read(data), decode(data, OPTIONS).image)


def test_a_frame_has_the_digest_for_a_name_when_it_has_none() -> None:
    data = media.encode(media.quarters(), ".png")
    frame = to_frame(inspect(data, 10_000), OPTIONS, "endpoint", "")
    assert frame.name == frame.id
    assert frame.digest.startswith(f"sha256:{frame.id}")


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_tiffs_of_one_to_many_bands(count: int, interleave: str) -> None:
    bands = np.stack([np.full((20, 30), 10 * (i + 1), np.uint8) for i in range(count)])
    image = read(tiff(bands, interleave=interleave))
    assert image[5, 5].tolist() == ([10, 20, 30] if count >= 3 else [10, 10, 10])


def test_bands_that_are_called_red_green_and_blue() -> None:
    kind = {"driver": "GTiff", "count": 4, "height": 20, "width": 30, "dtype": "uint8"}
    with MemoryFile() as file:
        with file.open(**kind, photometric="MINISBLACK") as dataset:
            dataset.colorinterp = [ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red]
            dataset.write(np.stack([np.full((20, 30), v, np.uint8) for v in (1, 2, 3, 4)]))
        assert read(bytes(file.read()))[0, 0].tolist() == [4, 3, 2]


@pytest.mark.parametrize("depth", [Depth.FULL_RANGE, Depth.MIN_MAX, Depth.PERCENTILES])
def test_no_data_is_black_and_does_not_count_as_dark(depth: Depth) -> None:
    bands = np.full((3, 20, 30), 30_000, np.uint16)
    bands[:, :, 15:] = 40_000
    bands[:, :5] = 65_535
    image = read(tiff(bands, nodata=65_535), DecodeOptions(OPTIONS.max_pixels, DepthOptions(depth)))
    assert (image[:5] == 0).all()
    assert image[10, 0, 0] == (117 if depth is Depth.FULL_RANGE else 0)
    assert image[10, 29, 0] == (156 if depth is Depth.FULL_RANGE else 255)


def test_an_eight_bit_no_data_value() -> None:
    bands = np.full((1, 20, 30), 200, np.uint8)
    bands[0, 3] = 255
    image = read(tiff(bands, nodata=255))
    assert (image[3] == 0).all()
    assert (image[4] == 200).all()


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_numbers_without_a_full_range_are_stretched(kind: type[np.generic], count: int) -> None:
    """Those of 8 and 16 bits without sign keep their range, so that images stay comparable."""
    bands = np.tile(np.linspace(-100, 120, 400).astype(kind).reshape(20, 20), (count, 1, 1))
    if not np.issubdtype(kind, np.signedinteger) and not np.issubdtype(kind, np.floating):
        bands = np.tile(np.linspace(0, 220, 400).astype(kind).reshape(20, 20), (count, 1, 1))
    image = read(tiff(bands)).astype(int)
    assert image.shape == (20, 20, 3)
    assert (image[0, 0, 0], image[-1, -1, 0]) == (0, 255)
    assert abs(image[10, 0, 0] - 128) < 6
    darker = read(tiff(bands), DecodeOptions(OPTIONS.max_pixels, DepthOptions(Depth.MIN_MAX))).astype(int)
    assert (darker[0, 0, 0], darker[-1, -1, 0]) == (0, 255)


def test_what_is_not_a_number_is_dark() -> None:
    bands = np.tile(np.linspace(1, 2, 400).astype(np.float32).reshape(20, 20), (3, 1, 1))
    bands[:, 5, 5], bands[:, 6, 6] = np.nan, np.inf
    image = read(tiff(bands))
    assert (image[5, 5, 0], image[6, 6, 0]) == (0, 255)
    doubles = tiff(np.full((3, 20, 20), 1e300))
    assert read(doubles).shape == (20, 20, 3)


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_numbers_are_refused_by_name(kind: type[np.generic]) -> None:
    with pytest.raises(Unanswerable, match=f"whole or floating point numbers, got {kind.__name__}"):
        read(tiff(np.ones((3, 20, 30), kind)))


@pytest.mark.parametrize(
    ("compress", "count"),
    [
        *itertools.product(("zstd", "lerc", "lerc_deflate", "lzma", "deflate", "lzw", "packbits"), (1, 3, 4)),
        *itertools.product(("webp",), (3, 4)),
    ],
)
def test_every_compression(compress: str, count: int) -> None:
    bands = np.stack([np.full((20, 30), 60 * (i + 1), np.uint8) for i in range(count)])
    lossless = {"WEBP_LOSSLESS": "YES"} if compress == "webp" else {}
    image = read(tiff(bands, compress=compress, **lossless))
    assert image[5, 5].tolist() == ([60, 120, 180] if count >= 3 else [60, 60, 60])


def test_a_palette_in_a_compression_that_only_gdal_reads() -> None:
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 4, "dtype": "uint8", "compress": "zstd"}
    with MemoryFile() as file:
        with file.open(**profile) as dataset:
            dataset.write(np.arange(16, dtype=np.uint8).reshape(1, 4, 4))
            dataset.write_colormap(1, {i: (255 - i, i, 7, 255) for i in range(16)})
        data = bytes(file.read())
    assert read(data)[1, 2].tolist() == [249, 6, 7]


# -- NITF -------------------------------------------------------------------------------------------------------------


def nitf(bands: npt.NDArray[Any], **options: str) -> bytes:
    """A NITF of bands [C, H, W], as osml-model-runner cuts its tiles with GDAL."""
    with MemoryFile(tiff(bands)) as source, MemoryFile(ext=".ntf") as target:
        rasterio.shutil.copy(source.name, target.name, driver="NITF", **options)
        return bytes(target.read())


def smooth(count: int = 3) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:64, :80]
    return np.stack([rows * 3, columns * 2, 200 - rows, columns])[:count].astype(np.uint8)


@pytest.mark.parametrize("compression", ["NC", "C8", "C3"])
@pytest.mark.parametrize("count", [1, 3])
def test_nitf_plain_and_with_jpeg_inside(compression: str, count: int) -> None:
    bands = smooth(count)
    image = read(nitf(bands, IC=compression)).astype(int)
    wanted = np.broadcast_to(bands, (3, 64, 80)).transpose(1, 2, 0).astype(int)
    assert np.abs(image - wanted).mean() < (0.01 if compression == "NC" else 3)


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32])
def test_nitf_of_other_depths(kind: type[np.generic]) -> None:
    bands = np.tile(np.linspace(0, 2000, 400).astype(kind).reshape(20, 20), (1, 1, 1))
    image = read(nitf(bands))
    assert image.max() == (8 if kind is np.uint16 else 255)


def test_nitf_of_several_bands() -> None:
    assert read(nitf(np.tile(smooth(4), (2, 1, 1))))[5, 6].tolist() == [15, 12, 195]


def test_nitf_is_counted_before_it_is_decoded() -> None:
    with pytest.raises(TooLarge, match="80 x 64"):
        inspect(nitf(smooth()), 5000)


def test_damaged_nitf_is_refused_or_read_and_never_a_fault_of_ours() -> None:
    dice = random.Random(5)
    bases = [nitf(smooth(), IC=compression) for compression in ("NC", "C8", "C3")]
    for number in range(300):
        data = bytearray(bases[number % 3])
        for _ in range(dice.choice((1, 2, 8))):
            data[dice.randrange(dice.choice((500, 1500, len(data))))] = dice.choice(
                (0, 48, 57, 255, dice.randrange(256))
            )
        if number % 5 == 0:
            del data[dice.randrange(len(data)) :]
        with suppress(HttpError):
            read(bytes(data), DecodeOptions(100_000))


def virtual(source: str) -> bytes:
    """A description of a virtual dataset, which names another file."""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    return f'<VRTDataset rasterXSize="80" rasterYSize="64">{bands}</VRTDataset>'.encode()


@pytest.mark.parametrize(("compression", "start"), [("C8", b"\xff\x4f\xff\x51"), ("C3", b"\xff\xd8\xff")])
def test_a_picture_inside_nitf_is_never_given_to_a_driver_that_opens_other_files(
    tmp_path: Path, compression: str, start: bytes
) -> None:
    secret = tmp_path / "secret.ppm"
    secret.write_bytes(b"P6 80 64 255\n" + bytes(80 * 64 * 3))
    described = virtual(str(secret))
    with MemoryFile(described) as file, file.open(driver="VRT") as opened:
        assert opened.read().shape == (3, 64, 80)  # so GDAL would, if it were let
    whole = nitf(np.random.default_rng(0).integers(0, 255, (3, 64, 80), np.uint8), IC=compression)
    at = whole.index(start)
    assert len(whole) - at > len(described)
    spoilt = whole[:at] + described.ljust(len(whole) - at)
    with pytest.raises(Unanswerable, match="cannot be used"):
        read(spoilt)


@pytest.mark.parametrize("domain", ["OVERVIEWS", "ProxyOverviewRequest", "DERIVED_SUBDATASETS", "SUBDATASETS"])
def test_no_address_in_a_tiffs_metadata_is_asked(domain: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"/vsicurl/http://127.0.0.1:{listening.getsockname()[1]}/x.tif"
        profile = {"driver": "GTiff", "count": 4, "height": 4, "width": 4, "dtype": "uint8"}
        with MemoryFile() as file:
            with file.open(**profile) as dataset:
                dataset.write(np.full((4, 4, 4), 9, np.uint8))
                dataset.update_tags(ns=domain, OVERVIEW_FILE=address, FILENAME=address, SUBDATASET_1_NAME=address)
            assert (read(bytes(file.read())) == 9).all()
        listening.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_bands_that_would_not_fit_are_refused_before_they_are_read() -> None:
    bands = np.zeros((40, 200, 200), np.uint16)
    with pytest.raises(Unanswerable, match="40 bands take"):
        read(tiff(bands, compress="deflate"), DecodeOptions(max_pixels=100_000))


def test_lines_of_millions_of_pixels_are_no_images() -> None:
    """They made the runtime's own resizing fail, which counts as a fault of the model."""
    with MemoryFile() as file:
        with file.open(driver="GTiff", width=20_000_000, height=1, count=1, dtype="float32", compress="zstd"):
            pass
        line = bytes(file.read())
    with pytest.raises(Unanswerable, match=r"sides of 1 to 1000000 pixels, the header says 20000000 x 1"):
        inspect(line, 100_000_000)


@pytest.mark.parametrize(
    ("profile", "stored"),
    [
        ({"width": 7000, "height": 7000, "count": 4, "dtype": "float64", "compress": "zstd"}, 7000 * 7000 * 4 * 8),
        ({"width": 2800, "height": 2800, "count": 200, "dtype": "uint8", "compress": "zstd"}, 2800 * 2800 * 200),
    ],
)
def test_a_small_file_that_would_take_gigabytes_is_refused_before_it_is_read(
    profile: dict[str, Any], stored: int
) -> None:
    with MemoryFile() as file:
        with file.open(driver="GTiff", SPARSE_OK="TRUE", **profile):
            pass
        bomb = bytes(file.read())
    assert len(bomb) < 200_000
    with pytest.raises(Unanswerable, match=f"bands take {stored} bytes"):
        inspect(bomb, 100_000_000)


def test_what_an_image_costs_follows_its_bands() -> None:
    plain = inspect(media.encode(media.quarters(), ".png"), 1_000_000)
    assert plain.cost == plain.header.pixels
    doubles = inspect(tiff(np.ones((3, 20, 30))), 1_000_000)
    assert doubles.cost == 20 * 30 * 3 * 8 * 4 // 3
    assert inspect(nitf(smooth(), IC="C8"), 1_000_000).cost == 64 * 80 * 3 * 6 * 4 // 3


def test_pixels_are_counted_before_anything_is_decoded() -> None:
    with pytest.raises(TooLarge, match="30000 x 1"):
        inspect(media.encode(np.zeros((1, 30000, 3), np.uint8), ".png"), 20_000)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"{}", b"NITF02.10"])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(Unanswerable, match="the image cannot be used"):
        inspect(data, 100)


def test_a_damaged_tiff_of_many_bands() -> None:
    data = tiff(np.random.default_rng(0).integers(0, 255, (5, 64, 64), np.uint8), compress="deflate")
    start = data.index(b"\x78\x9c") if b"\x78\x9c" in data else len(data) // 2
    broken = data[: start + 10] + b"\xff" * 200 + data[start + 210 :]
    with pytest.raises(Unanswerable, match="cannot be"):
        read(broken)


def test_only_the_tiff_driver_reads() -> None:
    """A description of a virtual dataset names other files and addresses; GDAL must never be given one."""
    described = b'<VRTDataset rasterXSize="1" rasterYSize="1"><SourceFilename>/etc/passwd</SourceFilename></VRTDataset>'
    with pytest.raises(Unanswerable, match="cannot be used"):
        inspect(described, 100)


def test_sixteen_bits_and_cmyk() -> None:
    deep = media.encode(np.full((4, 4, 3), 65535, np.uint16), ".png")
    assert (read(deep) == 255).all()
    assert read(media.cmyk_jpeg(0, 0, 0, 255)).max() < 30


LIARS = (256, 257, 258, 262, 273, 277, 278, 279, 284, 317, 322, 323, 338, 339, 42113, 34665, 0x8825)
"""Tags by which a file says how it is to be read."""


@pytest.mark.parametrize("seed", range(8))
def test_a_tiff_whose_tags_lie_is_refused_or_read_and_never_a_fault_of_ours(seed: int) -> None:
    dice = random.Random(seed)
    bases = [
        tiff(np.full((3, 20, 30), 90, np.uint8)),
        tiff(np.full((5, 20, 30), 9000, np.uint16), nodata=0),
        tiff(np.full((1, 20, 30), 9000, np.uint16)),
    ]
    for _ in range(120):
        data = bytearray(dice.choice(bases))
        (directory,) = struct.unpack_from("<I", data, 4)
        (entries,) = struct.unpack_from("<H", data, directory)
        for _ in range(dice.choice((1, 1, 3))):
            at = directory + 2 + 12 * dice.randrange(entries)
            number = dice.choice((0, 1, 2, 7, 2**31, 2**32 - 1, dice.randrange(2**32), dice.randrange(len(data))))
            layout, place, value = dice.choice(
                (("<H", 0, dice.choice(LIARS)), ("<H", 2, dice.randrange(20)), ("<I", 4, number), ("<I", 8, number))
            )
            struct.pack_into(layout, data, at + place, value)
        with suppress(HttpError):
            to_frame(inspect(bytes(data), 1_000_000), DecodeOptions(1_000_000), "endpoint", "")
