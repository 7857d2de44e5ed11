"""Prompts and options of rasters as people write them on a command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from sam3edge.core.errors import SettingsError
from sam3edge.core.phrases import single_spaced
from sam3edge.core.types import Box, Prompt
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge.rasters.options import ObjectSize, RasterPrompt

_Number = TypeVar("_Number", int, float)


def read_prompts(text: str, threshold: float) -> tuple[RasterPrompt, ...]:
    """``car, building@0.5``: cars at the raster's own pixels, and buildings at half a metre a pixel.

    Raises:
        SettingsError: a phrase or a number is missing.
    """
    return tuple(dict.fromkeys(_read_prompt(entry, threshold) for entry in text.split(",")))


def _read_prompt(entry: str, threshold: float) -> RasterPrompt:
    phrase, at, metres = entry.partition("@")
    phrase = single_spaced(phrase)
    if not phrase:
        raise SettingsError(f"expected phrases with commas between them, got {entry.strip()!r}")
    if not at:
        return RasterPrompt(Prompt(phrase, threshold))
    [size] = _numbers(metres, float, "metres a pixel, as in building@0.5", [1])
    return RasterPrompt(Prompt(phrase, threshold), size)


def read_size(text: str) -> ObjectSize:
    """``120m`` or ``300px``; raises SettingsError."""
    units: tuple[Literal["px", "m"], ...] = ("px", "m")
    for unit in units:
        if text.endswith(unit):
            [value] = _numbers(text.removesuffix(unit), float, "a size such as 120m or 300px", [1])
            return ObjectSize(value, unit)
    raise SettingsError(f"expected a size such as 120m or 300px, got {text!r}")


def read_depth(text: str) -> DepthOptions:
    """``percentiles``, ``percentiles:2,98``, ``min-max``, ``full-range``, or the counts that become black and white,
    ``200,4000``; raises SettingsError."""
    expected = "percentiles, percentiles:2,98, min-max, full-range or two counts such as 200,4000"
    try:
        if text in (Depth.PERCENTILES.value, Depth.MIN_MAX.value, Depth.FULL_RANGE.value):
            return DepthOptions(Depth(text))
        kind, colon, numbers = text.rpartition(":")
        low, high = _numbers(numbers, float, expected, [2])
        if colon and kind != Depth.PERCENTILES.value:
            raise SettingsError(f"expected {expected}, got {text!r}")
        if colon:
            return DepthOptions(Depth.PERCENTILES, percentiles=(low, high))
        return DepthOptions(Depth.FIXED, (low, high))
    except ValueError as error:
        raise SettingsError(str(error)) from error


def read_bands(text: str) -> tuple[int, ...]:
    """``4,3,2``; raises SettingsError."""
    return tuple(_numbers(text, int, "one band or three, such as 4,3,2", [1, 3]))


def read_values(text: str) -> tuple[int, ...]:
    """Values of a mask, ``4,5,6``; raises SettingsError."""
    return tuple(_numbers(text, int, "values of the mask, such as 4,5,6", range(1, 65537)))


def read_extent(text: str) -> Box:
    """``x0,y0,x1,y1``; raises SettingsError."""
    x0, y0, x1, y1 = _numbers(text, float, "an extent x0,y0,x1,y1", [4])
    return x0, y0, x1, y1


def _numbers(text: str, kind: Callable[[str], _Number], expected: str, lengths: range | list[int]) -> list[_Number]:
    try:
        numbers = [kind(number) for number in text.split(",")]
    except ValueError as error:
        raise SettingsError(f"expected {expected}, got {text!r}") from error
    if len(numbers) not in lengths:
        raise SettingsError(f"expected {expected}, got {text!r}")
    return numbers
