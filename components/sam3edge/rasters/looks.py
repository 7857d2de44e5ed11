"""Looks: a raster seen at one size of a pixel, by the tiles of one grid.

Where the grid begins does not depend on where the raster does: its origin is that of the reference system, and its
scale has few binary digits. So a part that was cut out of a raster, or another raster of the series, is seen by the
same tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import FrameError
from sam3edge.core.polygons import areas_only, simplify
from sam3edge.core.types import Box
from sam3edge.rasters.grid import Grid, Tile
from sam3edge.rasters.options import RasterPrompt, SegmentOptions

DIGITS = 6
"""Binary digits of a scale: what is asked for is met to 1.6 %."""

FINEST = 1 / 8
"""Pixels of the raster a pixel at which is looked."""

FEWEST = 8
"""Pixels at which is looked, of the longer side."""

DEFAULT_LARGEST = 1 / 4
"""Of a tile's side."""


@dataclass(frozen=True, slots=True)
class Look:
    """One pass over a raster. Its pixels are those at which is looked, counted from the grid's origin.

    Attributes:
        prompts: what is looked for, by number.
        scale: pixels of the raster a pixel, across and down.
        origin: of the grid, in pixels of the raster.
        grid: the tiles.
        bounds: of the raster, in pixels.
        extent: of the part of it that counts, in pixels.
    """

    prompts: tuple[int, ...]
    scale: tuple[float, float]
    origin: tuple[float, float]
    grid: Grid
    bounds: Box
    extent: Box

    @property
    def count(self) -> int:
        """Number of tiles."""
        rows, columns = self.grid.over(self._area)
        return len(rows) * len(columns)

    def tiles(self) -> Iterator[Tile]:
        """Those that show some of the extent, in the order in which they are looked at."""
        return self.grid.tiles(self._area)

    @property
    def _area(self) -> Box:
        """What cores of tiles have to cover: the raster, or the extent and around it what tiles have in common, so that
        all that is in the extent is seen by as many tiles as it is without one."""
        half = self.grid.overlap // 2
        (x0, y0, x1, y1), (left, top, right, bottom) = self.extent, self.bounds
        return max(left, x0 - half), max(top, y0 - half), min(right, x1 + half), min(bottom, y1 + half)

    def in_raster(self, tile: Tile) -> Box:
        """What a tile shows, in pixels of the raster; it may reach beyond it."""
        x0, y0, x1, y1 = self.grid.window(tile)
        (across, down), (left, top) = self.scale, self.origin
        return left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down

    def to_raster(self, outline: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
        """An outline in pixels of the raster, as far as it counts, on the grid of ``core.polygons.GRID``."""
        if self.extent != self.bounds:
            outline = areas_only(shapely.intersection(outline, shapely.box(*self.extent)))
        return simplify(shapely.transform(outline, lambda at: at * self.scale + self.origin), 0.0)


@dataclass(frozen=True, slots=True)
class Ground:
    """What looks have to know of a raster.

    Attributes:
        name: for errors.
        size: width and height, pixels.
        steps: metres on the ground of a pixel, across and down; None where nobody knows.
        anchor: of the first pixel, counted in pixels from the origin of the reference system.
        no_place: why it has none.
    """

    name: str
    size: tuple[int, int]
    steps: tuple[float, float] | None = None
    anchor: tuple[int, int] = (0, 0)
    no_place: str = ""

    def refusal(self, reason: str) -> FrameError:
        """Why it cannot be looked at as is wanted."""
        return FrameError(reason, frame_id="", name=self.name)

    def steps_for(self, what: str) -> tuple[float, float]:
        """``steps``, or the reason why there are none as FrameError."""
        if self.steps is None:
            raise self.refusal(
                f"{what} needs the size of a pixel on the ground, which is not known: {self.no_place}; leave metres out"
            )
        return self.steps


def looks_of(prompts: Sequence[RasterPrompt], ground: Ground, options: SegmentOptions) -> list[Look]:
    """One look for each scale that is asked for.

    Raises:
        FrameError: this raster cannot be looked at like that.
    """
    by_scale: dict[tuple[float, float], list[int]] = {}
    for number, prompt in enumerate(prompts):
        by_scale.setdefault(_scale_of(prompt, ground), []).append(number)
    return [_look(tuple(numbers), scale, ground, options) for scale, numbers in by_scale.items()]


def _scale_of(prompt: RasterPrompt, ground: Ground) -> tuple[float, float]:
    if prompt.metres is None:
        return 1.0, 1.0
    asked = f"{prompt.prompt.text}@{prompt.metres:g}"
    steps = ground.steps_for(asked)
    across, down = (_few_digits(prompt.metres / step) for step in steps)
    if min(across, down) < FINEST:
        finest = FINEST * max(steps)
        raise ground.refusal(f"expected {finest:.3g} metres a pixel or more for this raster, got {asked}")
    if max(ground.size[0] / across, ground.size[1] / down) < FEWEST:
        raise ground.refusal(f"expected {FEWEST} pixels or more to look at, {asked} leaves fewer; ask for fewer metres")
    return across, down


def _few_digits(value: float) -> float:
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, DIGITS)), exponent - DIGITS)


def _look(prompts: tuple[int, ...], scale: tuple[float, float], ground: Ground, options: SegmentOptions) -> Look:
    grid = Grid.for_objects(options.tile, _largest(scale, ground, options))
    x, y = (_origin(first, factor, grid) for first, factor in zip(ground.anchor, scale, strict=True))
    width, height = ground.size
    whole: Box = (0.0, 0.0, width, height)
    x0, y0, x1, y1 = options.extent or whole
    counts = (max(0.0, x0), max(0.0, y0), min(width, x1), min(height, y1))
    if not (counts[0] < counts[2] and counts[1] < counts[3]):
        raise ground.refusal(f"expected an extent within the raster of {width} x {height} pixels, got {options.extent}")

    def in_look(box: Box) -> Box:
        left, top, right, bottom = ((np.array(box).reshape(2, 2) - (x, y)) / scale).ravel().tolist()
        return left, top, right, bottom

    return Look(prompts, scale, (x, y), grid, in_look(whole), in_look(counts))


def _origin(first: int, factor: float, grid: Grid) -> float:
    """Where, in pixels of the raster, the last tile begins that begins at its first pixel or before it."""
    return math.floor(first / factor / grid.stride) * grid.stride * factor - first


def _largest(scale: tuple[float, float], ground: Ground, options: SegmentOptions) -> float:
    """Of objects that are to be seen whole, in pixels at which is looked."""
    largest = options.largest
    if largest is None:
        return options.tile * DEFAULT_LARGEST
    if largest.unit == "px":
        return largest.value / min(scale)
    steps = ground.steps_for(f"an object of {largest}")
    return largest.value / min(step * factor for step, factor in zip(steps, scale, strict=True))
