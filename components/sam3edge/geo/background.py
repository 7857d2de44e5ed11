"""What a fixed camera's background looks like, and where a frame shows it.

Kept are ORB's key points and descriptors (Rublee and others, ORB: an efficient alternative to SIFT or SURF, ICCV 2011),
which are 256 comparisons of brightness around each point, and no image. Two pictures of a camera that was turned or
zoomed are related by a homography (Hartley and Zisserman, Multiple View Geometry, section 8.4.2), which is found by
RANSAC among the pairs that pass Lowe's ratio test (IJCV 60, 2004, section 7.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.georeference import Points
from sam3edge.core.types import RgbImage
from sam3edge.geo.camera import Matrix, projected

SIDE = 960
"""Pixels: the longer side of what key points are sought in, at most."""

CELLS, PER_CELL = (16, 9), 12
"""Key points are spread: the strongest of each of these cells, side by side and one above the other."""

MAX_KEYPOINTS = CELLS[0] * CELLS[1] * PER_CELL
DESCRIPTOR_BYTES = 32

MIN_PAIRS = 30
"""Fewer say nothing."""

MIN_RECOGNISABLE = 4 * MIN_PAIRS
"""Key points of a picture of which enough are found again, when a part of them is hidden."""

MIN_PARTS = 6
"""Of 16 parts of the picture, pairs must be in this number: what moves covers fewer."""

STILL = 3 / SIDE
"""Share of the longer side within which a point is where it was: vibration and rolling shutters."""

OUTVOTED = 3
"""Where some pairs agree that the background is elsewhere and others stay in place, it has stayed unless the first are
more by this factor; neither is sure where those that stay are few or in a corner, as words that a camera writes."""

RATIO = 0.8
CANDIDATES = 20_000
MAX_ZOOM = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Key points of a picture.

    Attributes:
        size: width and height of the frame, pixels.
        points: float64 [n, 2], pixels of the frame.
        descriptors: uint8 [n, 32].
    """

    size: tuple[int, int]
    points: Points
    descriptors: npt.NDArray[np.uint8]

    @property
    def is_recognisable(self) -> bool:
        """Whether there is enough of it to be found again."""
        return len(self.points) >= MIN_RECOGNISABLE and _is_enough(self.points, self.size)


def background_of(image: RgbImage, size: tuple[int, int]) -> Background:
    """The background that a frame shows, with what moves in front of it.

    Args:
        image: of all of the frame.
        size: width and height of the frame, pixels; the image may have fewer.
    """
    smaller = min(1.0, SIDE / max(image.shape[:2]))
    shape = (max(1, round(image.shape[1] * smaller)), max(1, round(image.shape[0] * smaller)))
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), shape, interpolation=cv2.INTER_AREA)
    orb = cv2.ORB.create(nfeatures=CANDIDATES, fastThreshold=8)
    chosen, descriptors = orb.compute(grey, _strongest(orb.detect(grey, None), shape))
    if not chosen:
        return Background(size, np.zeros((0, 2)), np.zeros((0, DESCRIPTOR_BYTES), np.uint8))
    points = (np.array([one.pt for one in chosen], np.float64) + 0.5) * (np.array(size) / shape)
    return Background(size, points, np.asarray(descriptors, np.uint8))


def carried(background: Background, seen: Background) -> Matrix | None:
    """Where a frame shows the background.

    Args:
        background: of a frame of the same size.
        seen: what the frame shows.

    Returns:
        float64 [3, 3], from pixels of the background to those of the frame, the identity where it has stayed; None
        where too little of it is seen to say.
    """
    before, now = _pairs(background, seen)
    tolerance = STILL * max(background.size)
    matrix, agree = _transform(before, now, tolerance)
    stays = (np.hypot(*(now - before).T) <= tolerance) & ~agree
    if _is_enough(now[stays], background.size) and OUTVOTED * stays.sum() >= agree.sum():
        return np.eye(3)
    if matrix is None or not _is_enough(now[agree], background.size) or OUTVOTED * stays.sum() >= agree.sum():
        return None
    return matrix if _is_of_a_camera(matrix, background.size) else None


def _strongest(keypoints: Sequence[cv2.KeyPoint], shape: tuple[int, int]) -> list[cv2.KeyPoint]:
    """Of each cell."""
    left = np.full(CELLS, PER_CELL)
    chosen = []
    for one in sorted(keypoints, key=lambda k: -k.response):
        cell = (int(one.pt[0] * CELLS[0] / shape[0]), int(one.pt[1] * CELLS[1] / shape[1]))
        if left[cell]:
            left[cell] -= 1
            chosen.append(one)
    return chosen


def _pairs(background: Background, seen: Background) -> tuple[Points, Points]:
    """[n, 2] and [n, 2]: the same points in both."""
    if min(len(background.points), len(seen.points)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    two = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(background.descriptors, seen.descriptors, k=2)
    pairs = [(best.queryIdx, best.trainIdx) for best, second in two if best.distance < RATIO * second.distance]
    which = np.array(pairs, int).reshape(-1, 2)
    return background.points[which[:, 0]], seen.points[which[:, 1]]


def _transform(before: Points, now: Points, tolerance: float) -> tuple[Matrix | None, npt.NDArray[np.bool_]]:
    """What most pairs agree with, and which do."""
    if len(before) < MIN_PAIRS:
        return None, np.zeros(len(before), bool)
    matrix, inliers = cv2.findHomography(before, now, cv2.RANSAC, tolerance, maxIters=2000, confidence=0.999)
    return (None, np.zeros(len(before), bool)) if matrix is None else (np.asarray(matrix), inliers.ravel() > 0)


def _is_enough(points: Points, size: tuple[int, int]) -> bool:
    """Whether there are enough of them, two or more in each of enough parts of the picture."""
    if len(points) < MIN_PAIRS:
        return False
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=4, range=((0, size[0]), (0, size[1])))
    return int((counts >= 2).sum()) >= MIN_PARTS


def _is_of_a_camera(matrix: Matrix, size: tuple[int, int]) -> bool:
    """Whether two pictures of one camera may be related like this: neither mirrored nor squeezed."""
    width, height = size
    corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    shown = projected(matrix, corners)
    if not np.isfinite(shown).all():
        return False
    along, next_along = np.roll(shown, -1, axis=0) - shown, np.roll(shown, -2, axis=0) - np.roll(shown, -1, axis=0)
    turns = along[:, 0] * next_along[:, 1] - along[:, 1] * next_along[:, 0]
    area = cv2.contourArea(shown.astype(np.float32)) / (width * height)
    return bool((turns > 0).all() and 1 / MAX_ZOOM**2 < area < MAX_ZOOM**2)
