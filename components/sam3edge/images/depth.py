"""From the counts of a sensor to eight bits."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

PERCENTILES = (1.0, 99.0)

NARROW = 0.1
"""An image that uses less than this share of the full range is as good as uniform when it is divided by 257."""


class Depth(enum.Enum):
    """Which counts become black and white where an image has more than eight bits.

    ``FULL_RANGE``: 0 and 65535, so that two images of the same scene stay comparable, which is what a camera's user
    expects. ``MIN_MAX``: the darkest and the brightest value of each image. ``PERCENTILES``: the 1st and the 99th
    percentile of each image, or others (``DepthOptions.percentiles``), so that a few hot pixels do not matter.
    ``FIXED``: counts that are given, which keeps images of a thermal camera comparable that uses 7,000 to 9,000 of
    65,536.
    """

    FULL_RANGE = "full-range"
    MIN_MAX = "min-max"
    PERCENTILES = "percentiles"
    FIXED = "fixed"


class DepthError(ValueError):
    """These values have no such range; the text says what to do."""


@dataclass(frozen=True, slots=True)
class DepthOptions:
    """How more than eight bits become eight.

    Attributes:
        depth: which counts become black and white.
        fixed: them, the lower first, for ``Depth.FIXED``.
        percentiles: which ones ``Depth.PERCENTILES`` takes, the lower first.
    """

    depth: Depth = Depth.FULL_RANGE
    fixed: tuple[float, float] | None = None
    percentiles: tuple[float, float] = PERCENTILES

    def __post_init__(self) -> None:
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"expected two percentiles within 0..100, the lower first, got {self.percentiles}")
        if (self.depth is Depth.FIXED) != (self.fixed is not None):
            raise ValueError("expected two counts with Depth fixed, and only then")
        if self.fixed is not None and not self.fixed[0] < self.fixed[1]:
            raise ValueError(f"expected two counts, the lower first, got {self.fixed}")


def to_eight_bits(
    values: npt.NDArray[np.generic], options: DepthOptions, valid: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.uint8]:
    """Scale counts linearly to 0..255; what is not a number becomes 0.

    Args:
        values: uint8, uint16 or float32, of two or three dimensions. uint8 stays as it is.
        valid: bool, which of the values count; of the shape of ``values``, or of its last two dimensions.

    Raises:
        DepthError: another type, or floating point numbers, which have no full range, without another ``Depth``.
    """
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    if values.dtype == np.uint16:
        wide = values.view(np.uint16)
        if options.depth is Depth.FULL_RANGE:
            rows = wide.reshape(-1, wide.shape[-1])
            return cv2.convertScaleAbs(rows, alpha=1 / 257).view(np.uint8).reshape(wide.shape)
        dark, bright = bounds_of(wide.astype(np.float32), options, valid)
        table = _scaled(np.arange(65536, dtype=np.float32), dark, bright)
        return np.take(table, wide)
    if values.dtype != np.float32:
        raise DepthError(f"expected values of 8 or 16 bits, or float32, got {values.dtype}")
    if options.depth is Depth.FULL_RANGE:
        raise DepthError(
            "expected whole counts, got float32, which has no full range; set Depth to percentiles, min-max or fixed"
        )
    real = values.view(np.float32)
    dark, bright = bounds_of(real, options, valid)
    return _scaled(np.nan_to_num(real, nan=dark, posinf=bright, neginf=dark), dark, bright)


def used_range(values: npt.NDArray[np.generic]) -> float:
    """The share of the full range that 16-bit values use, 0..1; 1 for all others."""
    if values.dtype != np.uint16 or not values.size:
        return 1.0
    wide = values.view(np.uint16)
    return float(int(wide.max()) - int(wide.min())) / 65535


def bounds_of(
    values: npt.NDArray[np.float32], options: DepthOptions, valid: npt.NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """The values that become black and white; equal where there is nothing to tell.

    Args:
        values: float32, of two or three dimensions.
        options: another depth than ``Depth.FULL_RANGE``.
        valid: as for ``to_eight_bits``.
    """
    if options.fixed is not None:
        return options.fixed
    counted = values.ravel() if valid is None else values[..., valid].ravel()
    counted = counted[np.isfinite(counted)]
    if not counted.size:
        return 0.0, 0.0
    if options.depth is Depth.MIN_MAX:
        return float(counted.min()), float(counted.max())
    sample = counted[:: max(1, counted.size // 1_000_000)]  # a million tell as much as all
    dark, bright = np.percentile(sample, options.percentiles)
    return float(dark), float(bright)


def _scaled(values: npt.NDArray[np.float32], dark: float, bright: float) -> npt.NDArray[np.uint8]:
    gain = 255 / (bright - dark) if bright > dark else 0.0
    scaled: npt.NDArray[np.uint8] = np.rint(np.clip((values - dark) * gain, 0, 255)).astype(np.uint8)
    return scaled
