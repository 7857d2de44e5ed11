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

STAYED_AREA, MOVED_AREA = 1 / 6, 1 / 3
"""Of the picture, over which pairs must be spread: what moves before the camera covers less than the second."""

NEARLY_ALL = 0.9

STILL = 3 / SIDE
"""Share of the longer side within which a point is where it was: vibration and rolling shutters."""

OUTVOTED = 3
"""Where some pairs agree that the background is elsewhere and others stay in place, it has stayed unless the first are
more by this factor; neither is sure where those that stay are few or in a corner, as words that a camera writes."""

RIM = 31
"""Pixels around what is looked at in which there are no key points, for want of a neighbourhood."""

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
        return len(self.points) >= MIN_RECOGNISABLE and _is_enough(self.points, MOVED_AREA, self.size)


def background_of(image: RgbImage, size: tuple[int, int]) -> Background:
    """The background that a frame shows, with what moves in front of it.

    Args:
        image: of all of the frame.
        size: width and height of the frame, pixels; the image may have fewer.
    """
    smaller = min(1.0, SIDE / max(image.shape[:2]))
    shape = (max(1, round(image.shape[1] * smaller)), max(1, round(image.shape[0] * smaller)))
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), shape, interpolation=cv2.INTER_AREA)
    nothing = Background(size, np.zeros((0, 2)), np.zeros((0, DESCRIPTOR_BYTES), np.uint8))
    if min(shape) <= 2 * RIM:
        return nothing
    orb = cv2.ORB.create(nfeatures=CANDIDATES, fastThreshold=8, edgeThreshold=RIM)
    chosen, descriptors = orb.compute(grey, _strongest(orb.detect(grey, None), shape))
    if not chosen:
        return nothing
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
    still = np.hypot(*(now - before).T) <= tolerance
    if (agree & still).sum() >= NEARLY_ALL * agree.sum():  # that is what they agree on
        agree = np.zeros(len(before), bool)
    stays = still & ~agree
    if _is_enough(now[stays], STAYED_AREA, background.size) and OUTVOTED * stays.sum() >= agree.sum():
        return np.eye(3)
    is_elsewhere = _is_enough(now[agree], MOVED_AREA, background.size) and agree.sum() > OUTVOTED * stays.sum()
    return matrix if matrix is not None and is_elsewhere and _is_of_a_camera(matrix, background.size) else None


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


def _is_enough(points: Points, share: float, size: tuple[int, int]) -> bool:
    """Whether there are enough of them, with this share of the picture between them; one that is alone in its part of
    the picture, of which there are 16, does not count."""
    parts = np.minimum(points * 4 / size, 3).astype(int) @ (1, 4)
    company = points[np.bincount(parts, minlength=16)[parts] > 1]
    if len(company) < MIN_PAIRS:
        return False
    return bool(cv2.contourArea(cv2.convexHull(company.astype(np.float32))) >= share * size[0] * size[1])


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
