"""Views of a frame with outlines drawn in, for reports: one page, its pictures inside."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.types import Box, Frame, RgbImage

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of a frame, to be drawn on.

    Attributes:
        canvas: uint8 [h, w, 3], RGB; its own memory.
        origin: x and y of its top left corner in pixels of the frame.
        scale: canvas pixels a pixel of the frame, across and down.
    """

    canvas: RgbImage
    origin: tuple[float, float]
    scale: tuple[float, float]

    def draw(self, outline: Polygon | MultiPolygon, color: Rgb, thickness: int) -> None:
        """Draw all rings of an outline, which is in pixels of the frame.

        Args:
            thickness: of the line, canvas pixels.
        """
        for part in shapely.get_parts(outline):
            for ring in (part.exterior, *part.interiors):
                # outlines count from the corner of a pixel, OpenCV from its centre; 4 fractional bits
                points: npt.NDArray[np.float64] = (shapely.get_coordinates(ring) - self.origin) * self.scale - 0.5
                at = np.round(points * 16).astype(np.int32)
                cv2.polylines(self.canvas, [at], True, color, thickness, cv2.LINE_AA, 4)

    def to_data_url(self) -> str:
        """As JPEG in a data URL, so that a page is one file."""
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(self.canvas[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
        return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def overview(frame: Frame, side: int) -> View:
    """All of a frame.

    Args:
        side: longer side of the canvas at most, pixels.
    """
    return _resized(frame, (0, 0, frame.image.shape[1], frame.image.shape[0]), side, cv2.INTER_AREA, 1.0)


def close_up(frame: Frame, box: Box, side: int) -> View:
    """The surroundings of an object, enlarged or reduced.

    Args:
        box: around the object, x0, y0, x1, y1 in pixels of the frame.
        side: longer side of the canvas, pixels.
    """
    x0, y0, x1, y1 = box
    margin = 0.1 * max(x1 - x0, y1 - y0) + 4
    height, width = frame.image.shape[:2]
    across, down = width / frame.width, height / frame.height
    left = min(max(0, int((x0 - margin) * across)), width - 1)
    top = min(max(0, int((y0 - margin) * down)), height - 1)
    right = max(left + 1, min(width, int((x1 + margin) * across) + 1))
    bottom = max(top + 1, min(height, int((y1 + margin) * down) + 1))
    reduced = max(right - left, bottom - top) > side
    return _resized(
        frame, (left, top, right, bottom), side, cv2.INTER_AREA if reduced else cv2.INTER_LINEAR, float("inf")
    )


def _resized(frame: Frame, window: tuple[int, int, int, int], side: int, how: int, most: float) -> View:
    """Part of a frame.

    Args:
        window: left, top, right, bottom in pixels of ``Frame.image``.
        how: OpenCV's interpolation.
        most: it is enlarged by at most this factor.
    """
    left, top, right, bottom = window
    part = frame.image[top:bottom, left:right]
    factor = min(most, side / max(part.shape[:2]))
    size = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
    canvas = np.array(cv2.resize(part, size, interpolation=how), np.uint8, order="C")
    across, down = frame.width / frame.image.shape[1], frame.height / frame.image.shape[0]
    scale = (size[0] / (part.shape[1] * across), size[1] / (part.shape[0] * down))
    return View(canvas, (left * across, top * down), scale)
