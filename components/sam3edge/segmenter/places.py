"""Where on Earth the segmenter's frames are, as configured at present, and how that goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sam3edge.core.errors import GeoreferenceError, SettingsError
from sam3edge.core.georeference import Georeferencing
from sam3edge.core.messages.envelope import timestamp
from sam3edge.core.messages.status import GeoreferenceMember
from sam3edge.core.stages import DetectionStage
from sam3edge.core.types import Detections, Frame
from sam3edge.segmenter.georeferences import GeoreferenceSettings
from sam3edge.segmenter.settings import Settings
from sam3edge.segmenter.sources import SourceSettings

REPORT_PAUSE = 60.0
"""Seconds between two reports of frames without a place; ``status`` counts all of them."""


class Places:
    """A ``DetectionStage`` that another configuration exchanges between two frames.

    Args:
        report: is told why frames have no place: when that begins, and when the reason changes, at most once in
            ``REPORT_PAUSE``.
        clock: seconds, monotonic.
    """

    def __init__(self, report: Callable[[Exception], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._lock = threading.Lock()
        self._used: tuple[GeoreferenceSettings, SourceSettings] | None = None
        self._georeferencing: Georeferencing | None = None
        self._stage: DetectionStage | None = None
        self._located = self._unlocated = 0
        self._reason = ""
        self._is_news, self._reported_at = False, float("-inf")

    def use(self, settings: Settings) -> None:
        """Take a configuration over, from the next frame on.

        Raises:
            SettingsError: it cannot be carried out; the one before stays.
        """
        keys = settings.georeference
        if self._used == (keys, settings.source):
            return
        try:
            georeferencing = keys.build(settings.source, self._report)
            stage: DetectionStage | None = None
            if georeferencing is not None:
                from sam3edge.geo.stage import Locate

                stage = Locate(georeferencing, self._note)
        except ImportError as error:
            raise SettingsError(
                f"Georeference.Type: {keys.type} needs rasterio and pyproj, which this device lacks: {error}; set "
                "Install.Packages to 'rasterio pyproj'"
            ) from error
        except GeoreferenceError as error:
            raise SettingsError(f"Georeference: {error}") from error
        with self._lock:
            self._used, self._georeferencing = (keys, settings.source), georeferencing
            self._stage, self._reason = stage, ""
            self._is_news, self._reported_at = False, float("-inf")

    def __call__(self, frame: Frame, detections: Detections) -> Detections:
        """See ``DetectionStage``."""
        stage = self._stage
        return detections if stage is None else stage(frame, detections)

    def status(self) -> GeoreferenceMember | None:
        """For the heartbeat; None where nothing is configured."""
        with self._lock:
            if self._used is None or self._georeferencing is None:
                return None
            member: GeoreferenceMember = {
                "type": self._used[0].type,
                "state": "pixels" if self._reason else "located",
                "reason": self._reason,
                "located": self._located,
                "unlocated": self._unlocated,
            }
            background = self._georeferencing.background
        if background is not None:
            member["background"] = {"state": background.state, "since": timestamp(background.since)}
        return member

    def _note(self, error: GeoreferenceError | None) -> None:
        """Count a frame, and tell why it has no place: every folder's image may have a reason of its own."""
        with self._lock:
            if error is None:
                self._located += 1
                self._reason = ""
                return
            self._unlocated += 1
            self._is_news |= str(error) != self._reason
            self._reason = str(error)
            due = self._is_news and self._clock() >= self._reported_at + REPORT_PAUSE
            if due:
                self._is_news, self._reported_at = False, self._clock()
        if due:
            self._report(error)
