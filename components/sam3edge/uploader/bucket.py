"""What the uploader needs of a bucket. ``S3Bucket`` is the real one, ``FakeBucket`` the one for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

PART_BYTES = 5 << 20
"""Bytes of a part, and the most that one request carries; S3 takes no smaller parts but the last."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has arrived.

    Attributes:
        etag: S3's name of it.
        checksum: SHA-256 in base64, confirmed by the bucket.
    """

    etag: str
    checksum: str


class Bucket(Protocol):
    """Used by one thread. Every method returns when the bucket has confirmed what it has, by checksum, and raises
    ``UploadError`` otherwise. Writing an object again replaces it."""

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """Write an object of at most ``PART_BYTES``."""

    def begin(self, key: str, content_type: str) -> str:
        """Begin to write an object in parts; returns the upload's id."""

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """Write a part; ``number`` counts from 1."""

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts."""

    def abort(self, key: str, upload: str) -> None:
        """Give an upload in parts up; one that is not known is no error."""

    def close(self) -> None:
        """Release the connection."""
