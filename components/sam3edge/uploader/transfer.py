"""One example into a bucket: its frame, then its document, in requests of bounded size that a restart resumes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from sam3edge.core.errors import UploadError
from sam3edge.hard_examples.example import EXAMPLE, FRAME, DamagedExample, StoredExample
from sam3edge.uploader.bucket import PART_BYTES, Bucket
from sam3edge.uploader.progress import Progress, ProgressFile

TYPES = {FRAME: "image/jpeg", EXAMPLE: "application/json"}


class Transfer:
    """Used by one thread.

    Args:
        address: of the bucket; an upload to another one that was not finished begins again.
        allow: asked before every request that carries bytes, with their number; raises what keeps it from leaving.
        part_bytes: what one request carries.
    """

    def __init__(
        self,
        bucket: Bucket,
        address: str,
        file: ProgressFile,
        allow: Callable[[int], None],
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._bucket = bucket
        self._file = file
        self._allow = allow
        self._part_bytes = part_bytes
        self._address = address
        progress = file.read()
        self._progress = progress if progress.bucket == address else Progress(bucket=address)

    @property
    def example(self) -> str:
        """The folder of the example that is not finished; empty when there is none."""
        return self._progress.example

    def send(self, example: StoredExample, key: str) -> None:
        """Bring both objects to the bucket; when this returns, it has confirmed both.

        Args:
            key: of the example, with a slash at the end.

        Raises:
            UploadError: not yet; what has arrived is remembered.
            DamagedExample: the frame is not the one that the document describes.
            FileNotFoundError: it was taken away.
        """
        with (example.folder / FRAME).open("rb") as frame:  # stays readable if it is evicted meanwhile
            if _sha256(frame) != example.image_sha256:
                raise DamagedExample(f"expected the {FRAME} that {EXAMPLE} describes, got another")
            if self._progress.example != example.folder.name:
                self.abandon()
                self._set(Progress(example.folder.name, self._address))
            self._object(key + FRAME, TYPES[FRAME], frame)
        self._object(key + EXAMPLE, TYPES[EXAMPLE], io.BytesIO(example.document))

    def finished(self) -> None:
        """The example is no longer of interest."""
        self._set(Progress(bucket=self._address))

    def abandon(self) -> None:
        """Give up what has been begun, because its example is gone.

        Raises:
            UploadError: the bucket cannot be told now.
        """
        if self._progress.upload:
            self._bucket.abort(self._progress.key, self._progress.upload)
        if self._progress.example:
            self.finished()

    def _object(self, key: str, content_type: str, content: BinaryIO) -> None:
        """Write one object, unless that is done."""
        if key in self._progress.done:
            return
        size = content.seek(0, io.SEEK_END)
        content.seek(0)
        if size <= self._part_bytes:
            self._allow(size)
            self._bucket.put(key, content.read(), content_type)
        else:
            self._in_parts(key, content_type, content, size)
        self._set(Progress(self._progress.example, self._address, done=(*self._progress.done, key)))

    def _in_parts(self, key: str, content_type: str, content: BinaryIO, size: int) -> None:
        sha256 = _sha256(content)
        if self._progress.upload and (self._progress.key, self._progress.sha256) != (key, sha256):
            self._bucket.abort(self._progress.key, self._progress.upload)
            self._begin_again()
        try:
            if not self._progress.upload:
                upload = self._bucket.begin(key, content_type)
                self._set(replace(self._progress, key=key, sha256=sha256, upload=upload, parts=()))
            upload = self._progress.upload
            for number in range(len(self._progress.parts), -(-size // self._part_bytes)):
                content.seek(number * self._part_bytes)
                body = content.read(self._part_bytes)
                self._allow(len(body))
                part = self._bucket.put_part(key, upload, number + 1, body)
                self._set(replace(self._progress, parts=(*self._progress.parts, part)))
            self._bucket.complete(key, upload, self._progress.parts)
        except UploadError as error:
            if error.failure in ("unknown_upload", "refused"):  # it cannot be continued; the next try is a new one
                self._begin_again()
            if error.failure == "unknown_upload":
                raise UploadError(str(error), failure="busy") from error
            raise

    def _begin_again(self) -> None:
        self._set(Progress(self._progress.example, self._address, done=self._progress.done))

    def _set(self, progress: Progress) -> None:
        self._progress = progress
        self._file.write(progress)


def _sha256(content: BinaryIO) -> str:
    """Of all of it, in hexadecimal."""
    content.seek(0)
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
