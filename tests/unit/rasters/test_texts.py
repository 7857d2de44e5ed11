"""Prompts and options as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Prompt
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge.rasters import texts
from sam3edge.rasters.options import ObjectSize, RasterPrompt


def test_prompts_may_say_metres() -> None:
    assert texts.read_prompts(" car,  large   building@0.5, car, car@2", 0.4) == (
        RasterPrompt(Prompt("car", 0.4)),
        RasterPrompt(Prompt("large building", 0.4), 0.5),
        RasterPrompt(Prompt("car", 0.4), 2.0),
    )


def test_sizes_stretches_and_numbers() -> None:
    assert texts.read_size("120m") == ObjectSize(120, "m")
    assert texts.read_size("0.5px") == ObjectSize(0.5, "px")
    assert texts.read_depth("min-max") == DepthOptions(Depth.MIN_MAX)
    assert texts.read_depth("percentiles:2,98") == DepthOptions(Depth.PERCENTILES, percentiles=(2, 98))
    assert texts.read_depth("200,4000") == DepthOptions(Depth.FIXED, (200, 4000))
    assert texts.read_bands("4,3,2") == (4, 3, 2)
    assert texts.read_values("0") == (0,)
    assert texts.read_extent("0,0,10.5,20") == (0, 0, 10.5, 20)


def prompts(text: str) -> tuple[RasterPrompt, ...]:
    return texts.read_prompts(text, 0.5)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((prompts, text) for text in ("", "car,", "@0.5", "car@", "car@x", "car@0", "car@-1", "car@nan", "car@inf")),
        *((texts.read_size, text) for text in ("", "12", "m", "12km", "-3m", "nanpx")),
        *((texts.read_depth, text) for text in ("", "fixed", "4000,200", "1,2,3", "percentiles:98,2", "min-max:1,2")),
        *((texts.read_bands, text) for text in ("", "1,2", "a")),
        *((texts.read_extent, text) for text in ("1,2,3", "a,b,c,d")),
    ],
)
def test_others_are_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        read(text)
