"""From what was found in tiles to objects: parts that continue each other become one, repeats go.

Two parts of neighbouring tiles are of the same object where a piece of one is a piece of the other, in the strip that
both tiles show. So an object that is larger than the strip is put together from its parts, and one that is whole in
several tiles is recognised. The outline of an object that is whole in some tile is that of the tile whose middle is
nearest to it; of any other it is the union of its parts. Its score is the mean of what it is made of, by area.

What is cut by the edge of its tile counts only if some tile shows so much of it that its middle is not beyond the
tile's core; of a smaller fragment a neighbour shows more, and found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.matching import outline_iou, pair_best_first, suppress
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box
from sam3edge.rasters.grid import Grid, Tile

SAME_PIECE = 0.5
"""Intersection over union, in the strip that two tiles have in common, of what is one piece."""

REPEATED = 0.6
"""Share of a part's area within an object that is whole elsewhere, from which on the part says nothing new. Of an
object that goes on, neighbours have half in common at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What was found in one tile.

    Attributes:
        prompt: for which of the prompts, by number.
        score: 0..1.
        outline: valid, with some area, in pixels of the grid.
    """

    prompt: int
    score: float
    outline: Polygon | MultiPolygon


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """An object; as ``Part``, over all tiles."""

    prompt: int
    score: float
    outline: Polygon | MultiPolygon


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A part, and how its tile sees it.

    Attributes:
        is_cut: whether it reaches an edge beyond which the raster continues.
        is_central: whether its middle is not beyond the core of the tile, on a side where it is cut.
        off: pixels from the middle of the tile to that of the part, across or down, whichever is more.
    """

    part: Part
    is_cut: bool
    is_central: bool
    off: float


@dataclass(slots=True, eq=False)
class _Group:
    """Numbers of parts that are of one object, and the bounds of all of them."""

    members: list[int]
    bounds: Box


_Pieces: TypeAlias = Mapping[int, tuple[list[int], list[Polygon]]]
"""By prompt: numbers of parts, and a piece of each."""


class Joiner:
    """Takes the tiles of a grid in their order, and gives objects as soon as no later tile can touch them.

    It holds what reaches into tiles that are still to come: not more than what a row of tiles shows, and objects that
    have not ended.

    Args:
        grid: the tiles.
        bounds: of the raster, in pixels of the grid.
    """

    def __init__(self, grid: Grid, bounds: Box) -> None:
        self._grid, self._bounds = grid, bounds
        self._count = 0
        self._row: int | None = None
        self._seen: dict[int, _Seen] = {}
        self._groups: dict[int, _Group] = {}
        self._group_of: dict[int, int] = {}
        self._in_tile: dict[Tile, list[int]] = {}

    @property
    def pending(self) -> int:
        """Parts that are held."""
        return len(self._seen)

    def add(self, tile: Tile, parts: Iterable[Part]) -> list[Joined]:
        """Take the next tile, and give the objects that are complete by now."""
        if tile.row != self._row:
            self._row = tile.row
            self._in_tile = {other: held for other, held in self._in_tile.items() if other.row == tile.row - 1}
        if numbers := [self._take(tile, part) for part in parts]:
            self._in_tile[tile] = numbers
            for before in tile.before():
                self._join(before, tile)
        return self._complete(lambda bounds: not self._is_awaited(bounds, tile))

    def finish(self) -> list[Joined]:
        """There are no more tiles: give the rest."""
        return self._complete(lambda bounds: True)

    def _take(self, tile: Tile, part: Part) -> int:
        number, self._count = self._count, self._count + 1
        self._seen[number] = _seen(part, self._grid, tile, self._bounds)
        self._groups[number] = _Group([number], part.outline.bounds)
        self._group_of[number] = number
        return number

    def _join(self, one: Tile, other: Tile) -> None:
        """Find what of one tile continues in the other."""
        if one not in self._in_tile:
            return
        (a, b), edge = (self._grid.window(tile) for tile in (one, other)), self._grid.edge
        x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
        strip = shapely.box(x0 + edge, y0 + edge, x1 - edge, y1 - edge)
        ones, others = self._pieces(one, strip), self._pieces(other, strip)
        for prompt in sorted(ones.keys() & others.keys()):
            (numbers, pieces), (other_numbers, other_pieces) = ones[prompt], others[prompt]
            for i, j in pair_best_first(outline_iou(pieces, other_pieces), SAME_PIECE):
                self._merge(numbers[i], other_numbers[j])

    def _pieces(self, tile: Tile, strip: Polygon) -> _Pieces:
        found: dict[int, tuple[list[int], list[Polygon]]] = {}
        for number in self._in_tile[tile]:
            if number not in self._seen:
                continue  # it is complete: it did not reach here
            part = self._seen[number].part
            numbers, pieces = found.setdefault(part.prompt, ([], []))
            for piece in shapely.get_parts(areas_only(shapely.intersection(part.outline, strip))):
                if piece.area > 0:
                    numbers.append(number)
                    pieces.append(piece)
        return found

    def _merge(self, one: int, other: int) -> None:
        first, second = sorted((self._group_of[one], self._group_of[other]))
        if first == second:
            return
        group, gone = self._groups[first], self._groups.pop(second)
        group.members += gone.members
        self._group_of.update(dict.fromkeys(gone.members, first))
        a, b = group.bounds, gone.bounds
        group.bounds = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))

    def _is_awaited(self, bounds: Box, tile: Tile) -> bool:
        """Whether tiles after this one show some of it."""
        _, _, x1, y1 = bounds
        below, right, row = (n * self._grid.stride for n in (tile.row + 1, tile.column + 1, tile.row))
        return y1 > below or (x1 > right and y1 > row)

    def _complete(self, is_complete: Callable[[Box], bool]) -> list[Joined]:
        objects = []
        for number in [number for number, group in self._groups.items() if is_complete(group.bounds)]:
            members = self._groups.pop(number).members
            for member in members:
                del self._group_of[member]
            objects += _united([self._seen.pop(member) for member in members])
        return objects


def _seen(part: Part, grid: Grid, tile: Tile, bounds: Box) -> _Seen:
    box, window, core = part.outline.bounds, grid.window(tile), grid.core(tile)
    is_cut, is_central, off = False, True, 0.0
    for low, high in ((0, 2), (1, 3)):
        middle = (box[low] + box[high]) / 2
        off = max(off, abs(middle - (window[low] + window[high]) / 2))
        if box[low] <= window[low] + grid.edge and window[low] > bounds[low]:
            is_cut, is_central = True, is_central and middle >= core[low]
        if box[high] >= window[high] - grid.edge and window[high] < bounds[high]:
            is_cut, is_central = True, is_central and middle <= core[high]
    return _Seen(part, is_cut, is_central, off)


def _united(members: Sequence[_Seen]) -> list[Joined]:
    """One object; none where these are fragments of which other tiles should have shown more."""
    if not any(one.is_central for one in members):
        return []
    kept = _most_central([one for one in members if not one.is_cut])
    whole = areas_only(shapely.union_all([one.part.outline for one in kept]))
    kept += [one for one in members if one.is_cut and _share(one.part.outline, whole) < REPEATED]
    outlines = [one.part.outline for one in kept]
    outline = outlines[0] if len(outlines) == 1 else areas_only(shapely.union_all(outlines))
    score = np.average([one.part.score for one in kept], weights=shapely.area(outlines))
    return [Joined(kept[0].part.prompt, float(score), outline)]


def _most_central(whole: Sequence[_Seen]) -> list[_Seen]:
    """Without those that repeat one that is nearer to the middle of its tile."""
    outlines = [one.part.outline for one in whole]

    def overlaps(one: int, others: Sequence[int]) -> list[float]:
        return [max(_share(outlines[one], outlines[k]), _share(outlines[k], outlines[one])) for k in others]

    return [whole[i] for i in suppress([-one.off for one in whole], [None] * len(whole), overlaps, SAME_PIECE)]


def _share(outline: Polygon | MultiPolygon, within: Polygon | MultiPolygon) -> float:
    return float(shapely.intersection(outline, within).area / outline.area)
