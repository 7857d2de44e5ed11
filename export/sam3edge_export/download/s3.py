"""A checkpoint from a bucket of the user's own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge_export.checkpoint.record import FetchRecord
from sam3edge_export.download.resumable import (
    FetchError,
    Progress,
    arrived,
    gather,
    is_here,
    land,
    no_progress,
    part_path,
    remember,
    require_space,
)

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Object:
    bucket: str
    key: str
    size: int
    etag: str
    sha256: str | None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def s3_client() -> Any:
    """A client with the usual credentials: environment, profile, or role of the machine.

    Raises:
        FetchError: boto3 is not installed.
    """
    try:
        import boto3
    except ImportError as error:
        raise FetchError("fetching from S3 needs the package boto3; install sam3edge[export]") from error
    return boto3.client("s3")


def fetch_from_s3(
    uri: str, target: Path, client: Any, sha256: str | None = None, progress: Progress = no_progress
) -> FetchRecord:
    """Bring one object to the file ``target``; resumes after an interruption, unless the object has changed.

    Args:
        uri: ``s3://bucket/key``.
        client: of boto3, as ``s3_client`` makes it.
        sha256: hex digest that the object must have; where None, the one that S3 keeps of it, if it does.

    Returns:
        The record, now beside the file.

    Raises:
        FetchError: no such object, no access, no room, interrupted, or not what was announced.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    bucket, key = _parse(uri)
    try:
        found = _look(client, bucket, key)
        expected = (sha256 or found.sha256 or "").lower() or None
        if expected is not None and is_here(target, expected):
            return remember(target, found.uri, expected, consent=None)
        if expected is None and target.exists():
            raise FetchError(f"{target} already exists, and S3 keeps no SHA-256 of {uri} to compare with; move it away")
        part = part_path(target, found.etag)
        require_space(target, found.size - arrived(part))
        if arrived(part) < found.size:
            with _stream(client, found, arrived(part)) as chunks:
                gather(part, chunks, found.size, progress)
        digest = land(part, target, found.size, expected)
    except ClientError as error:
        raise FetchError(_refusal(uri, error.response)) from error
    except HTTPClientError as error:
        raise FetchError(f"{uri} was interrupted: {error}; run again to resume") from error
    except BotoCoreError as error:
        raise FetchError(f"{uri} cannot be asked for: {error}") from error
    return remember(target, found.uri, digest, consent=None)


def _parse(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key or key.endswith("/"):
        raise FetchError(f"expected the address of one object, s3://bucket/key, not {uri!r}")
    return bucket, key


def _look(client: Any, bucket: str, key: str) -> _Object:
    head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    kept = head.get("ChecksumSHA256")
    whole = kept is not None and head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in kept
    digest = base64.b64decode(kept).hex() if whole else None
    return _Object(bucket, key, int(head["ContentLength"]), str(head["ETag"]).strip('"'), digest)


@contextmanager
def _stream(client: Any, found: _Object, start: int) -> Iterator[Iterator[bytes]]:
    """Open an object from byte ``start`` on, and only this version of it."""
    where = {"Bucket": found.bucket, "Key": found.key, "IfMatch": f'"{found.etag}"'}
    if start:
        where["Range"] = f"bytes={start}-"
    body = client.get_object(**where)["Body"]
    try:
        yield body.iter_chunks(CHUNK)
    finally:
        body.close()


def _refusal(uri: str, response: Any) -> str:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
        return f"{uri} is not there"
    if code in ("403", "AccessDenied", "Forbidden"):
        return f"these credentials may not read {uri}; they need s3:GetObject on it"
    if status == 412:
        return f"{uri} was replaced while it was fetched; run again"
    return f"S3 refused {uri} ({code}); check the credentials and the region"
