"""Ground control points: pixels of which somebody knows where on Earth they are."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points

MIN_POINTS = 4
"""A homography has eight unknowns, a point two equations."""

MAX_POINTS = 1000

ON_A_LINE = 0.02
"""Points on a line are nowhere farther from it than this share of its length."""

SAME_PIXEL = 1.0
SAME_PLACE = 1e-3
"""Pixels, and share of the extent on the ground: points nearer to each other than this are one."""

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "x": ("x", "column", "pixelx"),
    "y": ("y", "row", "pixely"),
    "longitude": ("longitude", "lon", "lng"),
    "latitude": ("latitude", "lat"),
}


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """Attributes: x, y in pixels of the frame; longitude, latitude in degrees; what a person calls the place."""

    x: float
    y: float
    longitude: float
    latitude: float
    name: str = ""


def read_control_points(path: Path) -> list[ControlPoint]:
    """Read a table with columns x, y, longitude, latitude and perhaps name. Commas, semicolons or tabs separate them;
    longitudes may be counted to 360.

    Raises:
        GeoreferenceError: it cannot be read, a row is not a point, or there are too many.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GeoreferenceError(f"{path} cannot be read as text: {error}") from error
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise GeoreferenceError(f"expected a table of control points, {path} is empty")
    lines = [line for _, line in numbered]
    rows = csv.DictReader(lines, delimiter=next((sign for sign in ";\t" if sign in lines[0]), ","))
    points: list[ControlPoint] = []
    try:
        columns = {name.strip().lower(): name for name in rows.fieldnames or ()}
        found = _found(columns, path)
        for row in rows:
            if len(points) == MAX_POINTS:
                raise GeoreferenceError(f"expected at most {MAX_POINTS} control points, {path} has more; choose some")
            where = f"in line {numbered[rows.line_num - 1][0]} of {path}"
            if any(row.get(None) or ()):
                raise GeoreferenceError(
                    f"expected {len(columns)} cells {where}, got more; where commas separate, write decimal points"
                )
            name = (row.get(columns.get("name", "")) or "").strip()
            points.append(ControlPoint(*_numbers(row, found, where), name))
    except csv.Error as error:
        raise GeoreferenceError(f"{path} cannot be read as a table: {error}") from error
    return points


def _found(columns: Mapping[str, str], path: Path) -> list[str]:
    """The columns of x, y, longitude and latitude, as the table calls them."""
    found = [next((columns[n] for n in names if n in columns), None) for names in _COLUMNS.values()]
    named = [name for name in found if name is not None]
    if len(named) < len(found):
        raise GeoreferenceError(
            f"expected columns x, y, longitude and latitude in {path}, got {', '.join(columns)}; rename them. Of "
            "QGIS's georeferencer in EPSG:4326, x is sourceX, y is -sourceY, longitude is mapX and latitude is mapY"
        )
    return named


def _numbers(row: Mapping[str, str | None], found: Sequence[str], where: str) -> tuple[float, float, float, float]:
    """x, y, longitude within -180..180, latitude."""
    texts = [row[name] or "" for name in found]
    try:
        x, y, longitude, latitude = (float(text) for text in texts)
    except ValueError as error:
        hint = "; write decimal points, not commas" if any("," in text for text in texts) else ""
        raise GeoreferenceError(f"expected four numbers {where}: {error}{hint}") from error
    if not all(map(math.isfinite, (x, y, longitude, latitude))):
        raise GeoreferenceError(f"expected four finite numbers {where}, got {', '.join(texts)}")
    if not (-180 <= longitude <= 360 and -90 <= latitude <= 90):
        raise GeoreferenceError(
            f"expected longitude and latitude in degrees {where}, got {longitude:g} and {latitude:g}; transform them "
            "to EPSG:4326"
        )
    return x, y, longitude - 360 if longitude > 180 else longitude, latitude


def pixels_of(points: Sequence[ControlPoint]) -> Points:
    """[n, 2]"""
    return np.array([[p.x, p.y] for p in points], np.float64).reshape(-1, 2)


def positions_of(points: Sequence[ControlPoint]) -> Points:
    """[n, 2] longitude, latitude."""
    return np.array([[p.longitude, p.latitude] for p in points], np.float64).reshape(-1, 2)


def called(points: Sequence[ControlPoint], number: int) -> str:
    """How a message names a point: by its row, from 1, and its name."""
    name = points[number].name
    return f"{number + 1} ({name})" if name else str(number + 1)


def require_spread(points: Sequence[ControlPoint], size: tuple[int, int], ground: Points) -> None:
    """Refuse points that do not determine a homography.

    Args:
        size: width and height of the frame, pixels.
        ground: [n, 2], where they are, metres.

    Raises:
        GeoreferenceError: too few, outside of the frame, the same twice, or all but one on one line.
    """
    if len(points) < MIN_POINTS:
        raise GeoreferenceError(f"expected {MIN_POINTS} control points or more, got {len(points)}; add some")
    pixels = pixels_of(points)
    for number, (x, y) in enumerate(pixels):
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            raise GeoreferenceError(
                f"control point {called(points, number)} at {x:g}, {y:g} is outside of the frame of "
                f"{size[0]} x {size[1]} pixels; mend it"
            )
    extent = float(np.hypot(*np.ptp(ground, axis=0)))
    for one, other in itertools.combinations(range(len(points)), 2):
        pair = f"control points {called(points, one)} and {called(points, other)}"
        if float(np.hypot(*(pixels[one] - pixels[other]))) < SAME_PIXEL:
            raise GeoreferenceError(f"{pair} are at the same pixel; remove one")
        if float(np.hypot(*(ground[one] - ground[other]))) < SAME_PLACE * extent:
            raise GeoreferenceError(f"{pair} are at the same place on Earth; remove one")
    for what, where in (("in the picture", pixels), ("on the ground", ground)):
        for left_out in range(len(points)):
            if _on_a_line(np.delete(where, left_out, axis=0)):
                raise GeoreferenceError(
                    f"all control points but {called(points, left_out)} are on one line {what}, from which no plane "
                    "follows; add points beside it"
                )


def _on_a_line(points: Points) -> bool:
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    along, beside = (centred @ axes.T).T
    return float(np.ptp(beside)) <= ON_A_LINE * float(np.ptp(along))
