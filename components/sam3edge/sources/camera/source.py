"""Cameras: USB and CSI devices, network streams, and video files in their place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.ports import EndOfSource, SourceTraits
from sam3edge.core.types import Frame
from sam3edge.sources.camera.address import Address, parse_address
from sam3edge.sources.camera.capture import Capture, open_capture, require_backend
from sam3edge.sources.camera.frames import FrameSequence
from sam3edge.sources.camera.reader import Newest, Reader
from sam3edge.sources.camera.video import PacedVideoSource, VideoSource

logger = logging.getLogger(__name__)

_PATIENCE = 3
"""Times the time limit after which a call counts as hanging. OpenCV keeps the limits itself where its backend can."""

_MAX_ABANDONED = 3
_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """A camera or video file.

    Attributes:
        uri: a device index (``0``) or path (``/dev/video0``); ``rtsp://`` or ``rtsps://``; ``http://`` or ``https://``
            (MJPEG); the path or ``file://`` of a video; ``gst:`` and a GStreamer pipeline that ends in ``appsink``
            (Jetson CSI). May hold a password, so it is left out of the repr and never logged whole.
        source_id: ``Frame.source``.
        max_fps: frames are delivered at most this often; 0 for no cap. Does not apply to files read frame by frame.
        width: pixels to ask a device for; what it gives by itself when None. Streams and pipelines ignore it.
        height: pixels to ask a device for, likewise.
        realtime: for video files only: True runs the file at its own speed and drops what is not fetched in time,
            False delivers every frame.
        open_timeout: seconds to wait for a stream to open.
        read_timeout: seconds to wait for a frame before the camera counts as lost and is opened again.
        reconnect_shortest: seconds before the first attempt to open a lost camera again, with up to half of it taken
            off at random; doubles with each attempt.
        reconnect_longest: seconds at which the doubling stops.
    """

    uri: str = field(repr=False)
    source_id: str = "camera"
    max_fps: float = 0.0
    width: int | None = None
    height: int | None = None
    realtime: bool = False
    open_timeout: float = 10.0
    read_timeout: float = 5.0
    reconnect_shortest: float = 0.5
    reconnect_longest: float = 30.0

    def __post_init__(self) -> None:
        if self.max_fps < 0:
            raise SettingsError(f"max_fps must be at least 0, got {self.max_fps}")
        for name in ("open_timeout", "read_timeout", "reconnect_shortest", "reconnect_longest"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be more than 0 seconds, got {getattr(self, name)}")


def open_camera(options: CameraOptions) -> CameraSource | VideoSource:
    """The source for a camera's URI.

    A camera that does not answer is not an error: it may be switched on later.

    Raises:
        SettingsError: the URI is not understood, or names a file that is missing or that this OpenCV cannot open.
    """
    address = parse_address(options.uri)
    require_backend(address)

    def opener() -> Capture | None:
        return open_capture(
            address,
            open_timeout=options.open_timeout,
            read_timeout=options.read_timeout,
            width=options.width,
            height=options.height,
        )

    if address.file is None:
        return CameraSource(options, address, opener)
    capture = opener()
    if capture is None:
        raise SettingsError(f"{address.shown} is not a video that OpenCV can read")
    if options.realtime:
        return PacedVideoSource(address.file, capture, options.source_id, options.max_fps)
    return VideoSource(address.file, capture, options.source_id)


class CameraSource:
    """A ``Source`` of the newest frame of a live camera.

    Args:
        options: see ``CameraOptions``.
        address: the parsed ``options.uri``.
        opener: opens the camera; None when it does not answer.
    """

    def __init__(self, options: CameraOptions, address: Address, opener: Callable[[], Capture | None]) -> None:
        self._options = options
        self._shown = address.shown
        self._opener = opener
        self._frames = FrameSequence(options.source_id)
        self._newest = Newest(1 / options.max_fps if options.max_fps else 0.0)
        self._abandoned: list[Reader] = []
        self._closed = False
        self._reader = self._start_reader()

    @property
    def dropped(self) -> int:
        """Frames that the camera gave and ``next`` never delivered: overtaken, or more often than ``max_fps``."""
        return self._newest.dropped

    @property
    def connected(self) -> bool:
        """Whether the camera gives frames at present."""
        return self._reader.connected

    @property
    def traits(self) -> SourceTraits:
        """Its frames pass by."""
        return SourceTraits(waits=False)

    @property
    def backlog(self) -> int:
        """0: frames that are not fetched in time are dropped."""
        return 0

    @property
    def unfinished(self) -> int:
        """0: nothing is seen before it is whole."""
        return 0

    def next(self, timeout: float) -> Frame | None:
        """The newest frame not yet delivered; see ``Source.next``."""
        deadline = time.monotonic() + timeout
        while not self._closed:
            self._replace_hanging_reader()
            remaining = deadline - time.monotonic()
            picture = self._newest.take(min(max(remaining, 0.0), _LOOK_EVERY))
            if picture is not None:
                return self._frames.frame(picture.image, picture.captured_at)
            if remaining <= 0:
                return None
        raise EndOfSource

    def done(self, frame: Frame) -> None:
        """Nothing: a camera does not repeat itself."""

    def reject(self, error: FrameError) -> None:
        """Nothing but a line in the log: the picture has gone."""
        logger.warning("Frame %s of camera %s was rejected: %s", error.name, self._shown, error)

    def close(self) -> None:
        """Stop reading and release the camera; see ``Source.close``."""
        if self._closed:
            return
        self._closed = True
        self._reader.stop()
        self._reader.join(self._options.read_timeout)
        if self._reader.alive:
            logger.warning("Camera %s does not come back; it is released when it does", self._shown)

    def _replace_hanging_reader(self) -> None:
        """Open the camera again beside a call that never came back; it cannot be interrupted, only left behind."""
        if not self._reader.hangs:
            return
        self._abandoned = [reader for reader in self._abandoned if reader.alive]
        if len(self._abandoned) >= _MAX_ABANDONED:
            return
        logger.error("Camera %s hangs; opening it again", self._shown)
        self._reader.stop()
        self._abandoned.append(self._reader)
        self._reader = self._start_reader()

    def _start_reader(self) -> Reader:
        reader = Reader(
            self._shown,
            self._opener,
            self._newest,
            Backoff(self._options.reconnect_shortest, self._options.reconnect_longest),
            open_patience=_PATIENCE * self._options.open_timeout,
            read_patience=_PATIENCE * self._options.read_timeout,
        )
        reader.start()
        return reader
