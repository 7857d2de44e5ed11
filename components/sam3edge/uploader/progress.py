"""How far an upload has come, durable: an example is resumed where it was after any restart."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from sam3edge.durable import make_folder, write_file
from sam3edge.uploader.bucket import Part

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the one example that is being uploaded.

    Attributes:
        example: the name of its folder; empty when none is.
        bucket: its address: what has arrived in one bucket is not in another.
        key: of the object that is being written.
        sha256: of that object's content: parts of another content must not be joined.
        upload: id of the upload in parts; empty before it has begun and for small objects.
        parts: that have arrived, from the first on.
        done: keys that are complete.
    """

    example: str = ""
    bucket: str = ""
    key: str = ""
    sha256: str = ""
    upload: str = ""
    parts: tuple[Part, ...] = ()
    done: tuple[str, ...] = ()


class ProgressFile:
    """One small file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Progress:
        """What was written last; nothing when there is no file, or none that can be read."""
        try:
            body = json.loads(self._path.read_bytes())
            parts = tuple(Part(str(part["etag"]), str(part["checksum"])) for part in body["parts"])
            texts = {name: str(body[name]) for name in ("example", "bucket", "key", "sha256", "upload")}
            return Progress(**texts, parts=parts, done=tuple(map(str, body["done"])))
        except FileNotFoundError:
            return Progress()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.error("%s cannot be read, the upload begins again: %s", self._path, error)
            return Progress()

    def write(self, progress: Progress) -> None:
        """On the medium when this returns.

        Raises:
            OSError: it cannot be written.
        """
        make_folder(self._path.parent)
        write_file(self._path, json.dumps(asdict(progress)).encode(), private=True)
