"""Masks at the size of the frame, as the reference makes them: logits interpolated bilinearly, cut at 0."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import numpy.typing as npt
import pycocotools.mask as coco_mask

from sam3edge.core.types import MaskLogits
from sam3edge.vector.run_lengths import Rle

BinaryMask = npt.NDArray[np.bool_]
"""bool [H, W]."""


def full_mask(mask: MaskLogits, width: int, height: int) -> BinaryMask:
    """Interpolate to the frame. It takes width * height * 5 bytes for a moment: do not keep many."""
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > 0


def to_rle(mask: BinaryMask) -> Rle:
    """COCO's encoding."""
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


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
