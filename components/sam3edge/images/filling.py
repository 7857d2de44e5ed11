"""Pixels without data, filled so that a model does not take them for a thing."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.types import RgbImage


def filled(image: RgbImage, valid: npt.NDArray[np.bool_]) -> RgbImage:
    """Every pixel without data takes the colour of the nearest one with data. Black there is a shape with edges, which
    models find things in, and which makes them judge differently what lies beside it.

    Args:
        valid: bool [h, w], where there are data.

    Returns:
        A new image; the given one where nothing is filled, or there is nothing to fill with.
    """
    if valid.all() or not valid.any():
        return image
    missing = (~valid).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(missing, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    pixel_of = np.zeros(int(nearest.max()) + 1, np.int64)
    pixel_of[nearest[valid]] = np.flatnonzero(valid)
    return np.ascontiguousarray(image.reshape(-1, 3)[pixel_of[nearest]])
