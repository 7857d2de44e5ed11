"""Whatever the bytes: an image or a DecodeError, soon."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam3edge.images.decoding import DecodeError, DecodeOptions, decode
from support import media

OPTIONS = DecodeOptions(max_pixels=1_000_000)
FUZZ = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def _seeds() -> dict[str, bytes]:
    image = media.noise(20, 28)
    seeds = {extension: media.encode(image, extension) for extension in media.EXTENSIONS}
    block = media.exif_block(6, "2024:02:03 04:05:06", "+02:00", "250")
    for extension in (".jpg", ".png", ".webp", ".tiff"):
        seeds[f"exif {extension}"] = media.with_exif(seeds[extension], extension, block)
    seeds["progressive"] = media.encode(image, ".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    seeds["lossy webp"] = media.encode(image, ".webp", (cv2.IMWRITE_WEBP_QUALITY, 60))
    seeds["16 bit png"] = media.encode(image.astype(np.uint16) * 200, ".png")
    seeds["16 bit tiff"] = media.encode(image.astype(np.uint16) * 200, ".tiff")
    seeds["plain tiff"] = media.encode(image, ".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 1))
    seeds["cmyk"] = media.cmyk_jpeg(10, 20, 30, 40)
    return seeds


SEEDS = _seeds()


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    data = bytearray(seed)
    head = min(len(data), 200)
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        limit = draw(st.sampled_from((head, len(data)))) if len(data) >= head else len(data)
        at = draw(st.integers(0, limit - 1))
        match draw(st.sampled_from(("set", "set", "set", "cut", "insert", "remove", "repeat"))):
            case "set":
                data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFE, 0xFF)) | st.integers(0, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12))
            case "remove":
                del data[at : at + draw(st.integers(1, 12))]
            case "repeat":
                data[at:at] = data[at : at + 40]
    return bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_give_an_image_or_an_error(name: str) -> None:
    @FUZZ
    @given(data=mutated(SEEDS[name]))
    def check(data: bytes) -> None:
        with contextlib.suppress(DecodeError):
            image = decode(data, OPTIONS).image
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
            assert image.shape[0] * image.shape[1] <= OPTIONS.max_pixels

    check()


@FUZZ
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", *(seed[:12] for seed in SEEDS.values())]))
def test_random_bytes_give_an_image_or_an_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode(start + data, OPTIONS)
