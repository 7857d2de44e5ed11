"""A picture of a calibration: control points, where the camera puts them, and where places end."""

from __future__ import annotations

import cv2
import numpy as np

from sam3edge.core.types import RgbImage
from sam3edge.geo.calibrate import Calibration
from sam3edge.geo.camera import HORIZON_MARGIN, projected
from sam3edge.geo.control_points import called, pixels_of, positions_of

USED, LEFT_OUT, FITTED, HORIZON = (40, 200, 40), (230, 40, 40), (255, 220, 0), (80, 160, 255)


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
    shown = projected(camera.to_pixel, camera.plane.to_plane(positions_of(points)))
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
        _draw_line(canvas, camera.to_ground[2], distance, HORIZON, thick)
    return np.asarray(canvas, np.uint8)


def _draw_line(
    canvas: RgbImage,
    line: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    distance: float,
    color: tuple[int, int, int],
    thick: int,
) -> None:
    """Where a x + b y + c is ``distance`` times the length of (a, b), in pixels."""
    a, b, c = line / np.hypot(line[0], line[1])
    foot = np.array([a, b]) * (distance - c)
    reach = 4.0 * max(canvas.shape[:2]) + float(np.abs(foot).max())
    if not np.isfinite(reach) or reach > 1e8:  # the horizon of a camera that looks straight down is nowhere
        return
    ends = [np.round(foot + sign * reach * np.array([-b, a])).astype(int) for sign in (-1, 1)]
    cv2.line(canvas, (int(ends[0][0]), int(ends[0][1])), (int(ends[1][0]), int(ends[1][1])), color, thick, cv2.LINE_AA)
