"""Mask logits to polygons, at sub-pixel accuracy, without ever up-sampling a mask to the whole frame.

The reference interpolates the logits bilinearly to the frame and cuts at 0. What is wanted here is only the outline of
that cut. So the part of the mask around its foreground is refined to a grid fine enough that the bilinear surface is
flat within a cell, and marching squares (contourpy) walks the zero line through it: every part and every hole, in
pixels of the frame, between the pixels rather than around them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from contourpy import FillType, LineType, SerialContourGenerator, ZInterp
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge.core.matching import suppress_instances
from sam3edge.core.types import Detection, Detections, EngineOutput, Frame, Instance, MaskLogits, ModelInfo

_Filled: TypeAlias = tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]
"""What contourpy gives for ``FillType.OuterOffset``: points and ring offsets of every part."""

CELL_SHARE = 0.01
"""A mask cell larger than this share of the foreground's extent is refined, so that the accuracy is relative to the
object: within a cell the bilinear zero line is a hyperbola that marching squares replaces by its chord."""

CELL_RANGE = (2.0, 8.0)
"""Pixels of the frame: cells are never refined below the first and always to below the second."""

GRID = 0.1
"""Pixels: vertices lie on this grid, which keeps the message short."""

SLIVER = 1.0
"""Square pixels: parts and holes smaller than this are noise of the zero line."""

ROUNDNESS = 0.02
"""Simplification moves the outline of a shape by at most this share of area / perimeter, so that a small or thin shape
keeps an intersection over union of at least 0.98 with its mask, whatever the tolerance."""


TOLERANCE = 0.5
"""Pixels by which an outline moves at most to save vertices, unless the configuration says otherwise."""


def to_detections(
    output: EngineOutput,
    frame: Frame,
    model: ModelInfo,
    *,
    tolerance: float = TOLERANCE,
    nms_iou: float | None = None,
) -> Detections:
    """What an engine found in a frame, as polygons; adds the milliseconds that this takes as ``polygons``.

    Args:
        model: whose output it is.
        tolerance: as in ``to_detection``.
        nms_iou: of instances of one prompt that overlap more than this, only the best scored stays; None keeps all.
    """
    started = time.perf_counter()
    instances = output.instances if nms_iou is None else suppress_instances(output.instances, nms_iou)
    outlined = (to_detection(i, frame.width, frame.height, tolerance) for i in instances)
    detections = tuple(d for d in outlined if d is not None)
    timing = {**output.timing, "polygons": (time.perf_counter() - started) * 1000}
    return Detections(model, detections, timing, output.unsupported_prompts, output.confidence)


def to_detection(instance: Instance, width: int, height: int, tolerance: float) -> Detection | None:
    """Outline one instance.

    Args:
        instance: mask logits over the whole frame.
        width: of the frame, pixels.
        height: of the frame, pixels.
        tolerance: the outline may move by this many pixels to save vertices.

    Returns:
        The detection, or None when the mask has no foreground or is smaller than the prompt's ``min_area``.
    """
    outline = outline_of(instance.mask, width, height)
    area = float(outline.area)
    if area < max(SLIVER, instance.prompt.min_area):
        return None
    geometry = simplify(outline, tolerance)
    x0, y0, x1, y1 = geometry.bounds
    return Detection(instance.prompt, instance.score, (x0, y0, x1, y1), area, geometry)


def outline_of(mask: MaskLogits, width: int, height: int) -> Polygon | MultiPolygon:
    """The outline of ``mask > 0`` interpolated to ``width`` x ``height`` pixels; empty when nothing is foreground.

    Shells run counter-clockwise in (x, y) as written, holes clockwise.
    """
    rows, columns = _foreground_window(mask)
    if rows.start == rows.stop:
        return Polygon()
    scale_y, scale_x = height / mask.shape[0], width / mask.shape[1]
    extent = min((rows.stop - rows.start) * scale_y, (columns.stop - columns.start) * scale_x)
    cell = float(np.clip(CELL_SHARE * extent, *CELL_RANGE))
    parts_y, parts_x = _parts(scale_y, cell), _parts(scale_x, cell)
    z, y = _to_edges(
        _refine(mask[rows, columns], parts_y, parts_x), rows.start, mask.shape[0], scale_y, parts_y, axis=0
    )
    z, x = _to_edges(z, columns.start, mask.shape[1], scale_x, parts_x, axis=1)
    z[z == 0] = np.float32(-1e-6)  # the cut is at > 0; a vertex on the line would make outlines touch themselves
    return _join(list(_trace(x, y, z)))


def simplify(outline: Polygon | MultiPolygon, tolerance: float) -> Polygon | MultiPolygon:
    """Save vertices: move the outline by at most ``tolerance`` pixels, less for small and thin shapes, and put it on
    the grid of ``GRID`` pixels. The result is valid."""
    if outline.is_empty or outline.length == 0:
        return outline
    allowed = min(tolerance, ROUNDNESS * outline.area / outline.length)
    for topology in (False, True):  # the plain Douglas-Peucker is ten times faster and nearly always right
        simple = shapely.simplify(outline, allowed, preserve_topology=topology)
        snapped = shapely.transform(simple, lambda at: np.round(at / GRID) * GRID)
        if snapped.is_valid and not snapped.is_empty:
            return shapely.orient_polygons(snapped)
    return shapely.orient_polygons(areas_only(shapely.set_precision(outline, GRID)))


def _foreground_window(mask: MaskLogits) -> tuple[slice, slice]:
    """Rows and columns of the foreground, with one cell around it where there is one."""
    inside = (mask > 0).view(np.uint8)
    x, y, w, h = cv2.boundingRect(inside)
    rows = slice(max(0, y - 1), min(mask.shape[0], y + h + 1)) if h else slice(0, 0)
    return rows, slice(max(0, x - 1), min(mask.shape[1], x + w + 1)) if w else slice(0, 0)


def _parts(scale: float, cell: float) -> int:
    """Into how many a cell of ``scale`` pixels is divided, so that they have at most ``cell`` pixels: a power of two,
    for OpenCV interpolates in steps of 1/32, of which these are whole multiples."""
    return 1 << max(0, math.ceil(math.log2(scale / cell)))


def _refine(z: npt.NDArray[np.float32], parts_y: int, parts_x: int) -> npt.NDArray[np.float32]:
    """Interpolate bilinearly between the samples of a window [h, w], to ``(h - 1) * parts_y + 1`` rows and so many
    columns."""
    if parts_y == parts_x == 1:
        return z.copy()
    rows, columns = (z.shape[0] - 1) * parts_y + 1, (z.shape[1] - 1) * parts_x + 1
    back = np.array([[1 / parts_x, 0, 0], [0, 1 / parts_y, 0]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    refined = cv2.warpAffine(z, back, (columns, rows), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(refined, np.float32)


def _to_edges(
    z: npt.NDArray[np.float32], start: int, cells: int, scale: float, parts: int, axis: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Say where samples lie along one axis, and where the window touches the frame's edge continue them to it.

    The sample of cell i lies at ``(i + 0.5) * scale`` (the reference's ``align_corners=False``); between the outermost
    cell and the frame's edge the value stays constant, so the edge itself is a sample, too.

    Args:
        z: [h, w], a refined window of the mask.
        start: first cell of the window along ``axis``.
        cells: cells of the whole mask along ``axis``.
        scale: pixels of the frame a cell.
        parts: into how many each cell was divided.
        axis: 0 for y, 1 for x.

    Returns:
        The window, and the positions of its samples along ``axis`` in pixels of the frame.
    """
    positions = (start + np.arange(z.shape[axis]) / parts + 0.5) * scale
    last = start + (z.shape[axis] - 1) // parts + 1 == cells
    if start == 0:
        z = np.concatenate([z.take([0], axis), z], axis)
        positions = np.concatenate([[0.0], positions])
    if last:
        z = np.concatenate([z, z.take([-1], axis)], axis)
        positions = np.concatenate([positions, [cells * scale]])
    return z, positions


def _trace(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], z: npt.NDArray[np.float32]) -> Iterator[Polygon]:
    """Every connected part of z > 0 that is not a sliver, with its holes."""
    # contourpy's own class and not contour_generator, whose masked arrays take longer than the contours
    generator = SerialContourGenerator(
        *np.meshgrid(x, y),
        z.astype(np.float64),
        np.isnan(z),
        corner_mask=True,
        line_type=LineType.Separate,
        fill_type=FillType.OuterOffset,
        quad_as_tri=False,
        z_interp=ZInterp.Linear,
    )
    points_of, offsets_of = cast(_Filled, generator.filled(0.0, np.inf))
    for points, offsets in zip(points_of, offsets_of, strict=True):
        rings = [points[a:b] for a, b in itertools.pairwise(offsets)]
        shell, *holes = rings
        if _area(shell) >= SLIVER:
            yield Polygon(shell, [hole for hole in holes if _area(hole) >= SLIVER])


def _area(ring: npt.NDArray[np.float64]) -> float:
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def _join(parts: list[Polygon]) -> Polygon | MultiPolygon:
    if not parts:
        return Polygon()
    return areas_only(parts[0] if len(parts) == 1 else MultiPolygon(parts))


def areas_only(geometry: BaseGeometry) -> Polygon | MultiPolygon:
    """The polygons of a geometry, made valid; snapping may leave lines and points behind."""
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    if isinstance(geometry, Polygon | MultiPolygon):
        return geometry
    polygons = [p for p in shapely.get_parts(shapely.get_parts(geometry)) if isinstance(p, Polygon)]
    return polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
