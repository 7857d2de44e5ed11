"""The tiles that a raster is looked at by.

They cover the plane, each overlapping its neighbours, and each has a core; the cores neither overlap nor leave gaps. An
object that is no larger than what tiles have in common lies whole in the tile whose core has its middle, with
``Grid.edge`` pixels around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sam3edge.core.types import Box

EDGE_SHARE = 1 / 64
"""Of a tile's side: what a model says nearer to the edge than this is no good, and what reaches there may be cut."""


class Tile(NamedTuple):
    """Which tile, counted from the grid's origin; tiles are looked at in this order."""

    row: int
    column: int

    def before(self) -> tuple[Tile, ...]:
        """The neighbours that come before it."""
        row, column = self
        above = (Tile(row - 1, column + step) for step in (-1, 0, 1))
        return (*above, Tile(row, column - 1))


@dataclass(frozen=True, slots=True)
class Grid:
    """Square tiles in rows and columns.

    Attributes:
        side: of a tile, pixels.
        overlap: pixels that neighbours have in common, even, at most half of ``side``.
    """

    side: int
    overlap: int

    @classmethod
    def for_objects(cls, side: int, largest: float) -> Grid:
        """Tiles in one of which every object of at most ``largest`` pixels is whole, as far as half a tile goes."""
        wanted = largest + 2 * side * EDGE_SHARE
        return cls(side, 2 * min(math.ceil(wanted / 2), side // 4))

    @property
    def stride(self) -> int:
        """Pixels from one tile to the next."""
        return self.side - self.overlap

    @property
    def edge(self) -> float:
        """Pixels within the edge of a tile."""
        return self.side * EDGE_SHARE

    def window(self, tile: Tile) -> Box:
        """What a tile shows."""
        x, y = tile.column * self.stride, tile.row * self.stride
        return x, y, x + self.side, y + self.side

    def core(self, tile: Tile) -> Box:
        """The part of the window that no other tile sees as well."""
        half = self.overlap // 2
        x0, y0, x1, y1 = self.window(tile)
        return x0 + half, y0 + half, x1 - half, y1 - half

    def over(self, area: Box) -> tuple[range, range]:
        """Rows and columns of the tiles whose cores cover an area."""
        half, stride = self.overlap // 2, self.stride
        x0, y0, x1, y1 = area
        rows = range(math.floor((y0 - half) / stride), math.ceil((y1 - half) / stride))
        columns = range(math.floor((x0 - half) / stride), math.ceil((x1 - half) / stride))
        return rows, columns

    def tiles(self, area: Box) -> Iterator[Tile]:
        """The tiles whose cores cover an area, row by row."""
        rows, columns = self.over(area)
        return (Tile(row, column) for row in rows for column in columns)
