"""Files that survive a power cut: a name leads to a whole file, and what has left one place is in the other.

A rename is only durable when its folder was synced, and a copy replaces its source only after both the copy and its
name are on the medium ("Durability" in https://lwn.net/Articles/457667/; rename(2), fsync(2)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_file(path: Path, data: bytes, *, private: bool = False, draft: Path | None = None) -> None:
    """Write a file, whole or not at all; it is on the medium when this returns.

    Args:
        private: readable by its owner only.
        draft: where it is written before it gets its name, on the same file system; a hidden file beside it by default.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    draft = draft or _draft_beside(path)
    with _becoming(path, draft):
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is written piece by piece: it gets its name, durably, when the block ends, and is removed if the
    block raises.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    draft = _draft_beside(path)
    try:
        with _becoming(path, draft), draft.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def move_file(path: Path, target: Path) -> None:
    """Move a file, to another file system if need be. Its folder is made.

    Raises:
        OSError: it could not be moved; it is still where it was.
    """
    make_folder(target.parent)
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(path, target)
        path.unlink()
    else:
        path.unlink(missing_ok=True)  # of two names of one file, a rename leaves both (rename(2))
        sync_folder(target.parent)
    sync_folder(path.parent)


def copy_file(path: Path, target: Path) -> None:
    """Copy a file with its times, whole or not at all; the copy is on the medium when this returns.

    Raises:
        OSError: it could not be copied.
    """
    draft = _draft_beside(target)
    with _becoming(target, draft):
        with path.open("rb") as source, draft.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        status = path.stat()
        with contextlib.suppress(PermissionError):  # file systems without times of their own
            os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))


def _draft_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


@contextlib.contextmanager
def _becoming(path: Path, draft: Path) -> Iterator[None]:
    """What is written to ``draft`` meanwhile gets its name, durably, or is removed when an OSError is raised."""
    try:
        yield
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on the medium when this returns.

    Raises:
        OSError: one of them cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the medium; file systems that cannot are left to themselves.

    Raises:
        OSError: the medium failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network shares
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring every file below a folder to the medium, and every name.

    Raises:
        OSError: the medium failed.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)
