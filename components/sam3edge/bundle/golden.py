"""The golden run: before a bundle is activated it must find in its own small image what it found when it was built."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from sam3edge.core.errors import BundleError
from sam3edge.core.polygons import to_detection
from sam3edge.core.ports import Engine
from sam3edge.core.types import Box, Detection, Frame, Prompt

IMAGE = "golden/image.png"
EXPECTED = "golden/expected.json"

SCORE_SLACK = 0.05
BOX_OVERLAP = 0.9
AREA_SLACK = 0.1
"""Another provider or precision may move scores by 0.05, boxes to an IoU of 0.9 and areas by a tenth, not more."""


class GoldenInstance(BaseModel):
    """One object that must be found; box in pixels of the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: str
    score: float
    box: tuple[float, float, float, float]
    area: float


class Golden(BaseModel):
    """Prompts asked and everything that must be found, no more and no less."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompts: list[str]
    threshold: float
    instances: list[GoldenInstance]


def run_golden(root: Path, engine: Engine) -> float:
    """Run the bundle's golden image.

    Returns:
        Milliseconds that the engine took.

    Raises:
        BundleError: it finds something else than it must.
        EngineError: it does not run.
    """
    golden = _read(root)
    frame = golden_frame(root)
    prompts = [Prompt(text, golden.threshold) for text in golden.prompts]
    segmentation = engine.segment(frame, prompts)
    if segmentation.unsupported_prompts:
        phrase, reason = next(iter(segmentation.unsupported_prompts.items()))
        raise BundleError(f"golden run: the phrase {phrase!r} is not answered: {reason}")
    outlined = (to_detection(i, frame.width, frame.height, 0.5) for i in segmentation.instances)
    _compare(golden, [d for d in outlined if d is not None])
    return sum(segmentation.timing.values())


def golden_frame(root: Path) -> Frame:
    """The bundle's golden image."""
    raw = (root / IMAGE).read_bytes()
    bgr = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BundleError(f"{IMAGE} of {root.name} is not an image")
    image = np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)
    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    return Frame("golden", "bundle", IMAGE, image, datetime.fromtimestamp(0, timezone.utc), digest)


def _read(root: Path) -> Golden:
    try:
        return Golden.model_validate_json((root / EXPECTED).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{EXPECTED} of {root.name} is missing or not a golden result") from error


def _compare(golden: Golden, found: list[Detection]) -> None:
    free = list(found)
    for wanted in golden.instances:
        match = max(
            (d for d in free if d.prompt.text == wanted.prompt), key=lambda d: _iou(d.box, wanted.box), default=None
        )
        if match is None or _iou(match.box, wanted.box) < BOX_OVERLAP:
            raise BundleError(f"golden run: a {wanted.prompt!r} at {wanted.box} must be found and is not")
        if abs(match.score - wanted.score) > SCORE_SLACK:
            raise BundleError(
                f"golden run: the {wanted.prompt!r} at {wanted.box} must score {wanted.score:.3f}, it scores "
                f"{match.score:.3f}"
            )
        if abs(match.area - wanted.area) > AREA_SLACK * wanted.area:
            raise BundleError(
                f"golden run: the {wanted.prompt!r} at {wanted.box} must cover {wanted.area:.0f} pixels, it covers "
                f"{match.area:.0f}"
            )
        free.remove(match)
    if free:
        raise BundleError(f"golden run: a {free[0].prompt.text!r} at {free[0].box} is found and must not be")


def _iou(a: Box, b: Box) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0.0, w) * max(0.0, h)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return inner / (area - inner) if area > inner else 0.0
