"""The bucket: uploads, records of jobs, answers.

What belongs to a key is under its id, so that no key sees another's:

    uploads/<key id>/<upload id>    by the client, by a presigned POST; to be expired by a lifecycle rule
    jobs/<key id>/<job id>.json     by the API
    answers/<key id>/<digest>       remembered answers that are too long for the idempotency table

The asynchronous endpoint writes where its configuration says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sam3edge_serving.http.errors import NotReady

_ABSENT = frozenset(("404", "NoSuchKey", "NotFound"))


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an object: bytes, and what it was said to be."""

    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Address:
    """Of an object in S3."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Address:
        """From ``s3://bucket/key``."""
        parts = urlsplit(uri)
        return cls(parts.netloc, parts.path.lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Storage:
    """S3, with its errors as ``NotReady``.

    Args:
        s3: boto3's client, signing with ``s3v4``. Its role needs ``s3:ListBucket``: without it S3 answers 403 for what
            is not there.
        bucket: of uploads, jobs and answers.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def at(self, *parts: str) -> Address:
        """An object of the bucket."""
        return Address(self._bucket, "/".join(parts))

    def upload_form(self, at: Address, media_type: str, most: int, seconds: int) -> dict[str, Any]:
        """A presigned POST for that object, of that type, of 1 to ``most`` bytes; ``url`` and ``fields``."""
        conditions = [{"Content-Type": media_type}, ["content-length-range", 1, most]]
        form: dict[str, Any] = self._s3.generate_presigned_post(
            at.bucket, at.key, Fields={"Content-Type": media_type}, Conditions=conditions, ExpiresIn=seconds
        )
        return form

    def download_url(self, at: Address, seconds: int) -> str:
        """A presigned address."""
        params = {"Bucket": at.bucket, "Key": at.key}
        return str(self._s3.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    def look(self, at: Address) -> Stored | None:
        """What is there; None when nothing is."""
        with _failures():
            try:
                head = self._s3.head_object(Bucket=at.bucket, Key=at.key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _ABSENT:
                    return None
                raise
        return Stored(head["ContentLength"], head.get("ContentType", ""))

    def read(self, at: Address) -> bytes | None:
        """What is there; None when nothing is."""
        with _failures():
            try:
                data: bytes = self._s3.get_object(Bucket=at.bucket, Key=at.key)["Body"].read()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _ABSENT:
                    return None
                raise
        return data

    def write(self, at: Address, data: bytes, media_type: str) -> None:
        """Put it there."""
        with _failures():
            self._s3.put_object(Bucket=at.bucket, Key=at.key, Body=data, ContentType=media_type)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise NotReady("the storage cannot be used now; try again", code="storage_failed", retry_after=5) from error
