"""A file whose only use is its size: room on the disk for what makes room.

SQLite must write before it can delete or acknowledge. On a disk that is full to the last byte, an outbox could hence
neither forget what was delivered nor be opened again after a restart.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

RESERVE_BYTES = 3 << 20
"""Of the write-ahead log, about 1 MiB, and of the pages that giving room back takes."""


class Reserve:
    """The file beside the database.

    Args:
        path: of the file.
        size: bytes.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size
        self._is_there = path.exists() and path.stat().st_size >= size

    def make(self) -> bool:
        """Take the room, unless it is taken; whether it is now."""
        if self._is_there:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.release()
            logger.debug("no room for the outbox's reserve: %s", error)
            return False
        self._is_there = True
        return True

    def release(self) -> bool:
        """Give the room back; whether there was any."""
        there, self._is_there = self._is_there, False
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the outbox's reserve cannot be released: %s", error)
            return False
        if there:
            logger.warning("the disk is full: the outbox gives its reserve up")
        return there
