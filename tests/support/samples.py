"""Frames and answers for tests."""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime, timezone

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.types import Detection, Frame, ModelInfo, Prompt

MODEL = ModelInfo("demo", "1.2.3", "sha256:" + "ab" * 32, "fp32", "CPUExecutionProvider")


def frame(image: npt.NDArray[np.uint8] | None = None, name: str = "a.png") -> Frame:
    """A frame of a picture; black, 320 x 240, unless given."""
    image = np.zeros((240, 320, 3), np.uint8) if image is None else image
    digest = "sha256:" + hashlib.sha256(image.tobytes()).hexdigest()
    return Frame("f" * 32, "folder", name, image, datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc), digest)


def red_square(x: int = 100, y: int = 80, side: int = 60) -> npt.NDArray[np.uint8]:
    """A picture of 320 x 240 pixels with one red square."""
    image = np.full((240, 320, 3), 90, np.uint8)
    cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (255, 0, 0), -1)
    return image


def wobbly(vertices: int, radius: float, x: float = 160, y: float = 120) -> shapely.Polygon:
    """A star-shaped polygon with many vertices, none of which a small tolerance removes."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    r = radius * (1 + 0.25 * np.cos(np.arange(vertices) * np.pi))
    return shapely.Polygon(np.stack([x + r * np.cos(angle), y + r * np.sin(angle)], 1))


def answer(detections: tuple[Detection, ...] = (), prompts: tuple[Prompt, ...] = (Prompt("scratch"),)) -> FrameResult:
    """An answer about ``frame()``."""
    return FrameResult("line-7", frame(), MODEL, prompts, detections, {"vision": 12.3456, "decoder": 3.0}, {})


def detection(geometry: shapely.Polygon, prompt: Prompt = Prompt("scratch"), score: float = 0.87654) -> Detection:  # noqa: B008
    """A detection with that outline."""
    return Detection(prompt, score, geometry.bounds, geometry.area, geometry)


class Lost(list[Exception]):
    """Remembers what ``on_lost`` was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.happened = threading.Event()

    def __call__(self, error: Exception) -> None:
        self.append(error)
        self.happened.set()
