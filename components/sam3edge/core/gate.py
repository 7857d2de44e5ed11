"""Which frames are worth the model's time.

A camera that looks at a still scene gives the same image again and again. ``ChangeGate`` lets through those that
differ; ``OpenGate`` lets through all of them, for folders, where every file was put there on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import SettingsError
from sam3edge.core.types import Frame, RgbImage

_Thumbnail = npt.NDArray[np.float32]
"""float32 [h, w, 3], RGB, 0..255, blurred; the longer side is at most ``_MAX_SIDE``."""

_Channel = npt.NDArray[np.float32]
"""float32 [h, w] or, where pixels were left out, [n]: one channel of a thumbnail."""

_MAX_SIDE = 256
_BLUR = (7, 7)
_GAINS = (0.5, 2.0)
_MAX_OFFSET = 64.0
_FITS = 3


class Gate(Protocol):
    """Decides, frame by frame and in the order of capture, what is segmented. Used by one thread."""

    def admit(self, frame: Frame) -> bool:
        """Whether this frame is to be segmented; remembers it when it is."""


@dataclass(frozen=True, slots=True)
class ChangeGateOptions:
    """What counts as a change.

    Attributes:
        delta: a thumbnail pixel has changed when one of its channels differs by more than this, 0..255, after the
            light of the whole image has been allowed for.
        fraction: the frame has changed when more than this share of its pixels has, 0..1. The default is a square
            of about 30 pixels in a frame of 1280 x 720.
        max_interval: seconds, by the time of capture, after which a frame is admitted even if nothing has changed.
    """

    delta: float = 12.0
    fraction: float = 0.001
    max_interval: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < 255:
            raise SettingsError(f"delta must be between 0 and 255, got {self.delta}")
        if not 0 <= self.fraction < 1:
            raise SettingsError(f"fraction must be at least 0 and less than 1, got {self.fraction}")
        if not self.max_interval > 0:
            raise SettingsError(f"max_interval must be more than 0 seconds, got {self.max_interval}")


class OpenGate:
    """Admits every frame."""

    def admit(self, frame: Frame) -> bool:
        """True."""
        return True


class ChangeGate:
    """Admits the frames that differ from the last one it admitted.

    Comparing with the last *admitted* frame, not with the last one seen, makes slow movement add up until it is
    noticed. Frames are compared as small blurred thumbnails, which averages sensor noise away; in colour, since a red
    fruit can be as bright as its green leaves. A change of the light over the whole image, or of the white balance,
    is fitted as ``gain * reference + offset`` by channel and subtracted; pixels that do not follow the fit are left out
    of the next one, so that an object which enters does not pass for a change of the light. Gain and offset are
    bounded: an image that went black is a change.
    """

    def __init__(self, options: ChangeGateOptions | None = None) -> None:
        self._options = options or ChangeGateOptions()
        self._reference: _Thumbnail | None = None
        self._frame_shape: tuple[int, ...] = ()
        self._admitted_at: datetime | None = None

    def admit(self, frame: Frame) -> bool:
        """Whether the frame has changed, has another size, or comes ``max_interval`` after the last one admitted."""
        thumbnail = _thumbnail(frame.image)
        if not self._is_due(frame) and not self._has_changed(frame, thumbnail):
            return False
        self._reference = thumbnail
        self._frame_shape = frame.image.shape
        self._admitted_at = frame.captured_at
        return True

    def _is_due(self, frame: Frame) -> bool:
        if self._admitted_at is None:
            return True
        elapsed = frame.captured_at - self._admitted_at
        clock_was_set_back = elapsed < timedelta(0)
        return clock_was_set_back or elapsed >= timedelta(seconds=self._options.max_interval)

    def _has_changed(self, frame: Frame, thumbnail: _Thumbnail) -> bool:
        if self._reference is None or frame.image.shape != self._frame_shape:
            return True
        by_channel = (
            _unexplained(self._reference[..., channel], thumbnail[..., channel], self._options.delta)
            for channel in range(3)
        )
        return float(np.any(list(by_channel), axis=0).mean()) > self._options.fraction


def _thumbnail(image: RgbImage) -> _Thumbnail:
    height, width = image.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, _BLUR, 0).astype(np.float32)


def _unexplained(reference: _Channel, current: _Channel, delta: float) -> npt.NDArray[np.bool_]:
    """bool [h, w]: pixels that differ by more than ``delta`` from the reference in the current light."""
    unchanged = np.ones(reference.shape, dtype=np.bool_)
    for _ in range(_FITS):
        before, now = reference[unchanged], current[unchanged]
        if before.size == 0:
            break
        gain = _gain(before, now)
        offset = float(np.clip(now.mean() - gain * before.mean(), -_MAX_OFFSET, _MAX_OFFSET))
        unchanged = np.abs(current - (gain * reference + offset)) <= delta
    return ~unchanged


def _gain(before: _Channel, now: _Channel) -> float:
    """The slope of the least-squares line through the levels; 1 when the image has no contrast to fit."""
    centred = before - before.mean()
    variance = float((centred * centred).mean())
    if variance < 1.0:
        return 1.0
    covariance = float((centred * (now - now.mean())).mean())
    return float(np.clip(covariance / variance, *_GAINS))
