"""A publisher that writes messages to a folder: for devices without a cloud, for tests, and to look at what is sent."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

from sam3edge.core.errors import PublishError
from sam3edge.core.types import Message
from sam3edge.durable import make_folder, sync_folder, write_file

_INCOMING = ".incoming"


class FilesPublisher:
    """Writes each payload, unchanged, to ``<folder>/<topic>/<id>.json``.

    Each topic level becomes a sub-folder. Characters other than ASCII letters, digits and ``_-.~=@+,`` are
    percent-encoded, as is a dot at the beginning, and an empty level is ``%``: different messages never share a file,
    and none is outside of the folder. A file appears whole or not at all (it is written and flushed in ``.incoming``
    and then renamed); a message whose file already exists is not written again.

    Args:
        folder: created if need be. Remains of an interrupted process in ``.incoming`` are removed.

    Raises:
        PublishError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / _INCOMING
        self._closed = False
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            for remains in self._incoming.iterdir():
                remains.unlink(missing_ok=True)
        except OSError as error:
            raise PublishError(f"The folder {folder} cannot be used: {error}") from error

    def publish(self, message: Message) -> None:
        """Write one message; it is on the medium when this returns.

        Raises:
            PublishError: it could not be written, or this is closed.
        """
        if self._closed:
            raise PublishError(f"The publisher to {self._folder} is closed.")
        target = self.path_of(message)
        draft = self._incoming / f"{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            if not target.exists():
                make_folder(target.parent)
                write_file(target, message.payload, draft=draft)
            else:
                sync_folder(target.parent)  # the process before may have been killed between renaming and syncing
        except OSError as error:
            raise PublishError(f"Message {message.id} could not be written to {target}: {error}") from error

    def path_of(self, message: Message) -> Path:
        """Where the message is, or will be."""
        levels = [_name(level) if level else "%" for level in message.topic.split("/")]
        return self._folder.joinpath(*levels, _name(message.id) + ".json")

    def close(self) -> None:
        """Nothing to release; publishing ends. Idempotent."""
        self._closed = True


def _name(text: str) -> str:
    encoded = quote(text, safe="=@+,")
    return "%2E" + encoded[1:] if encoded.startswith(".") else encoded
