"""Which bytes image files hold, without decoding them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from sam3edge.core.errors import FrameError
from sam3edge.images.files import MAX_FILE_BYTES

MAX_REMEMBERED = 1000
_BLOCK = 1 << 20


class FileDigests:
    """Digests of files, as ``Frame.digest`` has them. A file that has not changed since is not read again; the last
    ``MAX_REMEMBERED`` are known."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Path, int, int, int], str] = OrderedDict()

    def of(self, path: Path) -> str:
        """Of a file.

        Raises:
            FrameError: it is not a file, is too large, or cannot be read.
        """
        try:
            if not path.is_file():
                raise FrameError("expected a file", frame_id="", name=str(path))
            status = path.stat()
            if status.st_size > MAX_FILE_BYTES:
                reason = f"expected at most {MAX_FILE_BYTES} bytes, got {status.st_size}"
                raise FrameError(reason, frame_id="", name=str(path))
            key = path, status.st_ino, status.st_size, status.st_mtime_ns
            digest = self._known.pop(key, None) or _digest(path)
        except OSError as error:
            raise FrameError(error.strerror or str(error), frame_id="", name=str(path)) from error
        self._known[key] = digest
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return digest


def _digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hashed.update(block)
    return f"sha256:{hashed.hexdigest()}"
