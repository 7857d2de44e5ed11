"""The bands of a raster: which of them are looked at, and what their numbers become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3edge.images.depth import Depth, DepthOptions

_RGB = ("red", "green", "blue")
_COUNTS = (np.uint8, np.uint16)


def visible_bands(meanings: Sequence[str]) -> list[int]:
    """Which bands are red, green and blue, counted from 1: those that the file calls so, else the first three; one band
    where there are fewer.

    Args:
        meanings: what the file says of each band, by the names of GDAL's colour interpretations in lower case.
    """
    if all(color in meanings for color in _RGB):
        return [meanings.index(color) + 1 for color in _RGB]
    return [1, 2, 3] if len(meanings) >= 3 else [1]


def scalable(bands: npt.NDArray[Any], depth: DepthOptions) -> tuple[npt.NDArray[Any], DepthOptions]:
    """Bands of any whole or floating point numbers, and how they become 8 bits, as ``depth.to_eight_bits`` takes both.

    Values of 8 and 16 bits without sign stay as they are. Others become float32 and, since they have no full range that
    sensors would use, are stretched between percentiles where their full range is asked for.
    """
    if bands.dtype in _COUNTS:
        return bands, depth
    if depth.depth is Depth.FULL_RANGE:
        depth = replace(depth, depth=Depth.PERCENTILES)
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is not counted
        return bands.astype(np.float32), depth


def colored(indices: npt.NDArray[np.uint8], colors: Mapping[int, tuple[int, int, int, int]]) -> npt.NDArray[np.uint8]:
    """The colours of a palette.

    Args:
        indices: uint8 [h, w].
        colors: red, green, blue and alpha of each index.

    Returns:
        uint8 [3, h, w].
    """
    table = np.zeros((256, 3), np.uint8)
    for index, color in colors.items():
        if index < len(table):
            table[index] = color[:3]
    return np.ascontiguousarray(table[indices].transpose(2, 0, 1))
