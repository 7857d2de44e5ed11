"""Frames with what was found in them, where their images are at hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.messages.topics import DETECTIONS
from sam3edge.images.digests import FileDigests
from sam3edge.images.files import read_frame
from sam3edge.images.overlay import draw_overlay
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.names import one_line
from sam3edge.subscriber.reading import MAX_COMPLAINT, DeviceMessage
from sam3edge.subscriber.sinks.files import frame_path, require_folder, save

logger = logging.getLogger(__name__)


class Overlays:
    """PNG files, called as ``GeoJsonFiles`` calls those of the same frames.

    Args:
        folder: it is made with its first file.
        images: folder in which the images have the names of the frames. One whose bytes are not those that the device
            saw is not drawn on.

    Raises:
        SettingsError: ``images`` is not a folder, or ``folder`` cannot be made.
    """

    topics: Mapping[str, int] = {DETECTIONS: 1}

    def __init__(self, folder: Path, images: Path) -> None:
        if not images.is_dir():
            raise SettingsError(f"expected a folder of images, got {images}")
        self._images = images.resolve()
        self._digests = FileDigests()
        self._complaints = Complaints(logger)
        self._folder = require_folder(folder)

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``. An image that is not there, or is not usable, is reported and left out."""
        for message in messages:
            if message["message_type"] == "detections":
                try:
                    drawn = self._draw(message)
                except FrameError as error:
                    reason = one_line(str(error), MAX_COMPLAINT)
                    self._complaints.say("no overlay of %.200r: %s", message["frame"]["name"], reason)
                else:
                    save(self._folder / frame_path(message, ".png"), drawn)
        self._complaints.report()

    def close(self) -> None:
        """Nothing is open."""

    def _draw(self, message: DeviceMessage) -> bytes:
        name = message["frame"]["name"]
        try:
            path = (self._images / name).resolve()
            inside = path.is_relative_to(self._images)
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links
            raise FrameError("expected the name of a file", frame_id="", name=name) from error
        if not inside:
            raise FrameError("expected a name in the folder of images", frame_id="", name=name)
        seen = message["frame"]["digest"]
        if self._digests.of(path) != seen or (frame := read_frame(path)).digest != seen:
            raise FrameError("expected the image that the device saw, got another one", frame_id="", name=name)
        labels = [prompt["label"] for prompt in message["prompts"]]
        picture = np.ascontiguousarray(frame.image[..., ::-1])
        return cv2.imencode(".png", draw_overlay(picture, message["features"], labels))[1].tobytes()
