"""Whether a calibrated camera still looks where it looked when it was calibrated."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import BackgroundState, BackgroundStatus, Georeference, Points
from sam3edge.core.types import Frame
from sam3edge.geo.background import STILL, Background, background_of, carried
from sam3edge.geo.camera import Matrix, projected
from sam3edge.geo.places import ELLIPSOID

CHECK_SECONDS = 10.0
"""Between two frames that are compared with the background; the first one is."""

MOVED_CHECKS = 3
"""In a row, so that a gust or a hand before the camera changes nothing."""

MOVED_SHARE = 0.1
"""Of the ground in the picture: a camera has moved where more than this is placed farther off than stated, which is for
95 of 100 cases."""

GRID = (16, 12)


class BackgroundWatch:
    """Compares frames with the background, now and then. Used by one thread, but for ``status``.

    A camera has moved where the background is seen elsewhere, by so much that places are farther off than their stated
    accuracy, in several checks in a row. Where it is not seen (night, fog, something before the lens) nothing changes.

    Args:
        background: of the calibrated camera.
        georeference: which the camera has as long as it has not moved.
        name: of the calibration.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        background: Background,
        georeference: Georeference,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._background, self._georeference, self._name, self._clock = background, georeference, name, clock
        self._due, self._strikes, self._reason = float("-inf"), 0, ""
        self.status = BackgroundStatus("unconfirmed", _now())

    def require_unmoved(self, frame: Frame) -> None:
        """Compare the frame, if it is time to, and refuse to place it while the camera looks elsewhere.

        Args:
            frame: of the calibrated camera, in its size.

        Raises:
            GeoreferenceError: the camera was turned or moved.
        """
        now = self._clock()
        if now >= self._due:
            self._due = now + CHECK_SECONDS
            self._check(frame)
        if self._reason:
            raise GeoreferenceError(self._reason)

    def _check(self, frame: Frame) -> None:
        matrix = carried(self._background, background_of(frame.image, self._background.size))
        if matrix is None:
            self._enter("moved" if self._reason else "unconfirmed")
            return
        shift, share = self._error(matrix)
        if share <= MOVED_SHARE:
            self._strikes, self._reason = 0, ""
            self._enter("confirmed")
            return
        self._strikes += 1
        if self._strikes >= MOVED_CHECKS and not self._reason:
            self._reason = (
                f"the camera was turned or moved since the calibration {self._name}: what it saw is {shift:.0f} pixels "
                "from where it was; turn it back, or calibrate it again"
            )
        self._enter("moved" if self._reason else "unconfirmed")

    def _error(self, matrix: Matrix) -> tuple[float, float]:
        """Pixels between where the background was and is (median), and the share of the ground that is placed farther
        off than stated because of it."""
        shown = _grid(self._georeference)
        before = projected(np.asarray(np.linalg.inv(matrix), np.float64), shown)
        pixels = np.nan_to_num(np.hypot(*(shown - before).T), nan=np.inf)
        given, true = self._georeference.to_world(shown), self._georeference.to_world(before)
        on_ground = np.isfinite(given).all(axis=1)
        if not on_ground.any():
            return float(np.median(pixels)), 0.0
        _, _, metres = ELLIPSOID.inv(*given[on_ground].T, *true[on_ground].T)
        off = np.where(np.isfinite(metres), metres, np.inf) > self._georeference.accuracy(shown[on_ground])
        beyond = off & (pixels[on_ground] > STILL * max(self._background.size))
        return float(np.median(pixels)), float(beyond.mean())

    def _enter(self, state: BackgroundState) -> None:
        if state != self.status.state:
            self.status = BackgroundStatus(state, _now())


def _grid(georeference: Georeference) -> Points:
    """Pixels all over the frame."""
    width, height = georeference.size
    x, y = (np.arange(n) + 0.5 for n in GRID)
    return np.stack(np.meshgrid(x * width / GRID[0], y * height / GRID[1]), -1).reshape(-1, 2)


def _now() -> datetime:
    return datetime.now(timezone.utc)
