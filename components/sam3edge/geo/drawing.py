"""A picture of a calibration: control points, where the camera puts them, and where places end."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.georeference import Points
from sam3edge.core.types import RgbImage
from sam3edge.geo.calibrate import Calibration
from sam3edge.geo.camera import HORIZON_MARGIN
from sam3edge.geo.control_points import called, pixels_of, positions_of

USED, LEFT_OUT, FITTED, HORIZON = (40, 200, 40), (230, 40, 40), (255, 220, 0), (80, 160, 255)

PIECES = 400
"""Of a line, each of which stays straight through a lens."""


def draw_calibration(image: RgbImage, calibration: Calibration) -> RgbImage:
    """Circles where points were marked, green, or red where they were left out; crosses where the camera shows them;
    lines at the horizon and where places end.

    Args:
        image: a frame of the camera.
    """
    camera, points = calibration.camera, [r.point for r in calibration.residuals]
    canvas = image.copy()
    scale = max(canvas.shape[:2]) / 1000
    thick = max(1, round(2 * scale))
    shown = calibration.georeference.to_pixels(positions_of(points))
    for number, (mark, fitted) in enumerate(zip(pixels_of(points), shown, strict=True)):
        color = USED if calibration.residuals[number].used else LEFT_OUT
        x, y = round(mark[0]), round(mark[1])
        cv2.circle(canvas, (x, y), round(8 * scale), color, thick, cv2.LINE_AA)
        label = called(points, number).encode("ascii", "replace").decode()  # OpenCV's letters
        at = (x + round(10 * scale), y - round(10 * scale))
        cv2.putText(canvas, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, color, thick, cv2.LINE_AA)
        if np.isfinite(fitted).all() and np.abs(fitted).max() < 1e6:
            where = (round(fitted[0]), round(fitted[1]))
            cv2.drawMarker(canvas, where, FITTED, cv2.MARKER_TILTED_CROSS, round(14 * scale), thick, cv2.LINE_AA)
    for distance in (0.0, HORIZON_MARGIN):
        line = calibration.lens.shown(_line(camera.to_ground[2], distance, camera.size))
        _draw(canvas, line, HORIZON, thick)
    return np.asarray(canvas, np.uint8)


def _line(line: npt.NDArray[np.float64], distance: float, size: tuple[int, int]) -> Points:
    """[n, 2] along where a x + b y + c is ``distance`` times the length of (a, b), in pixels; none of a line that is
    far from the frame, as the horizon of a camera that looks straight down."""
    a, b, c = line / np.hypot(line[0], line[1])
    middle = np.array(size) / 2
    foot = middle + np.array([a, b]) * (distance - c - float(middle @ (a, b)))
    reach = 4.0 * max(size)
    if not np.hypot(*(foot - middle)) < reach:
        return np.zeros((0, 2))
    return np.asarray(foot + np.linspace(-reach, reach, PIECES)[:, None] * np.array([-b, a]))


def _draw(canvas: RgbImage, line: Points, color: tuple[int, int, int], thick: int) -> None:
    """Piece by piece, where both ends are known."""
    for one, other in itertools.pairwise(line):
        if np.isfinite([*one, *other]).all():
            ends = [(round(float(x)), round(float(y))) for x, y in (one, other)]
            cv2.line(canvas, ends[0], ends[1], color, thick, cv2.LINE_AA)
