"""Image files: how they are called, and how one becomes a frame."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

from sam3edge.core.errors import FrameError
from sam3edge.core.types import Clock, Frame
from sam3edge.images.decoding import Decoded, DecodeError, DecodeOptions, decode

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"})
"""In lower case."""

MAX_FILE_BYTES = 512 << 20


def is_image_name(path: Path) -> bool:
    """Whether the name ends as an image's does."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def images_in(folder: Path) -> list[Path]:
    """The files of a folder that are called as images are, by name; not those of folders in it."""
    return sorted(path for path in folder.iterdir() if is_image_name(path) and path.is_file())


def to_frame(
    decoded: Decoded,
    sha256: str,
    source: str,
    name: str,
    written_at: datetime,
    frame_id: str = "",
    otherwise: Clock = "file",
) -> Frame:
    """A frame of decoded pixels.

    Args:
        sha256: of the encoded image, hexadecimal.
        source: ``Frame.source``.
        name: what a person calls the image; by default its id.
        written_at: when it was taken, where the image itself does not say so; timezone-aware.
        frame_id: by default the first 32 digits of ``sha256``.
        otherwise: whose clock ``written_at`` is of.
    """
    identity = frame_id or sha256[:32]
    return Frame(
        id=identity,
        source=source,
        name=name or identity,
        image=decoded.image,
        captured_at=decoded.taken_at or written_at,
        digest=f"sha256:{sha256}",
        clock=decoded.clock if decoded.taken_at is not None else otherwise,
        size=decoded.size,
    )


def read_frame(path: Path, source: str = "file", options: DecodeOptions | None = None) -> Frame:
    """An image file as a frame, decoded by the device's rules.

    Raises:
        FrameError: it is not a file, or not a usable image.
    """
    try:
        if not path.is_file():
            raise DecodeError("expected a file")
        status = path.stat()
        if status.st_size > MAX_FILE_BYTES:
            raise DecodeError(f"expected at most {MAX_FILE_BYTES} bytes, got {status.st_size}")
        data = path.read_bytes()
        decoded = decode(data, options or DecodeOptions())
    except (OSError, DecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FrameError(reason, frame_id="", name=str(path)) from error
    written_at = datetime.fromtimestamp(max(0.0, status.st_mtime), timezone.utc)
    return to_frame(decoded, hashlib.sha256(data).hexdigest(), source, path.name, written_at)
