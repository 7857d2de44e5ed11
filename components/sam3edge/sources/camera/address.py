"""What a camera's URI means to OpenCV, and how it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2

from sam3edge.core.errors import SettingsError

_CREDENTIALS = re.compile(r"(?<=://)\S*@")
_QUERY = re.compile(r"\?\S*")
_SECRET_PROPERTY = re.compile(r"([\w-]*(?:user|pw|pass|secret|token|key)[\w-]*\s*=\s*)(\"[^\"]*\"|'[^']*'|\S+)", re.I)
_STREAMS = frozenset({"rtsp", "rtsps", "http", "https"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where frames are read from.

    Attributes:
        backend: ``cv2.CAP_V4L2``, ``cv2.CAP_FFMPEG`` or ``cv2.CAP_GSTREAMER``.
        target: what OpenCV opens: a device index, a URL, a path or a pipeline. May hold a password.
        shown: the same for logs and messages, without user, password and query.
        file: the video file, or None when this is a live stream.
    """

    backend: int
    target: int | str = field(repr=False)
    shown: str
    file: Path | None = None


def parse_address(uri: str) -> Address:
    """Understand ``0``, ``/dev/video0``, ``rtsp://``, ``http://``, ``file://``, a path, or ``gst:`` and a pipeline.

    Raises:
        SettingsError: another scheme, or no such video file.
    """
    shown = without_secrets(uri)
    if uri.startswith("gst:"):
        return Address(cv2.CAP_GSTREAMER, uri.removeprefix("gst:").strip(), shown)
    if uri.isascii() and uri.isdigit():
        return Address(cv2.CAP_V4L2, int(uri), shown)
    if uri.startswith("/dev/"):
        return Address(cv2.CAP_V4L2, uri, shown)
    scheme = uri.partition("://")[0].lower() if "://" in uri else ""
    if scheme in _STREAMS:
        return Address(cv2.CAP_FFMPEG, uri, shown)
    if scheme not in ("", "file"):
        raise SettingsError(
            f"expected a device index, rtsp://, rtsps://, http://, https://, file://, a path or gst:, got {shown!r}"
        )
    path = Path(unquote(urlsplit(uri).path) if scheme else uri)
    if not path.is_file():
        raise SettingsError(f"there is no video file {str(path)!r}")
    return Address(cv2.CAP_FFMPEG, str(path), shown, path)


def without_secrets(uri: str) -> str:
    """The URI or pipeline without user, password, query, and properties that sound like a secret.

    Cuts too much rather than too little: everything between ``://`` and the last ``@`` goes, since passwords contain
    slashes that ought to have been quoted.
    """
    shown = _QUERY.sub("?***", _CREDENTIALS.sub("***@", uri))
    return _SECRET_PROPERTY.sub(r"\1***", shown)
