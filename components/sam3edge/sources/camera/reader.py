"""A thread that keeps up with a camera, so that the flow always gets its newest frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from sam3edge.core.backoff import Backoff
from sam3edge.core.types import RgbImage
from sam3edge.sources.camera.capture import Capture

logger = logging.getLogger(__name__)

_DAMAGED_IN_A_ROW = 25


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """uint8 [H, W, 3] RGB, and when it was grabbed, UTC."""

    image: RgbImage
    captured_at: datetime


class Newest:
    """Holds the newest picture between the thread that reads and the thread that takes.

    Args:
        period: least seconds between two pictures taken; 0 for no cap.

    Attributes:
        dropped: pictures that the camera gave and nobody took: overtaken by a newer one, or more often than ``period``.
    """

    def __init__(self, period: float) -> None:
        self.dropped = 0
        self._period = period
        self._wanted_at = float("-inf")
        self._picture: Picture | None = None
        self._changed = threading.Condition()

    def wants(self) -> bool:
        """Whether a picture grabbed now could be taken; counts it as dropped if not."""
        with self._changed:
            wanted = time.monotonic() >= self._wanted_at
            self.dropped += not wanted
            return wanted

    def put(self, picture: Picture) -> None:
        """Offer a picture, in place of the one before."""
        with self._changed:
            self.dropped += self._picture is not None
            self._picture = picture
            self._changed.notify()

    def take(self, timeout: float) -> Picture | None:
        """The newest picture that nobody took, waiting up to ``timeout`` seconds for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._picture is not None, timeout)
            picture, self._picture = self._picture, None
            if picture is not None:
                # Counting on from the last due time keeps the average rate when pictures come on a coarser grid.
                self._wanted_at = max(self._wanted_at, time.monotonic() - self._period / 2) + self._period
            return picture


class Reader:
    """Opens a camera, reads it into ``newest``, and opens it again when it is lost.

    Args:
        name: the camera, as it may be shown.
        opener: opens the camera; None when it does not answer.
        newest: where pictures go.
        backoff: waits between attempts.
        open_patience: seconds after which an attempt to open counts as hanging.
        read_patience: seconds after which a read counts as hanging.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Capture | None],
        newest: Newest,
        backoff: Backoff,
        *,
        open_patience: float,
        read_patience: float,
    ) -> None:
        self.connected = False
        self._name = name
        self._opener = opener
        self._newest = newest
        self._backoff = backoff
        self._open_patience = open_patience
        self._read_patience = read_patience
        self._back_by = float("inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)

    @property
    def hangs(self) -> bool:
        """Whether a call into the camera has not come back in time."""
        return time.monotonic() > self._back_by

    @property
    def alive(self) -> bool:
        """Whether the thread has not ended yet."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end. It does so, and releases the camera, when the call it is in comes back."""
        self._stop.set()
        self.connected = False

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._back_by = time.monotonic() + self._open_patience
            capture = self._opener()
            self._back_by = float("inf")
            if capture is not None:
                try:
                    self._read(capture)
                finally:
                    self._back_by = float("inf")
                    self.connected = False
                    capture.release()
            if not self._stop.is_set():
                delay = self._backoff.next()
                what = "cannot be opened" if capture is None else "was lost"
                logger.warning("Camera %s %s; trying again in %.1f s", self._name, what, delay)
                self._stop.wait(delay)

    def _read(self, capture: Capture) -> None:
        damaged = 0
        while damaged < _DAMAGED_IN_A_ROW:
            self._back_by = time.monotonic() + self._read_patience
            if not capture.grab() or self._stop.is_set():
                return
            captured_at = datetime.now(timezone.utc)
            if not self._newest.wants():
                continue
            image = capture.retrieve()
            if image is None:
                damaged += 1
                continue
            damaged = 0
            if not self.connected:
                logger.info("Camera %s gives %d x %d pixels", self._name, image.shape[1], image.shape[0])
                self.connected = True
                self._backoff.reset()
            self._newest.put(Picture(image, captured_at))
