"""Where dataset versions are kept: a folder, or a prefix of an S3 bucket. Small, so that both can keep its promises.

Keys have slashes and are relative to the place. What is written is never overwritten.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.durable import copy_file, make_folder, sync_folder, write_file

_KEY = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


class DatasetError(Sam3EdgeError):
    """A dataset cannot be read or written."""


class AlreadyStored(DatasetError):
    """Something else is stored by this name, and what is stored stays."""


class Storage(Protocol):
    """A place for files that are written once."""

    @property
    def place(self) -> str:
        """A path, or ``s3://bucket/prefix``."""

    def has(self, key: str) -> bool:
        """Whether something is stored by this name."""

    def read(self, key: str, max_bytes: int) -> bytes:
        """What is stored by this name.

        Raises:
            DatasetError: nothing, or more than ``max_bytes``.
        """

    def write(self, key: str, data: bytes) -> None:
        """Store bytes, whole or not at all; of several writers one succeeds. The same bytes may be stored again.

        Raises:
            AlreadyStored: other bytes are stored by this name.
            DatasetError: it could not be stored.
        """

    def put(self, key: str, path: Path) -> None:
        """Store a file by a name that says its content, whole or not at all; nothing is done if it is there.

        Raises:
            DatasetError: it could not be stored.
        """

    def local(self, key: str) -> Path:
        """A file of this computer with what is stored; not to be changed.

        Raises:
            DatasetError: there is nothing by this name.
        """


class FolderStorage:
    """Below a folder.

    Args:
        folder: made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def has(self, key: str) -> bool:
        """See ``Storage``."""
        return self._path(key).is_file()

    def read(self, key: str, max_bytes: int) -> bytes:
        """See ``Storage``."""
        path = self.local(key)
        if path.stat().st_size > max_bytes:
            raise DatasetError(f"{path}: expected at most {max_bytes} bytes, got {path.stat().st_size}")
        return path.read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """See ``Storage``."""
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with self._mapped(path):
            make_folder(path.parent)
            write_file(draft, data)
            try:
                os.link(draft, path)  # unlike a rename, it fails where the name is taken
                sync_folder(path.parent)
            except FileExistsError as error:
                if path.read_bytes() != data:
                    raise AlreadyStored(f"{path} exists already, and stays as it is") from error
            finally:
                draft.unlink(missing_ok=True)

    def put(self, key: str, path: Path) -> None:
        """See ``Storage``. What comes from another version is linked where that is possible: it has the same name, and
        is never written again, as files of other origin may be."""
        target = self._path(key)
        if target.is_file():
            return
        with self._mapped(target):
            make_folder(target.parent)
            if path.name == target.name:
                with contextlib.suppress(OSError):
                    os.link(path, target)
                    sync_folder(target.parent)
                    return
            copy_file(path, target)

    def local(self, key: str) -> Path:
        """See ``Storage``."""
        path = self._path(key)
        if not path.is_file():
            raise DatasetError(f"expected the file {path}, there is none; is this the folder of a dataset version?")
        return path

    def _path(self, key: str) -> Path:
        return self._folder / checked(key)

    @staticmethod
    @contextlib.contextmanager
    def _mapped(path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DatasetError(f"{path} cannot be written: {error.strerror}") from error


class S3Storage:
    """Below a prefix of a bucket; writers exclude each other by conditional writes.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html

    Args:
        client: of boto3.
        prefix: without a slash at its end.
        cache: folder of files that were fetched.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, cache: Path) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._cache = cache

    @property
    def place(self) -> str:
        """Its address."""
        return f"s3://{self._bucket}/{self._prefix}"

    def has(self, key: str) -> bool:
        """See ``Storage``."""
        from botocore.exceptions import ClientError

        with self._mapped(key):
            try:
                self._client.head_object(Bucket=self._bucket, Key=self._name(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                    return False
                raise
        return True

    def read(self, key: str, max_bytes: int) -> bytes:
        """See ``Storage``."""
        with self._mapped(key):
            found = self._client.get_object(Bucket=self._bucket, Key=self._name(key))
            with contextlib.closing(found["Body"]) as body:
                if found["ContentLength"] > max_bytes:
                    raise DatasetError(
                        f"{self.place}/{key}: expected at most {max_bytes} bytes, got {found['ContentLength']}"
                    )
                return bytes(body.read())

    def write(self, key: str, data: bytes) -> None:
        """See ``Storage``."""
        from botocore.exceptions import ClientError

        with self._mapped(key):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                    raise
                if self.read(key, max(1, len(data))) != data:
                    raise AlreadyStored(f"{self.place}/{key} exists already, and stays as it is") from error

    def put(self, key: str, path: Path) -> None:
        """See ``Storage``."""
        if self.has(key):
            return
        with self._mapped(key):
            self._client.upload_file(str(path), self._bucket, self._name(key))

    def local(self, key: str) -> Path:
        """See ``Storage``. Fetched once; what is in the cache is not asked for again."""
        path = self._cache / self._bucket / self._name(key)
        if path.is_file():
            return path
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with self._mapped(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._client.download_file(self._bucket, self._name(key), str(draft))
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        return path

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{checked(key)}" if self._prefix else checked(key)

    @contextlib.contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
            raise DatasetError(f"{self.place}/{key}: {error}") from error


def storage_at(place: str | Path, cache: Path | None = None, client: Any = None) -> Storage:
    """The storage at a path or at ``s3://bucket/prefix``.

    Args:
        cache: folder for what is fetched from S3.
        client: of boto3, for S3; None for one with the usual credentials.

    Raises:
        DatasetError: not such an address, or no folder for what is fetched.
    """
    if not str(place).startswith("s3://"):
        return FolderStorage(Path(place))
    parts = urlsplit(str(place))
    if not parts.netloc or parts.query or parts.fragment:
        raise DatasetError(f"expected s3://bucket/prefix, got {place}")
    if cache is None:
        raise DatasetError(f"{place} is in S3: say in which folder the files that are fetched may be kept")
    if client is None:
        import boto3

        client = boto3.client("s3")
    return S3Storage(client, parts.netloc, parts.path.strip("/"), cache)


def checked(key: str) -> str:
    """The key, if it stays below its place.

    Raises:
        DatasetError: it has parts such as ``..``.
    """
    if not _KEY.fullmatch(key):
        raise DatasetError(f"expected a relative name of letters, digits, dots and slashes, got {key!r}")
    return key
