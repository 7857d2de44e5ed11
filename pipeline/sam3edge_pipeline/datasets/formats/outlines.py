"""Boxes, rings and masks as outlines: valid, not empty, within the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.geometry
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.polygons import areas_only
from sam3edge_pipeline.datasets.formats.annotations import FormatError

MAX_VERTICES = 200_000
"""Of one outline."""

MAX_MASK_PIXELS = 100_000_000

MAX_COORDINATE = 1e7
"""Pixels, in either direction; beyond it areas are no longer exact."""

Ring = Sequence[tuple[float, float]] | npt.NDArray[np.float64]
"""x, y in pixels of the image; closed or not."""


def from_box(x: float, y: float, width: float, height: float) -> Polygon:
    """A rectangle by its top left corner and its size, pixels."""
    return shapely.box(x, y, x + width, y + height)


def from_rings(rings: Iterable[Ring], path: Path, place: str) -> BaseGeometry:
    """The union of rings, each the border of a part, as COCO and most tools mean several polygons of one object.

    Raises:
        FormatError: a ring has fewer than three points, or coordinates that are not pixels.
    """
    parts = []
    for ring in rings:
        if len(ring) < 3:
            raise FormatError(f"{path}: {place}: expected three points or more, got {len(ring)}")
        _require_pixels(np.asarray(ring, np.float64), path, place)
        parts.append(shapely.make_valid(Polygon(ring)))
    return shapely.union_all(parts) if len(parts) != 1 else parts[0]


def from_mask(mask: npt.NDArray[np.bool_], left: int = 0, top: int = 0) -> BaseGeometry:
    """The exact outline of a binary mask [h, w], along the borders of its pixels.

    Args:
        left: column of the image that the mask's first column is.
        top: row of the image that the mask's first row is.
    """
    padded = np.pad(mask.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)  # row by row there are as many, in the same order
    runs = shapely.box(starts + left, rows + top, ends + left, rows + top + 1)
    return shapely.simplify(shapely.union_all(runs), 0)  # the ends of runs along straight borders


def from_geojson(geometry: Mapping[str, Any], path: Path, place: str) -> Polygon | MultiPolygon:
    """A polygon or multi-polygon as GeoJSON writes it.

    Raises:
        FormatError: it is another geometry, or not well formed.
    """
    try:
        shape = shapely.geometry.shape(dict(geometry))
    except (ShapelyError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        raise FormatError(f"{path}: {place}: expected closed rings of x, y") from error
    if not isinstance(shape, Polygon | MultiPolygon):
        raise FormatError(f"{path}: {place}: expected a Polygon or MultiPolygon, got {shape.geom_type}")
    return shape


def finished(
    geometry: BaseGeometry, width: int | None, height: int | None, path: Path, place: str
) -> Polygon | MultiPolygon:
    """An outline as labels hold it: repaired if it crossed itself, cut off at the image's borders.

    Raises:
        FormatError: nothing of it covers the image, it has too many vertices, or coordinates that are not numbers.
    """
    count = int(shapely.get_num_coordinates(geometry))
    if count > MAX_VERTICES:
        raise FormatError(f"{path}: {place}: expected an outline of at most {MAX_VERTICES} vertices, got {count}")
    _require_pixels(shapely.get_coordinates(geometry), path, place)
    outline = areas_only(geometry)
    if width is not None and height is not None and not _is_within(outline, width, height):
        outline = areas_only(shapely.intersection(outline, shapely.box(0, 0, width, height)))
    if outline.is_empty or outline.area <= 0:
        raise FormatError(
            f"{path}: {place}: expected an outline that covers some of the image, got one that covers nothing; "
            "mend or remove this object"
        )
    return shapely.orient_polygons(outline)


def _require_pixels(coordinates: npt.NDArray[np.float64], path: Path, place: str) -> None:
    if not (np.abs(coordinates) <= MAX_COORDINATE).all():  # False for what is not a number
        raise FormatError(f"{path}: {place}: expected coordinates in pixels, of at most {MAX_COORDINATE:.0f}")


def _is_within(outline: BaseGeometry, width: int, height: int) -> bool:
    x0, y0, x1, y1 = outline.bounds  # not numbers where it is empty
    return bool(x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height)
