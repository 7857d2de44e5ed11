"""A GeoJSON file for each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sam3edge.core.messages.envelope import to_json
from sam3edge.core.messages.topics import DETECTIONS
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.sinks.files import frame_path, require_folder, save


class GeoJsonFiles:
    """Whole detections messages, each a file that is there when it is whole.

    Args:
        folder: it is made with its first file.

    Raises:
        SettingsError: it cannot be made.
    """

    topics: Mapping[str, int] = {DETECTIONS: 1}

    def __init__(self, folder: Path) -> None:
        self._folder = require_folder(folder)

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``."""
        for message in messages:
            if message["message_type"] == "detections":
                save(self._folder / frame_path(message, ".geojson"), to_json(message))

    def close(self) -> None:
        """Nothing is open."""
