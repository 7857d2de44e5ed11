"""What the component says of itself: counters, the heartbeat, and the snapshot that somebody asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.messages.bounds import reason_of
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.snapshots import snapshot, snapshot_room
from sam3edge.core.messages.status import Counters, Counts
from sam3edge.core.types import Frame, Message
from sam3edge.images.jpeg import JpegError, picture_of

logger = logging.getLogger(__name__)

RATE_WINDOW = 60.0
"""Seconds over which frames a second are counted."""

SNAPSHOT_SIDE = 1280
"""Pixels of the longer side of a snapshot, at most."""

SNAPSHOT_QUALITY = 80


class Statistics:
    """Counts what the flow does, and keeps what the next snapshot needs. Read by the heartbeat's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=10_000)
        self._counts: Counts = {"frames": 0, "instances": 0, "messages": 0, "rejected": 0, "unchanged": 0}
        self._last_error = ""
        self._wanted: list[Callable[[FrameResult], None]] = []

    def detected(self, result: FrameResult, messages: int) -> None:
        """Count a frame; serve those who asked for a snapshot of the next one."""
        with self._lock:
            self._recent.append(self._clock())
            self._counts["frames"] += 1
            self._counts["instances"] += len(result.detections)
            self._counts["messages"] += messages
            wanted, self._wanted = self._wanted, []
        found = len(result.detections)
        total = sum(result.timing.values())
        logger.info("answered %s: %d found, %.0f ms", result.frame.name, found, total, extra={"frame": result.frame.id})
        for serve in wanted:
            serve(result)

    def rejected(self, error: FrameError) -> None:
        """Count a frame that could not be used."""
        with self._lock:
            self._counts["rejected"] += 1
        self.failed(error)
        logger.warning("rejected %s: %s", error.name, error, extra={"frame": error.frame_id})

    def unchanged(self, frame: Frame) -> None:
        """Count a frame that the gate held back."""
        with self._lock:
            self._counts["unchanged"] += 1

    def failed(self, error: Exception) -> None:
        """Remember the last error."""
        with self._lock:
            self._last_error = reason_of(error)

    def request_snapshot(self, serve: Callable[[FrameResult], None]) -> None:
        """Have ``serve`` called once, with the next answer."""
        with self._lock:
            self._wanted.append(serve)

    def report(self) -> Counters:
        """Counters since the start, frames a second over the last minute, seconds of uptime, last error."""
        moment = self._clock()
        with self._lock:
            span = min(RATE_WINDOW, max(1.0, moment - self._started))
            frames = sum(1 for at in self._recent if at > moment - RATE_WINDOW)
            return {
                "uptime_s": round(moment - self._started, 1),
                "counts": self._counts.copy(),
                "frames_per_second": round(frames / span, 3),
                "last_error": self._last_error,
            }


def snapshot_of(frame: Frame, device: str, topic: str, request: str, max_bytes: int) -> Message:
    """The frame as a JPEG that fits into one message.

    Args:
        request: id of the command that asked for it.
        max_bytes: largest payload of the transport.

    Raises:
        SettingsError: not even a thumbnail fits.
    """
    room = snapshot_room(device, request, frame, max_bytes)
    try:
        image = picture_of(frame, SNAPSHOT_SIDE, room, SNAPSHOT_QUALITY)
    except JpegError as error:
        raise SettingsError(f"no snapshot fits into {max_bytes} bytes: {error}; raise MaxPayloadBytes") from error
    return snapshot(device, topic, request, frame, image.jpeg, image.width, image.height)
