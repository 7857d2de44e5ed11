"""A JPEG that fits, for uploads and for snapshots."""

from __future__ import annotations

import base64
import json

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.images.jpeg import MIN_SIDE, JpegError, picture_of
from sam3edge.segmenter.status import SNAPSHOT_SIDE, snapshot_of
from support.samples import frame, red_square

NOISE = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), dtype=np.uint8)  # makes the largest JPEG


def decoded(jpeg: bytes) -> npt.NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image[..., ::-1], np.uint8)


def test_what_fits_keeps_its_size_and_its_colours() -> None:
    image = picture_of(frame(red_square()), 2016, 1 << 20)
    assert (image.width, image.height) == (320, 240)
    assert decoded(image.jpeg)[110, 130].tolist() == pytest.approx([255, 0, 0], abs=8)


@pytest.mark.parametrize("limit", [1_000_000, 100_000, 20_000, 5_000])
def test_it_is_made_smaller_until_it_fits_and_not_much_smaller(limit: int) -> None:
    image = picture_of(frame(NOISE), 2016, limit)
    assert limit / 3 < len(image.jpeg) <= limit
    assert decoded(image.jpeg).shape == (image.height, image.width, 3)
    assert image.width / image.height == pytest.approx(4 / 3, rel=0.02)


def test_a_lower_quality_takes_fewer_bytes() -> None:
    assert len(picture_of(frame(NOISE), 600, 1 << 20, 80).jpeg) < len(picture_of(frame(NOISE), 600, 1 << 20, 90).jpeg)


def test_the_smallest_size_is_tried_before_giving_up() -> None:
    smallest = len(picture_of(frame(NOISE), MIN_SIDE, 1 << 20).jpeg)
    assert picture_of(frame(NOISE), 2016, smallest).width == MIN_SIDE
    with pytest.raises(JpegError):
        picture_of(frame(NOISE), 2016, smallest - 1)


@pytest.mark.parametrize("limit", [300, 0, -5000])
def test_what_fits_nowhere_is_an_error(limit: int) -> None:
    with pytest.raises(JpegError, match=f"a.png does not fit into {limit} bytes"):
        picture_of(frame(NOISE), 2016, limit)


@pytest.mark.parametrize("limit", [131_072, 7_000, 2_500])
def test_a_snapshot_fits_into_one_message(limit: int) -> None:
    message = snapshot_of(frame(NOISE), "line-7", "t/snapshots", "c1", limit)
    assert limit / 3 < len(message.payload) <= limit
    body = json.loads(message.payload)
    assert decoded(base64.b64decode(body["image"])).shape == (body["height"], body["width"], 3)
    assert MIN_SIDE <= body["width"] <= SNAPSHOT_SIDE
    assert (body["request"], body["frame"]["name"]) == ("c1", "a.png")


def test_a_snapshot_is_no_larger_than_the_frame_and_never_needlessly_large() -> None:
    small = json.loads(snapshot_of(frame(red_square()), "d", "t", "c1", 131_072).payload)
    assert (small["width"], small["height"]) == (320, 240)
    large = frame(np.zeros((3000, 4000, 3), np.uint8))
    assert json.loads(snapshot_of(large, "d", "t", "c1", 1 << 20).payload)["width"] == SNAPSHOT_SIDE


@pytest.mark.parametrize("limit", [1_000, 100])
def test_a_snapshot_that_fits_nowhere_says_what_to_do(limit: int) -> None:
    with pytest.raises(SettingsError, match=f"no snapshot fits into {limit} bytes: .*; raise MaxPayloadBytes"):
        snapshot_of(frame(NOISE), "line-7", "t/snapshots", "c1", limit)
