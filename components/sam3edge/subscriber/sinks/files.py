"""How sinks name and write their files."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.durable import make_folder, write_file
from sam3edge.subscriber.names import identifier, readable
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.reassembly import key_of


def frame_path(message: DeviceMessage, suffix: str) -> PurePosixPath:
    """Where something about a frame is written, below a folder: ``<device>/<source>/<name>-<digest><suffix>``. A frame
    always has the same, and no other one has it, whatever devices call themselves and their frames."""
    file = f"{readable(message['frame']['name'])}-{key_of(message)[:12]}{suffix}"
    return PurePosixPath(identifier(message["device"]), identifier(message["source"]), file)


def require_folder(folder: Path) -> Path:
    """A folder for files. It is made with the first of them, when every sink was accepted.

    Raises:
        SettingsError: it is not there, and cannot be made.
    """
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        if not there.is_dir():
            raise SettingsError(f"{folder} cannot be written: {there} is not a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SettingsError(f"{folder} cannot be written: no permission to write to {there}")
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def save(path: Path, data: bytes) -> None:
    """Write a file, and the folder that it is in: whole or not at all, and durably.

    Raises:
        SubscriptionError: it cannot be written.
    """
    try:
        make_folder(path.parent)
        write_file(path, data)
    except OSError as error:
        raise SubscriptionError(f"{path} cannot be written: {error.strerror}") from error
