"""Masks at the size of the frame, as the reference makes them: logits interpolated bilinearly, cut at 0."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict

from sam3edge.core.types import MaskLogits

BinaryMask = npt.NDArray[np.bool_]
"""bool [H, W]."""


class Rle(TypedDict):
    """COCO's compressed run lengths; ``size`` is [height, width]."""

    size: list[int]
    counts: str


def full_mask(mask: MaskLogits, width: int, height: int) -> BinaryMask:
    """Interpolate to the frame. It takes width * height * 5 bytes for a moment: do not keep many."""
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > 0


def to_rle(mask: BinaryMask) -> Rle:
    """COCO's encoding: runs down the columns, background first, each as a difference from the run two before, in
    groups of 5 bits as printable characters (``rleToString`` in cocoapi ``common/maskApi.c``)."""
    height, width = mask.shape
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first = [0] if flat.size and flat[0] else []
    runs = np.diff(np.concatenate([[0], first, changes, [flat.size]])).astype(np.int64)
    before = np.zeros_like(runs)
    before[3:] = runs[1:-2]  # the first three stand as they are
    return {"size": [height, width], "counts": _characters(runs - before)}


def to_png(mask: BinaryMask) -> str:
    """Base64 of a PNG of 0 and 255."""
    done, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
    if not done:
        raise ValueError(f"OpenCV writes no PNG of {mask.shape}")
    return base64.b64encode(encoded.tobytes()).decode()


def box_of(mask: BinaryMask) -> tuple[int, int, int, int]:
    """x, y, width and height of what is true."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return int(x), int(y), int(width), int(height)


def _characters(values: npt.NDArray[np.int64]) -> str:
    out = bytearray()
    for value in values.tolist():
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != -1 if group & 0x10 else value != 0
            out.append((group | 0x20 if more else group) + 48)
    return out.decode("ascii")
