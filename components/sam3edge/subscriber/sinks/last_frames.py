"""The last state of every camera, as one GeoJSON document for maps."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge.core.messages.envelope import to_json
from sam3edge.core.messages.topics import DETECTIONS
from sam3edge.subscriber.names import camera_id
from sam3edge.subscriber.reading import DeviceMessage, moment
from sam3edge.subscriber.sinks.files import prepare, save

logger = logging.getLogger(__name__)

MAX_CAMERAS = 1000
"""Of more, those that were heard of longest ago are left out."""

SETTLED_SECONDS = 60.0
"""A frame that is older than the one before is a late repetition of a device that was offline, if it comes within so
long; later than that, the device's clock was set back."""

_PIXELS = frozenset({"imageGeometry", "imageBBox", "featureClasses", "modelMetadata"})
"""Properties of features that mean nothing on a map."""


@dataclass(frozen=True, slots=True)
class Document:
    """GeoJSON, and a name for exactly this content (an ETag without its quotes)."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class _Last:
    made_at: datetime
    heard_at: float
    features: tuple[Mapping[str, Any], ...]


class LastFrames:
    """Features with a place on Earth of the last frame of each camera. ``document`` may be asked from any thread.

    Args:
        folder: where the last frames are kept for the next start; None to begin with nothing.
        clock: seconds, monotonic.

    Raises:
        SettingsError: the folder cannot be made or read.
    """

    topics: Mapping[str, int] = {DETECTIONS: 1}

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder if folder is None else prepare(folder)
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras: dict[str, _Last] = {}
        self._document: Document | None = None
        if self._folder is not None:
            self._restore(self._folder)

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``."""
        changed: dict[str, DeviceMessage] = {}
        for message in messages:
            if message["message_type"] == "detections" and self._is_news(message):
                camera = camera_id(message["device"], message["source"])
                changed[camera] = message
                self._remember(camera, message)
        if self._folder is not None:
            for camera, message in changed.items():
                save(self._folder / f"{camera}.json", to_json(message))

    def document(self) -> Document:
        """A FeatureCollection as it is now, with ``device``, ``source``, ``frame`` and ``captured_at`` in the features'
        properties."""
        with self._lock:
            if self._document is None:
                features = [feature for last in self._cameras.values() for feature in last.features]
                body = to_json({"type": "FeatureCollection", "features": features})
                self._document = Document(body, hashlib.sha256(body).hexdigest()[:32])
            return self._document

    def close(self) -> None:
        """Nothing is open."""

    def _is_news(self, message: DeviceMessage) -> bool:
        last = self._cameras.get(camera_id(message["device"], message["source"]))
        if last is None or moment(message["time"]) >= last.made_at:
            return True
        return self._clock() - last.heard_at > SETTLED_SECONDS

    def _remember(self, camera: str, message: DeviceMessage) -> None:
        last = _Last(moment(message["time"]), self._clock(), tuple(_map_features(message)))
        with self._lock:
            self._cameras.pop(camera, None)
            self._cameras[camera] = last
            gone = next(iter(self._cameras)) if len(self._cameras) > MAX_CAMERAS else ""
            self._cameras.pop(gone, None)
            self._document = None
        if gone and self._folder is not None:
            (self._folder / f"{gone}.json").unlink(missing_ok=True)

    def _restore(self, folder: Path) -> None:
        try:
            files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in files:
                self._remember(path.stem, json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"expected the last frames of cameras in {folder}, got {type(error).__name__}: {error}; delete it"
            ) from error


def _map_features(message: DeviceMessage) -> list[Mapping[str, Any]]:
    about = {
        "device": message["device"],
        "source": message["source"],
        "frame": message["frame"]["name"],
        "captured_at": message["frame"]["captured_at"],
    }
    return [
        {**feature, "properties": {**_plain(feature["properties"]), **about}}
        for feature in message["features"]
        if feature["geometry"] is not None
    ]


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in _PIXELS}
