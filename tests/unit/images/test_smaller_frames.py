"""A frame whose pixels are fewer than its size: every coordinate is of the frame, wherever it goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.types import Box, Exemplar, Frame, PointPrompt, Prompt, VisualPrompt
from sam3edge.engines.fake import FakeEngine, FakeInteractiveSegmenter
from sam3edge.images.decoding import DecodeOptions, decode
from sam3edge.images.jpeg import picture_of
from sam3edge.invocations.response import read_response
from support.samples import frame, red_square

WHOLE = frame(np.repeat(np.repeat(red_square(100, 80, 60), 4, 0), 4, 1))
SMALLER = replace(WHOLE, image=red_square(100, 80, 60), size=(WHOLE.width, WHOLE.height))
BOX = (400.0, 320.0, 640.0, 560.0)


def only_box(seen: Frame, prompt: Prompt) -> Box:
    [found] = detect(FakeEngine(), seen, DetectionOptions((prompt,))).detections
    return found.box


def test_both_are_of_the_same_size() -> None:
    assert (SMALLER.width, SMALLER.height) == (WHOLE.width, WHOLE.height) == (1280, 960)


def test_what_is_found_in_fewer_pixels_is_where_it_is_in_the_frame() -> None:
    assert only_box(SMALLER, Prompt("red")) == pytest.approx(only_box(WHOLE, Prompt("red")), abs=4)
    assert only_box(SMALLER, Prompt("red")) == pytest.approx(BOX, abs=4)


def test_exemplars_and_clicks_are_given_in_pixels_of_the_frame() -> None:
    shown = Prompt("red", exemplars=(Exemplar(BOX),))
    assert only_box(SMALLER, shown) == pytest.approx(BOX, abs=4)
    [found] = FakeInteractiveSegmenter().predict(SMALLER, [VisualPrompt((PointPrompt(520, 440),))])
    assert found.best[110, 130] > 0
    assert found.best[10, 10] < 0


@pytest.mark.parametrize("longest_side", [4000, 320, 160])
def test_the_cloud_is_sent_the_pixels_there_are_and_its_response_is_of_the_frame(longest_side: int) -> None:
    picture = picture_of(SMALLER, longest_side, 1 << 20)
    assert max(picture.width, picture.height) == min(longest_side, 320)
    small, prompts = frame(decode(picture.jpeg, DecodeOptions()).image), (Prompt("red"),)
    found = detect(FakeEngine(), small, DetectionOptions(prompts))
    [said] = encode(frame_result("endpoint", small, prompts, found), "", 1 << 30, 4.0)
    [read] = read_response(said.payload, SMALLER, picture, prompts).detections
    assert read.box == pytest.approx(BOX, abs=4 * 320 / max(picture.width, picture.height) + 4)
