"""Windows of a raster that are seen at another size, and that may reach beyond the raster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from sam3edge.core.types import Box

_TINY = 1e-6
"""Pixels by which a sum of fractions may be off."""


@dataclass(frozen=True, slots=True)
class _Span:
    """What of a window lies in the raster, along one axis.

    Attributes:
        start, stop: of what is read, in pixels of the raster.
        first, last: the pixels of the view that it becomes: those that lie in the raster as a whole.
        outer_first, outer_last: those that lie there at least in part.
    """

    start: float
    stop: float
    first: int
    last: int
    outer_first: int
    outer_last: int


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """A window of a raster, seen as ``side`` x ``side`` pixels.

    The pixels at the raster's rim that lie in it only in part repeat their neighbours, so that all others are exactly
    where they are.
    """

    side: int
    x: _Span
    y: _Span

    @property
    def window(self) -> Window:
        """What is to be read."""
        return Window(self.x.start, self.y.start, self.x.stop - self.x.start, self.y.stop - self.y.start)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that it becomes."""
        return self.y.last - self.y.first, self.x.last - self.x.first

    def placed(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """[h, w, ...] of ``shape`` within [side, side, ...], which is 0 outside of the raster."""
        x, y = self.x, self.y
        around = [(y.first - y.outer_first, y.outer_last - y.last), (x.first - x.outer_first, x.outer_last - x.last)]
        view = np.zeros((self.side, self.side, *pixels.shape[2:]), pixels.dtype)
        inside = slice(y.outer_first, y.outer_last), slice(x.outer_first, x.outer_last)
        view[inside] = np.pad(pixels, around + [(0, 0)] * (pixels.ndim - 2), mode="edge")
        return view


def seen(window: Box, size: tuple[int, int], side: int) -> SeenWindow | None:
    """A window of a raster, seen as ``side`` x ``side`` pixels; None where it is outside of the raster.

    Args:
        window: x0, y0, x1, y1 in pixels of the raster.
        size: of the raster, pixels.
    """
    x, y = (_span(window[axis], window[axis + 2], size[axis], side) for axis in (0, 1))
    return None if x is None or y is None else SeenWindow(side, x, y)


def _span(low: float, high: float, length: int, side: int) -> _Span | None:
    scale = (high - low) / side
    begin, end = max(0.0, -low / scale), min(float(side), (length - low) / scale)
    if begin + _TINY >= end:
        return None
    outer_first, outer_last = math.floor(begin + _TINY), math.ceil(end - _TINY)
    first, last = math.ceil(begin - _TINY), math.floor(end + _TINY)
    if first >= last:  # there is no pixel that lies in the raster as a whole
        first, last = outer_first, outer_last
    start, stop = max(0.0, low + first * scale), min(float(length), low + last * scale)
    return _Span(start, stop, first, last, outer_first, outer_last)
