from __future__ import annotations

import struct
from datetime import datetime, timezone

import pytest

from sam3edge.images.headers import HeaderError, read_header
from sam3edge.images.headers.exif import read_exif
from support import media

NAMES = {".jpg": "JPEG", ".png": "PNG", ".tiff": "TIFF", ".bmp": "BMP", ".webp": "WebP"}


@pytest.mark.parametrize("extension", media.EXTENSIONS)
@pytest.mark.parametrize("size", [(1, 1), (17, 301), (512, 3)])
def test_format_and_size(extension: str, size: tuple[int, int]) -> None:
    header = read_header(media.encode(media.noise(*size), extension))
    assert (header.format, header.height, header.width) == (NAMES[extension], *size)
    assert header.pixels == size[0] * size[1]
    assert (header.orientation, header.taken_at) == (1, None)


def test_lossy_webp() -> None:
    header = read_header(media.encode(media.noise(20, 30), ".webp", (64, 80)))
    assert (header.height, header.width) == (20, 30)


def test_bmp_from_the_top_and_with_the_oldest_header() -> None:
    rows = bytes(8 * 4)
    top_down = b"BM" + struct.pack("<IHHIIiiHH", 54 + 32, 0, 0, 54, 40, 2, -4, 1, 24) + bytes(24) + rows
    assert (read_header(top_down).width, read_header(top_down).height) == (2, 4)
    oldest = b"BM" + struct.pack("<IHHIIHHHH", 26 + 32, 0, 0, 26, 12, 2, 4, 1, 24) + rows
    assert (read_header(oldest).width, read_header(oldest).height) == (2, 4)
    with pytest.raises(HeaderError, match="cut short"):
        read_header(oldest[:-1])


def test_big_tiff() -> None:
    tags = [(256, 16, 5), (257, 16, 7), (258, 3, 8), (273, 16, 8), (279, 16, 35), (274, 3, 6)]
    table = b"".join(struct.pack("<HHQQ", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    data = b"II+\0" + struct.pack("<HHQ", 8, 0, 16 + 35) + bytes(35) + struct.pack("<Q", len(tags)) + table + bytes(8)
    header = read_header(data)
    assert (header.width, header.height, header.orientation) == (5, 7, 6)


def test_tiff_tags_beyond_the_file_are_refused() -> None:
    tags = {256: (4, bytes(4)), 257: (4, bytes(4))}
    data = bytearray(media.tiff_block(tags))
    struct.pack_into("<I", data, 4, 1 << 31)
    with pytest.raises(HeaderError):
        read_header(bytes(data))


def test_tiff_with_a_hundred_million_strips_is_refused() -> None:
    tags = {256: (4, b"\1\0\0\0"), 257: (4, b"\1\0\0\0"), 273: (1, bytes(1_000_001)), 279: (1, bytes(1_000_001))}
    with pytest.raises(HeaderError, match="at most"):
        read_header(media.tiff_block(tags))


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_either_byte_order_with_and_without_prefix(order: str) -> None:
    block = media.exif_block(6, "2023:12:31 23:59:59", order=order)
    for data in (block, b"Exif\0\0" + block):
        exif = read_exif(memoryview(data))
        assert exif.orientation == 6
        assert exif.taken_at == datetime(2023, 12, 31, 23, 59, 59)  # naive: it names no offset


@pytest.mark.parametrize(
    ("date", "offset", "expected"),
    [
        ("2024:01:01 00:30:00", "+01:00", datetime(2023, 12, 31, 23, 30, tzinfo=timezone.utc)),
        ("2024:01:01 00:30:00", "-03:30", datetime(2024, 1, 1, 4, 0, tzinfo=timezone.utc)),
        ("2024:01:01 00:30:00", "", datetime(2024, 1, 1, 0, 30)),
        ("2024:01:01 00:30:00", "   :  ", datetime(2024, 1, 1, 0, 30)),
        ("0000:00:00 00:00:00", "", None),
        ("    :  :     :  :  ", "", None),
        ("0001:01:01 00:00:00", "+14:00", None),
        ("yesterday", "", None),
    ],
)
def test_exposure_times(date: str, offset: str, expected: datetime | None) -> None:
    assert read_exif(memoryview(media.exif_block(date=date, offset=offset))).taken_at == expected


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_are_upright(orientation: int) -> None:
    assert read_exif(memoryview(media.exif_block(orientation))).orientation == 1


def test_damaged_exif_is_absent_exif() -> None:
    block = media.exif_block(6, "2023:12:31 23:59:59", "+01:00", "5")
    for length in range(len(block)):
        read_exif(memoryview(block[:length]))
    assert read_exif(memoryview(b"")).orientation == 1
    looping = media.tiff_block({0x8769: (4, struct.pack("<I", 8))})
    assert read_exif(memoryview(looping)).taken_at is None
