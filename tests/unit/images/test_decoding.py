from __future__ import annotations

import struct
import time
import zoneinfo
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.images.decoding import Decoded, DecodeError, DecodeOptions, UnfinishedImage, decode
from sam3edge.images.depth import Depth, DepthOptions
from support import media


def decoded(data: bytes, options: DecodeOptions | None = None) -> npt.NDArray[np.uint8]:
    result: Decoded = decode(data, options or DecodeOptions())
    assert result.image.dtype == np.uint8
    assert result.image.ndim == 3
    assert result.image.shape[2] == 3
    assert result.image.flags.c_contiguous
    return result.image


@pytest.mark.parametrize("extension", media.EXTENSIONS)
def test_colour_becomes_rgb(extension: str) -> None:
    image = media.quarters()
    difference = np.abs(decoded(media.encode(image, extension)).astype(int) - image)
    assert difference.mean() <= (6 if extension == ".jpg" else 0)


@pytest.mark.parametrize("extension", media.EXTENSIONS)
def test_grey_is_repeated(extension: str) -> None:
    grey = media.noise()[:, :, 0]
    image = decoded(media.encode(grey, extension))
    assert np.array_equal(image[:, :, 0], image[:, :, 1])
    assert np.array_equal(image[:, :, 0], image[:, :, 2])
    assert np.abs(image[:, :, 0].astype(int) - grey).max() <= (4 if extension == ".jpg" else 0)


@pytest.mark.parametrize("extension", [".png", ".tiff", ".bmp"])
def test_alpha_is_dropped_not_composited(extension: str) -> None:
    image = media.quarters()
    transparent = np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    assert np.array_equal(decoded(media.encode(transparent, extension)), image)


def test_alpha_of_webp_is_dropped() -> None:
    image = media.quarters()
    half = np.dstack([image, np.full(image.shape[:2], 128, np.uint8)])
    assert np.array_equal(decoded(media.encode(half, ".webp")), image)


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_by_their_full_range(extension: str, channels: int) -> None:
    levels = np.linspace(0, 65535, 24 * 32).round().astype(np.uint16).reshape(24, 32)
    image = levels if channels == 1 else np.dstack([levels, levels[::-1], levels[:, ::-1], levels][:channels])
    expected = np.round((image if channels > 1 else np.dstack([image] * 3))[:, :, :3] / 257).astype(np.uint8)
    result = decoded(media.encode(image, extension))
    assert np.abs(result.astype(int) - expected).max() <= 0
    assert result.min() == 0
    assert result.max() == 255


def test_sixteen_bits_can_be_stretched() -> None:
    twelve_bits = np.linspace(100, 4095, 24 * 32).round().astype(np.uint16).reshape(24, 32)
    data = media.encode(twelve_bits, ".png")
    assert decoded(data).max() == 16
    stretched = decoded(data, DecodeOptions(depth=DepthOptions(Depth.MIN_MAX)))
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert np.all(np.diff(stretched[:, :, 0].reshape(-1).astype(int)) >= 0)


def test_a_flat_sixteen_bit_image_can_be_stretched() -> None:
    flat = np.full((8, 8), 1234, np.uint16)
    assert decoded(media.encode(flat, ".png"), DecodeOptions(depth=DepthOptions(Depth.MIN_MAX))).max() == 0


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_once(extension: str, orientation: int) -> None:
    upright = media.quarters()
    stored = _stored(upright, orientation)
    data = media.with_exif(media.encode(stored, extension), extension, media.exif_block(orientation))
    result = decoded(data)
    assert result.shape == upright.shape
    assert np.abs(result.astype(int) - upright).mean() < 5


def _stored(upright: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """What a camera stores, by the words of EXIF: where row 0 and column 0 of the stored picture are seen."""
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]


def test_the_orientation_of_a_sixteen_bit_big_endian_tiff_is_applied_once() -> None:
    rows = np.array([[1000, 20000], [40000, 60000], [0, 65535]], ">u2")
    tags = {
        256: (3, struct.pack(">H", 2)),
        257: (3, struct.pack(">H", 3)),
        258: (3, struct.pack(">H", 16)),
        259: (3, struct.pack(">H", 1)),
        262: (3, struct.pack(">H", 1)),
        273: (4, struct.pack(">I", 0)),
        274: (3, struct.pack(">H", 6)),
        277: (3, struct.pack(">H", 1)),
        279: (4, struct.pack(">I", rows.nbytes)),
    }
    at = len(media.tiff_block(tags, order=">"))
    data = media.tiff_block({**tags, 273: (4, struct.pack(">I", at))}, order=">") + rows.tobytes()
    expected = np.round(np.rot90(rows.astype(float), -1) / 257)
    assert np.array_equal(decoded(data)[:, :, 0], expected)


def test_palette_and_bilevel_png() -> None:
    palette = media.png_chunk(b"PLTE", bytes([*media.RED, *media.GREEN, *media.BLUE]))
    image = decoded(media.png_file(2, 2, 8, 3, b"\0\0\1\0\2\2", palette))
    assert image.tolist() == [[list(media.RED), list(media.GREEN)], [list(media.BLUE), list(media.BLUE)]]
    assert decoded(media.png_file(8, 1, 1, 0, b"\0\x0f"))[0, :, 0].tolist() == [0] * 4 + [255] * 4


def test_adobe_cmyk_jpeg() -> None:
    assert np.abs(decoded(media.cmyk_jpeg(0, 255, 255, 0)).astype(int) - media.RED).max() <= 3
    assert decoded(media.cmyk_jpeg(0, 0, 0, 255)).max() <= 3
    assert decoded(media.cmyk_jpeg(0, 0, 0, 0)).min() >= 252


def test_progressive_jpeg_and_jpeg_with_restarts() -> None:
    for parameters in ((cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)):
        data = media.encode(media.noise(), ".jpg", parameters)
        assert np.abs(decoded(data).astype(int) - media.noise()).mean() < 10


def test_a_jpeg_may_be_followed_by_something_else() -> None:
    data = media.encode(media.noise(), ".jpg")
    assert np.array_equal(decoded(data + b"a film" + data[: len(data) // 2]), decoded(data))


def test_the_first_picture_of_several_is_taken() -> None:
    first, second = media.quarters(), media.noise(32, 48)
    pages = [image[:, :, ::-1].copy() for image in (first, second)]
    assert np.array_equal(decoded(cv2.imencodemulti(".tiff", pages)[1].tobytes()), first)
    animation = cv2.Animation()
    opaque = np.full(first.shape[:2], 255, np.uint8)
    animation.frames = [np.dstack([page, opaque]) for page in pages]
    animation.durations = [100, 100]
    for extension in (".webp", ".png"):
        data = cv2.imencodeanimation(extension, animation)[1].tobytes()
        assert np.abs(decoded(data).astype(int) - first).mean() < 10


def test_the_time_of_exposure_is_read() -> None:
    block = media.exif_block(date="2024:02:03 04:05:06", offset="+02:00", subsec="250")
    for extension in (".jpg", ".png", ".webp", ".tiff"):
        data = media.with_exif(media.encode(media.quarters(), extension), extension, block)
        expected = datetime(2024, 2, 3, 2, 5, 6, 250_000, tzinfo=timezone.utc)
        assert decode(data, DecodeOptions()).taken_at == expected


@pytest.mark.parametrize("extension", media.EXTENSIONS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_files_that_are_cut_short_are_refused(extension: str, share: float) -> None:
    data = media.encode(media.noise(120, 160), extension)
    with pytest.raises(DecodeError):
        decode(data[: int(len(data) * share)], DecodeOptions())


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tiff"])
def test_files_whose_end_was_never_written_are_refused(extension: str) -> None:
    data = media.encode(media.noise(120, 160, seed=1), extension)
    half = len(data) // 2
    with pytest.raises(DecodeError):
        decode(data[:half] + bytes(len(data) - half), DecodeOptions())


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"hello, I am no picture", b"GIF89a" + bytes(50), bytes(1000)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data, DecodeOptions())


def test_a_png_with_a_changed_byte_is_refused() -> None:
    data = bytearray(media.encode(media.noise(), ".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DecodeError, match="checksum"):
        decode(bytes(data), DecodeOptions())


def test_images_over_the_pixel_limit_are_refused() -> None:
    for extension in media.EXTENSIONS:
        data = media.encode(media.noise(24, 32), extension)
        decode(data, DecodeOptions(max_pixels=24 * 32))
        with pytest.raises(DecodeError, match="max_pixels"):
            decode(data, DecodeOptions(max_pixels=24 * 32 - 1))


def test_an_honest_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = media.png_file(20_000, 20_000, 1, 0, bytes(20_000 * 2_501))
    assert len(bomb) < 100_000
    with pytest.raises(DecodeError, match="max_pixels"):
        decode(bomb, DecodeOptions())


def test_a_png_that_promises_more_than_it_can_hold_is_refused() -> None:
    with pytest.raises(DecodeError, match="cannot hold"):
        decode(media.png_file(9_999, 9_999, 8, 2, bytes(1000)), DecodeOptions())


def test_a_tiff_that_promises_more_than_it_holds_is_refused() -> None:
    data = bytearray(media.encode(media.noise(), ".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 1)))
    at = data.index(struct.pack("<HHIHH", 257, 3, 1, 24, 0))
    data[at : at + 12] = struct.pack("<HHII", 257, 4, 1, 9_999)
    with pytest.raises(DecodeError, match="cannot hold"):
        decode(bytes(data), DecodeOptions())


def test_a_tiff_with_giant_tiles_is_refused() -> None:
    tags = {
        256: (3, struct.pack("<H", 16)),
        257: (3, struct.pack("<H", 16)),
        258: (3, struct.pack("<H", 8)),
        259: (3, struct.pack("<H", 8)),
        262: (3, struct.pack("<H", 1)),
        277: (3, struct.pack("<H", 1)),
        322: (4, struct.pack("<I", 1 << 19)),
        323: (4, struct.pack("<I", 1 << 11)),
        324: (4, struct.pack("<I", 8)),
        325: (4, struct.pack("<I", 16)),
    }
    with pytest.raises(DecodeError, match="max_pixels"):
        decode(media.tiff_block(tags), DecodeOptions())


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_tiffs_of_other_depths_are_refused(kind: type[np.generic], shape: tuple[int, ...]) -> None:
    data = cv2.imencode(".tiff", np.ones(shape, kind))[1].tobytes()
    with pytest.raises(DecodeError, match=r"8 or 16 bits|OpenCV cannot decode|no full range"):
        decode(data, DecodeOptions())


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = media.encode(media.noise(), ".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    at = data.rindex(b"\xff\xda")
    with pytest.raises(DecodeError, match="scans"):
        decode(data[:at] + data[at:-2] * 1000 + b"\xff\xd9", DecodeOptions())


def test_messages_fit_one_line() -> None:
    with pytest.raises(DecodeError) as raised:
        decode(media.png_file(4, 4, 8, 2, b"\7" * 100), DecodeOptions())
    assert "\n" not in str(raised.value)


def photograph(seed: int = 0) -> bytes:
    """A JPEG that is smooth, as photographs are, so that rows which are made up are not taken for real."""
    dice = np.random.default_rng(seed)
    image = cv2.resize(dice.integers(0, 255, (12, 16, 3), np.uint8), (333, 250), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image)[1].tobytes()


@pytest.mark.parametrize("tail", [b"", b"\0\0\0", b"CAMERA01", b"\xff\xe1\x00\x10abc", b"\xff", b"\xff\xff\xd8"])
@pytest.mark.parametrize("seed", range(4))
def test_a_jpeg_whose_only_fault_is_the_missing_end_marker_is_an_image(seed: int, tail: bytes) -> None:
    whole = photograph(seed)
    assert whole.endswith(b"\xff\xd9")
    wanted = decode(whole, DecodeOptions()).image
    np.testing.assert_array_equal(decode(whole[:-2] + tail, DecodeOptions()).image, wanted)


@pytest.mark.parametrize("seed", range(4))
def test_a_jpeg_without_its_last_rows_is_not(seed: int) -> None:
    whole = photograph(seed)
    start = whole.index(b"\xff\xda")
    for end in np.linspace(start + 20, len(whole) - 24, 20).astype(int):
        with pytest.raises(UnfinishedImage, match="cut short"):
            decode(whole[:end], DecodeOptions())
    for end in np.linspace(start + 20, len(whole) - 200, 20).astype(int):
        with pytest.raises(DecodeError, match="cut short"):  # eight bytes cannot stand for so much
            decode(whole[:end] + b"CAMERA01", DecodeOptions())


def test_a_progressive_jpeg_without_its_end_marker_may_lack_whole_scans() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    whole = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    with pytest.raises(UnfinishedImage):
        decode(whole[:-2], DecodeOptions())


@pytest.mark.parametrize("data", [b"", bytes(100), bytes(100_000)])
def test_what_is_not_written_yet_is_unfinished(data: bytes) -> None:
    with pytest.raises(UnfinishedImage):
        decode(data, DecodeOptions())


def counts(dark: int, bright: int, kind: type[np.generic] = np.uint16) -> npt.NDArray[np.generic]:
    return np.linspace(dark, bright, 64 * 64).reshape(64, 64).astype(kind)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize(
    ("options", "darkest", "brightest"),
    [
        (DepthOptions(Depth.MIN_MAX), 0, 255),
        (DepthOptions(Depth.PERCENTILES), 0, 255),
        (DepthOptions(Depth.FIXED, (7000, 9000)), 0, 255),
        (DepthOptions(Depth.FIXED, (6000, 10_000)), 64, 191),
        (DepthOptions(Depth.FIXED, (7500, 8500)), 0, 255),
    ],
)
def test_a_narrow_range_is_stretched(
    kind: type[np.generic], options: DepthOptions, darkest: int, brightest: int
) -> None:
    data = cv2.imencode(".tiff", counts(7000, 9000, kind))[1].tobytes()
    image = decoded(data, DecodeOptions(depth=options))
    assert (int(image.min()), int(image.max())) == (darkest, brightest)
    assert (np.diff(image[:, 0, 0].astype(int)) >= 0).all()


def test_hot_pixels_do_not_spoil_percentiles() -> None:
    thermal = counts(7000, 9000)
    thermal[3, 3], thermal[5, 5] = 65535, 0
    data = cv2.imencode(".tiff", thermal)[1].tobytes()
    robust = decoded(data, DecodeOptions(depth=DepthOptions(Depth.PERCENTILES)))
    spoilt = decoded(data, DecodeOptions(depth=DepthOptions(Depth.MIN_MAX)))
    assert np.ptp(robust[40]) > 2
    assert np.ptp(spoilt[10:]) < 10


def test_what_is_not_a_number_is_dark() -> None:
    real = counts(0, 100, np.float32)
    real[0, 0], real[0, 1], real[0, 2] = np.nan, np.inf, -np.inf
    data = cv2.imencode(".tiff", real)[1].tobytes()
    image = decoded(data, DecodeOptions(depth=DepthOptions(Depth.FIXED, (0, 100))))
    assert image[0, :3, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    "wrong", [(Depth.FIXED, None), (Depth.FIXED, (2.0, 1.0)), (Depth.MIN_MAX, (1.0, 2.0)), (Depth.FIXED, (1.0, 1.0))]
)
def test_senseless_depths_are_refused(wrong: tuple[Depth, tuple[float, float] | None]) -> None:
    with pytest.raises(ValueError, match="expected two counts"):
        DepthOptions(*wrong)


def test_the_share_of_the_range_is_told() -> None:
    narrow = decode(cv2.imencode(".png", counts(7000, 9000))[1].tobytes(), DecodeOptions())
    assert 0.03 < narrow.used_range < 0.031
    assert decode(media.encode(media.noise(), ".png"), DecodeOptions()).used_range == 1.0


BERLIN, TOKYO = zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Asia/Tokyo")


def gps_block(date: str, time: tuple[int, int, int], local: str = "2024:07:01 12:00:00") -> bytes:
    """EXIF with a GPS directory behind it; little-endian."""
    block = bytearray(media.exif_block(date=local))
    at = len(block)
    values = at + 2 + 2 * 12 + 4
    block += struct.pack("<H", 2)
    block += struct.pack("<HHII", 7, 5, 3, values) + struct.pack("<HHII", 0x1D, 2, 11, values + 24)
    block += struct.pack("<I", 0)
    for number in time:
        block += struct.pack("<II", number, 1)
    block += date.encode() + b"\0"
    (directory,) = struct.unpack_from("<I", block, 4)
    (entries,) = struct.unpack_from("<H", block, directory)
    end = directory + 2 + 12 * entries
    moved = block[directory + 2 : end] + struct.pack("<HHII", 0x8825, 4, 1, at)
    table = len(block)
    block += struct.pack("<H", entries + 1) + moved + struct.pack("<I", 0)
    struct.pack_into("<I", block, 4, table)
    return bytes(block)


@pytest.mark.parametrize(
    ("block", "zone", "clock", "hour"),
    [
        (gps_block("2024:07:01", (9, 30, 0)), TOKYO, "gps", 9),
        (media.exif_block(date="2024:07:01 12:00:00", offset="+05:00"), TOKYO, "exif", 7),
        (media.exif_block(date="2024:07:01 12:00:00"), BERLIN, "exif-local", 10),
        (media.exif_block(date="2024:01:01 12:00:00"), BERLIN, "exif-local", 11),
        (media.exif_block(date="2024:07:01 12:00:00"), TOKYO, "exif-local", 3),
    ],
)
def test_which_clock_said_when(block: bytes, zone: zoneinfo.ZoneInfo, clock: str, hour: int) -> None:
    data = media.with_exif(media.encode(media.noise(), ".jpg"), ".jpg", block)
    result = decode(data, DecodeOptions(time_zone=zone))
    assert result.taken_at is not None
    assert (result.clock, result.taken_at.hour, result.taken_at.utcoffset()) == (clock, hour, timedelta(0))


def test_without_exif_the_file_says_when() -> None:
    result = decode(media.encode(media.noise(), ".jpg"), DecodeOptions(time_zone=BERLIN))
    assert (result.taken_at, result.clock) == (None, "file")


def test_by_default_the_devices_zone_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        block = media.exif_block(date="2024:07:01 12:00:00")
        result = decode(media.with_exif(media.encode(media.noise(), ".jpg"), ".jpg", block), DecodeOptions())
        assert result.taken_at == datetime(2024, 7, 1, 3, tzinfo=timezone.utc)
    finally:
        monkeypatch.undo()
        time.tzset()


def smooth(height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image in which neighbours are alike, so that sizes can be compared; another colour at each corner."""
    corners = np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250, 250, 250]]], np.uint8)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@pytest.mark.parametrize(("min_side", "reduction"), [(0, 1), (402, 1), (401, 2), (201, 2), (200, 4), (100, 8), (1, 8)])
def test_a_large_jpeg_is_decoded_smaller_as_long_as_both_sides_keep_enough(min_side: int, reduction: int) -> None:
    image = smooth(803, 1001)
    found = decode(media.encode(image, ".jpg"), DecodeOptions(min_side=min_side))
    height, width = -(-803 // reduction), -(-1001 // reduction)
    assert found.image.shape == (height, width, 3)
    assert found.size == (1001, 803)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(found.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_decoded_smaller_is_upright_and_so_is_its_size(orientation: int) -> None:
    upright = smooth(300, 500)
    data = media.with_exif(media.encode(_stored(upright, orientation), ".jpg"), ".jpg", media.exif_block(orientation))
    found = decode(data, DecodeOptions(min_side=100))
    assert found.image.shape == (150, 250, 3)
    assert found.size == (500, 300)
    expected = cv2.resize(upright, (250, 150), interpolation=cv2.INTER_AREA)
    assert np.abs(found.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("extension", [".png", ".tiff", ".bmp", ".webp"])
def test_other_formats_are_decoded_whole(extension: str) -> None:
    found = decode(media.encode(smooth(300, 500), extension), DecodeOptions(min_side=10))
    assert (found.image.shape, found.size) == ((300, 500, 3), (500, 300))


def test_grey_and_cmyk_jpegs_are_decoded_smaller_too() -> None:
    grey = decode(media.encode(smooth(300, 500)[:, :, 0], ".jpg"), DecodeOptions(min_side=100))
    assert grey.image.shape == (150, 250, 3)
    cyan = decode(media.cmyk_jpeg(200, 10, 10, 10), DecodeOptions(min_side=1))
    assert (
        np.abs(cyan.image.astype(int) - decode(media.cmyk_jpeg(200, 10, 10, 10), DecodeOptions()).image[0, 0]).max() < 4
    )


def test_a_jpeg_without_end_is_judged_in_whole_whatever_its_size() -> None:
    whole = media.encode(smooth(300, 500), ".jpg")
    found = decode(whole[:-2], DecodeOptions(min_side=100))
    assert found.size == (500, 300)
    with pytest.raises(UnfinishedImage):
        decode(whole[: len(whole) // 2], DecodeOptions(min_side=100))
