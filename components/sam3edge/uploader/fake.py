"""A bucket in memory, for tests of what needs one. It keeps the same contract as ``S3Bucket``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence

from sam3edge.core.errors import UploadError
from sam3edge.uploader.bucket import Part


class FakeBucket:
    """Remembers what it is given.

    Args:
        spend: is told of the bytes of every request that arrives.

    Attributes:
        objects: content by key; it exists when the object is complete.
        order: keys in the order in which they were written.
        outage: raised by every method but ``close`` while it is not None; nothing arrives then.
        lost: numbers of the requests, from 1 on, that are carried out and whose response does not arrive.
        requests: made so far.
    """

    def __init__(self, spend: Callable[[int], None] = lambda size: None) -> None:
        self.objects: dict[str, bytes] = {}
        self.order: list[str] = []
        self.outage: UploadError | None = None
        self.lost: set[int] = set()
        self.requests = 0
        self._spend = spend
        self._uploads: dict[str, dict[int, bytes]] = {}

    @property
    def uploads(self) -> int:
        """Uploads in parts that were begun and neither completed nor aborted."""
        return len(self._uploads)

    def forget_uploads(self) -> None:
        """As a rule of the bucket's lifecycle does."""
        self._uploads.clear()

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """See ``Bucket``."""
        self._arrive(len(body))
        self._store(key, body)
        self._respond()

    def begin(self, key: str, content_type: str) -> str:
        """See ``Bucket``."""
        self._arrive(0)
        upload = f"upload-{self.requests}"
        self._uploads[upload] = {}
        self._respond()
        return upload

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """See ``Bucket``."""
        self._arrive(len(body))
        self._parts(upload)[number] = body
        self._respond()
        return Part(hashlib.md5(body).hexdigest(), _checksum(body))

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """See ``Bucket``."""
        self._arrive(0)
        held = self._parts(upload)
        if [_checksum(held[number]) for number in sorted(held)] != [part.checksum for part in parts]:
            raise UploadError("the bucket responded 400 InvalidPart", failure="refused")
        self._store(key, b"".join(held[number] for number in sorted(held)))
        del self._uploads[upload]
        self._respond()

    def abort(self, key: str, upload: str) -> None:
        """See ``Bucket``."""
        self._arrive(0)
        self._uploads.pop(upload, None)
        self._respond()

    def close(self) -> None:
        """See ``Bucket``."""

    def _arrive(self, size: int) -> None:
        self.requests += 1
        if self.outage is not None:
            raise self.outage
        self._spend(size)

    def _respond(self) -> None:
        if self.requests in self.lost:
            raise UploadError("the bucket cannot be reached: ReadTimeoutError", failure="offline")

    def _store(self, key: str, body: bytes) -> None:
        self.objects[key] = body
        self.order.append(key)

    def _parts(self, upload: str) -> dict[int, bytes]:
        if upload not in self._uploads:
            raise UploadError("the bucket responded 404 NoSuchUpload", failure="unknown_upload")
        return self._uploads[upload]


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
