"""What is looked for in a raster, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sam3edge.core.errors import SettingsError
from sam3edge.core.polygons import TOLERANCE
from sam3edge.core.types import Box, Prompt
from sam3edge.geo.raster import RasterOptions
from sam3edge.images.depth import DepthOptions

TILE = 1008
"""Pixels: the side of SAM 3's input."""

TILES = (64, 4096)
"""Pixels: of how many a side may be. Several tiles are in memory at once, and as numbers of 32 bits."""

MAX_PIXELS = 20_000_000_000
"""140,000 x 140,000; at a pixel of 0.3 m that is a square of 42 km."""


@dataclass(frozen=True, slots=True)
class RasterPrompt:
    """What to look for in a raster, and at which size of a pixel.

    Attributes:
        prompt: what; without exemplars. ``min_area`` is in pixels of the raster, of the whole object.
        metres: of a pixel on the ground, at which to look; None for the raster's own pixels.
    """

    prompt: Prompt
    metres: float | None = None

    def __post_init__(self) -> None:
        if self.prompt.exemplars:
            raise SettingsError(f"expected a phrase, {self.prompt.text!r} has exemplars, which are in one image only")
        if self.metres is not None and not 0 < self.metres < math.inf:
            raise SettingsError(f"expected metres a pixel above 0, got {self.metres}")


@dataclass(frozen=True, slots=True)
class ObjectSize:
    """How large objects are, from one side to the other.

    Attributes:
        value: above 0.
        unit: metres, or pixels of the raster.
    """

    value: float
    unit: Literal["m", "px"]

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise SettingsError(f"expected a size above 0, got {self}")

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a raster becomes a picture.

    Attributes:
        bands: which are looked at, counted from 1: three as red, green and blue, or one as grey; empty for those that
            the file calls so, else the first three.
        depth: which counts become black and white; None for those of 8 bits as they are, and all others from the 1st to
            the 99th percentile. It is found once, over the whole raster.
        jointly: whether all bands have the same black and white, which keeps their ratios, or each its own.
        place: where the raster is, as far as it does not say so itself.
        mask: a raster that says which pixels count: on the Earth where it says where it is, else stretched over the
            raster; None for all with data.
        mask_values: of the mask, where pixels count; empty for all but 0.
        virtual: GDAL's virtual file systems that rasters may be in, by the start of their names, such as ``/vsis3/``;
            none by default, for they reach other computers.
        max_pixels: rasters with more pixels are refused by their header.
    """

    bands: tuple[int, ...] = ()
    depth: DepthOptions | None = None
    jointly: bool = False
    place: RasterOptions = field(default_factory=RasterOptions)
    mask: str | Path | None = None
    mask_values: tuple[int, ...] = ()
    virtual: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if len(self.bands) not in (0, 1, 3) or any(band < 1 for band in self.bands):
            raise SettingsError(f"expected one band or three, counted from 1, got {', '.join(map(str, self.bands))}")


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How a raster is segmented.

    Attributes:
        reading: how it becomes a picture.
        tile: side of a tile in pixels at which is looked, within ``TILES``; the model's input.
        largest: how large objects may be that are seen whole in some tile, as far as half a tile goes; larger ones are
            put together from parts. None for a quarter of a tile.
        tolerance, nms_iou: as in ``DetectionOptions``, in pixels at which is looked.
        extent: x0, y0, x1, y1 in pixels of the raster: the part that counts; None for all of it.
    """

    reading: ReadOptions = field(default_factory=ReadOptions)
    tile: int = TILE
    largest: ObjectSize | None = None
    tolerance: float = TOLERANCE
    nms_iou: float | None = 0.5
    extent: Box | None = None

    def __post_init__(self) -> None:
        if not TILES[0] <= self.tile <= TILES[1]:
            raise SettingsError(f"expected tiles of {TILES[0]} to {TILES[1]} pixels a side, got {self.tile}")
        if self.extent is not None and not (self.extent[0] < self.extent[2] and self.extent[1] < self.extent[3]):
            raise SettingsError(f"expected an extent x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {self.extent}")
