"""OpenCV's video capture behind the few calls that the sources need."""

from __future__ import annotations

from typing import Protocol

import cv2

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import RgbImage
from sam3edge.sources.camera.address import Address

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
_NAMES = {cv2.CAP_V4L2: "V4L2", cv2.CAP_FFMPEG: "FFmpeg", cv2.CAP_GSTREAMER: "GStreamer"}


class Capture(Protocol):
    """An open camera or video file. Used by one thread."""

    @property
    def fps(self) -> float:
        """Frames per second as announced; 0 when unknown."""

    @property
    def position(self) -> float:
        """Seconds from the start of the file to the frame grabbed last; 0 when unknown."""

    def grab(self) -> bool:
        """Advance to the next frame, waiting for it; False when there is none or the camera was lost."""

    def retrieve(self) -> RgbImage | None:
        """The frame grabbed last, uint8 [H, W, 3] RGB; None when it was damaged."""

    def release(self) -> None:
        """Give the device back."""


class OpenCvCapture:
    """A ``Capture`` by OpenCV."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    @property
    def fps(self) -> float:
        return max(0.0, float(self._capture.get(cv2.CAP_PROP_FPS)))

    @property
    def position(self) -> float:
        return max(0.0, float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000)

    def grab(self) -> bool:
        return self._capture.grab()

    def retrieve(self) -> RgbImage | None:
        try:
            there, image = self._capture.retrieve()
            if not there or image is None or image.dtype != "uint8":
                return None
            return cv2.cvtColor(image, _TO_RGB[image.shape[2] if image.ndim == 3 else 1]).view("uint8")
        except (cv2.error, KeyError):
            return None

    def release(self) -> None:
        self._capture.release()


def require_backend(address: Address) -> None:
    """Check that this OpenCV can open such an address at all.

    Raises:
        SettingsError: it was built without what that takes.
    """
    if cv2.videoio_registry.hasBackend(address.backend):
        return
    remedy = (
        "the wheels from PyPI never have it: install the OpenCV of the platform (on a Jetson the one that comes with "
        "JetPack, elsewhere the package python3-opencv), or build OpenCV with -D WITH_GSTREAMER=ON"
        if address.backend == cv2.CAP_GSTREAMER
        else "install opencv-python-headless"
    )
    raise SettingsError(f"{address.shown} needs OpenCV with {_NAMES[address.backend]}, which this one lacks; {remedy}")


def open_capture(
    address: Address,
    *,
    open_timeout: float,
    read_timeout: float,
    width: int | None = None,
    height: int | None = None,
) -> OpenCvCapture | None:
    """Open a camera or file; None when it does not answer or is not a video.

    Args:
        address: what to open.
        open_timeout: seconds; V4L2 has no such limit.
        read_timeout: seconds; V4L2 has its own, of 10.
        width: pixels to ask a V4L2 device for.
        height: pixels to ask a V4L2 device for.
    """
    limits = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(open_timeout * 1000)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(read_timeout * 1000)),
    ]
    try:
        capture = cv2.VideoCapture(address.target, address.backend, [] if address.backend == cv2.CAP_V4L2 else limits)
    except cv2.error:
        return None
    if not capture.isOpened():
        capture.release()
        return None
    if address.backend == cv2.CAP_V4L2:
        for setting, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            if value is not None:
                capture.set(setting, value)
    return OpenCvCapture(capture)
