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
from sam3edge.subscriber.cameras import Camera, Cameras, Room
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.names import camera_id
from sam3edge.subscriber.reading import DeviceMessage, moment
from sam3edge.subscriber.sinks.files import require_folder, save

logger = logging.getLogger(__name__)

ROOM = Room(cameras=1000, total_bytes=32 << 20, device_bytes=4 << 20)
"""For features as GeoJSON; the document is as large, at most."""

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
    """``features`` are members of a JSON array."""

    made_at: datetime
    heard_at: float
    features: bytes


class LastFrames:
    """Features with a place on Earth of the last frame of each camera. ``document`` may be asked from any thread.

    Args:
        folder: where the last frames are kept for the next start; None to begin with nothing.
        room: for all of them; what alone is larger than a device's is left out.
        clock: seconds, monotonic.

    Raises:
        SettingsError: the folder cannot be made or read.
    """

    topics: Mapping[str, int] = {DETECTIONS: 1}

    def __init__(
        self, folder: Path | None = None, room: Room = ROOM, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder if folder is None else require_folder(folder)
        self._room = room
        self._complaints = Complaints(logger)
        self._clock = clock
        self._lock = threading.Lock()  # of the two below, for moments
        self._cameras: Cameras[_Last] = Cameras(room)
        self._changes = 0
        self._building = threading.Lock()
        self._document = Document(b"", "")
        self._of = -1
        if self._folder is not None:
            self._restore(self._folder)

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``."""
        changed: dict[Camera, DeviceMessage] = {}
        for message in messages:
            if message["message_type"] == "detections" and self._is_news(message):
                shown: DeviceMessage = {**message, "features": _map_features(message)}
                changed[_camera(message)] = shown
                for gone in self._remember(shown):
                    changed.pop(gone, None)
                    self._delete(gone)
        self._complaints.report()
        if self._folder is not None:
            for camera, shown in changed.items():
                save(_file(self._folder, camera), to_json(shown))

    def document(self) -> Document:
        """A FeatureCollection as it is now, with ``device``, ``source``, ``frame`` and ``captured_at`` in the features'
        properties. Who writes does not wait for it."""
        with self._building:
            with self._lock:
                changes, cameras = self._changes, self._cameras.items()
            if changes != self._of:
                features = b",".join(last.features for _, last in cameras if last.features)
                body = b'{"type":"FeatureCollection","features":[%b]}' % features
                self._document, self._of = Document(body, hashlib.sha256(body).hexdigest()[:32]), changes
            return self._document

    def close(self) -> None:
        """Nothing is open."""

    def _is_news(self, message: DeviceMessage) -> bool:
        last = self._cameras.get(_camera(message))
        if last is None or moment(message["time"]) >= last.made_at:
            return True
        return self._clock() - last.heard_at > SETTLED_SECONDS

    def _remember(self, message: DeviceMessage) -> list[Camera]:
        """Of a message with what a map shows of it; returns cameras that gave way."""
        features = to_json(message["features"])[1:-1]
        if len(features) > self._room.device_bytes:
            self._complaints.say("the map has no room for %d bytes of %.64r", len(features), message["device"])
            features = b""
        last = _Last(moment(message["time"]), self._clock(), features)
        with self._lock:
            self._changes += 1
            return self._cameras.put(_camera(message), last, len(features))

    def _delete(self, camera: Camera) -> None:
        if self._folder is not None:
            _file(self._folder, camera).unlink(missing_ok=True)

    def _restore(self, folder: Path) -> None:
        try:
            for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
                message = json.loads(path.read_bytes())
                for gone in self._remember({**message, "features": _map_features(message)}):
                    self._delete(gone)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"expected the last frames of cameras in {folder}, got {type(error).__name__}: {error}; delete it"
            ) from error


def _camera(message: DeviceMessage) -> Camera:
    return Camera(message["device"], message["source"])


def _file(folder: Path, camera: Camera) -> Path:
    return folder / f"{camera_id(camera.device, camera.source)}.json"


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
