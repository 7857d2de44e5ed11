"""How sinks name and write their files."""

from __future__ import annotations

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


def prepare(folder: Path) -> Path:
    """Make a folder for files; raises SettingsError where that cannot be."""
    try:
        make_folder(folder)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made: {error.strerror}") from error
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
