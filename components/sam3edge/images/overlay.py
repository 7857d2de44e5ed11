"""Pictures of what was found."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Color = tuple[int, int, int]


def draw_overlay(
    image: npt.NDArray[np.uint8], features: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Outline and name every feature of a detections message.

    Args:
        image: uint8 [H, W, 3], BGR.
        features: members of the message's ``features``.
        labels: every label there may be; each has its own colour.

    Returns:
        uint8 [H, W, 3], BGR; the image is not changed.
    """
    canvas, tint = image.copy(), image.copy()
    scale = max(image.shape[:2]) / 640
    outlines = [(f["properties"], _rings(f["properties"]["imageGeometry"])) for f in features]
    for properties, rings in outlines:
        cv2.fillPoly(tint, rings, color_of(properties["label"], labels), lineType=cv2.LINE_AA, shift=4)
    canvas = np.asarray(cv2.addWeighted(tint, 0.25, canvas, 0.75, 0), np.uint8)
    for properties, rings in outlines:
        color = color_of(properties["label"], labels)
        cv2.polylines(canvas, rings, True, color, max(1, round(2 * scale)), cv2.LINE_AA, shift=4)
    for properties, _ in outlines:
        _name(canvas, properties, color_of(properties["label"], labels), scale)
    return np.asarray(canvas, np.uint8)


def color_of(label: str, labels: Sequence[str]) -> Color:
    """BGR; hues lie evenly on the circle."""
    hue = (list(labels).index(label) if label in labels else 0) / max(1, len(labels))
    r, g, b = colorsys.hsv_to_rgb(hue, 0.85, 1.0)
    return round(b * 255), round(g * 255), round(r * 255)


def save_overlay(source: Path, target: Path, features: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """Draw onto the image file ``source`` and write PNG to ``target``."""
    image = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), draw_overlay(np.asarray(image, np.uint8), features, labels))


def _rings(geometry: Mapping[str, Any]) -> list[npt.NDArray[np.int32]]:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    # pixel coordinates count from the corner of a pixel, OpenCV's from its centre; 4 fractional bits
    return [np.round((np.array(ring) - 0.5) * 16).astype(np.int32) for polygon in polygons for ring in polygon]


def _name(canvas: npt.NDArray[np.uint8], properties: Mapping[str, Any], color: Color, scale: float) -> None:
    text = f"{properties['label']} {properties['score']:.2f}"
    size, thick = 0.42 * scale, max(1, round(scale))
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    x0, y0, _, _ = properties["imageBBox"]
    x = int(min(max(0, x0), canvas.shape[1] - w - 2))
    y = int(min(max(h + base, y0), canvas.shape[0] - base))
    cv2.rectangle(canvas, (x, y - h - base), (x + w + 2, y + 1), color, -1)
    ink = (0, 0, 0) if sum(color) > 300 else (255, 255, 255)
    cv2.putText(canvas, text, (x + 1, y - base + 2), cv2.FONT_HERSHEY_SIMPLEX, size, ink, thick, cv2.LINE_AA)
