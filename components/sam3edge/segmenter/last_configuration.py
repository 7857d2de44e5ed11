"""The last configuration that worked, kept for a start at which the nucleus has one that does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge.durable import write_file
from sam3edge.segmenter.settings import Settings, read_settings

logger = logging.getLogger(__name__)


class LastConfiguration:
    """A file in the work folder, readable by this component only: it may hold a camera's password."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def keep(self, configuration: Mapping[str, Any]) -> None:
        """Remember it; a disk that refuses is logged."""
        try:
            write_file(self._file, json.dumps(configuration).encode(), private=True)
        except OSError as error:
            logger.warning("the configuration cannot be remembered: %s", error)

    def read(self) -> Settings | None:
        """The settings; None where there are none, or where another version of the component wrote them."""
        try:
            value = json.loads(self._file.read_text(encoding="utf-8"))
            return read_settings(value) if isinstance(value, dict) else None
        except (OSError, ValueError, RecursionError, SettingsError):
            return None
