"""Video files as sources."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sam3edge.core.errors import FrameError
from sam3edge.core.ports import EndOfSource, SourceTraits
from sam3edge.core.types import Frame
from sam3edge.sources.camera.capture import Capture
from sam3edge.sources.camera.frames import FrameSequence

logger = logging.getLogger(__name__)

_USUAL_FPS = 25.0


class VideoSource:
    """Every frame of a video file, in order, as fast as they are asked for; then the source ends.

    ``captured_at`` is the file's modification time plus the position in the file.

    Args:
        path: the file, for its time and for messages.
        capture: the open file; closed with the source.
        source_id: ``Frame.source``.

    Attributes:
        dropped: frames that were never delivered, because they could not be decoded.
    """

    def __init__(self, path: Path, capture: Capture, source_id: str) -> None:
        self.dropped = 0
        self._path = path
        self._capture: Capture | None = capture
        self._frames = FrameSequence(source_id)
        self._fps = capture.fps or _USUAL_FPS
        self._grabbed = 0
        self._begin = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)

    @property
    def traits(self) -> SourceTraits:
        """Its frames wait in the file."""
        return SourceTraits(waits=True)

    @property
    def backlog(self) -> int:
        """0: how many are left is not known."""
        return 0

    @property
    def unfinished(self) -> int:
        """0: nothing is seen before it is whole."""
        return 0

    def next(self, timeout: float) -> Frame | None:
        """The next frame; see ``Source.next``."""
        while True:
            position = self._grab()
            image = self._opened().retrieve()
            if image is not None:
                return self._frames.frame(image, self._begin + timedelta(seconds=position))
            self.dropped += 1

    def done(self, frame: Frame) -> None:
        """Nothing: a restart begins the file again."""

    def reject(self, error: FrameError) -> None:
        """Nothing but a line in the log: a frame cannot be put away."""
        logger.warning("Frame %s of %s was rejected: %s", error.name, self._path, error)

    def close(self) -> None:
        """Close the file; see ``Source.close``."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _opened(self) -> Capture:
        if self._capture is None:
            raise EndOfSource
        return self._capture

    def _grab(self) -> float:
        """Advance by one frame: its position in seconds. Formats without positions are counted at their rate."""
        capture = self._opened()
        if not capture.grab():
            self.close()
            raise EndOfSource
        position = capture.position or self._grabbed / self._fps
        self._grabbed += 1
        return position


class PacedVideoSource(VideoSource):
    """A video file that behaves like a camera: it runs at its own speed, and who comes late misses frames.

    ``captured_at`` is the time of day. The file begins to run at the first ``next``.

    Args:
        path: as for ``VideoSource``.
        capture: as for ``VideoSource``.
        source_id: as for ``VideoSource``.
        max_fps: frames are delivered at most this often; 0 for no cap.

    Attributes:
        dropped: frames that were never delivered: missed, more often than ``max_fps``, or damaged.
    """

    def __init__(self, path: Path, capture: Capture, source_id: str, max_fps: float) -> None:
        super().__init__(path, capture, source_id)
        self._period = 1 / max_fps if max_fps else 0.0
        self._wanted_from = 0.0
        self._started: float | None = None
        self._waiting: float | None = None

    @property
    def traits(self) -> SourceTraits:
        """Its frames pass by."""
        return SourceTraits(waits=False)

    def next(self, timeout: float) -> Frame | None:
        """The frame whose time has come; see ``Source.next``."""
        deadline = time.monotonic() + timeout
        if self._started is None:
            self._started = time.monotonic()
        while True:
            if self._waiting is None:
                self._waiting = self._grab()
            position = self._waiting
            due = self._started + position
            if due > deadline:
                time.sleep(max(0.0, deadline - time.monotonic()))
                return None
            time.sleep(max(0.0, due - time.monotonic()))
            self._waiting = None
            overtaken = position + 1 / self._fps <= time.monotonic() - self._started
            image = None if overtaken or position < self._wanted_from else self._opened().retrieve()
            if image is not None:
                self._wanted_from = max(self._wanted_from, position - self._period / 2) + self._period
                return self._frames.frame(image, datetime.now(timezone.utc))
            self.dropped += 1
            if time.monotonic() >= deadline:
                return None
