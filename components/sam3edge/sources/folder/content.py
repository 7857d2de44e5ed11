"""Reading a file once, so that what is decoded is what was identified."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sam3edge.sources.folder.listing import NotAFile, Stamp


class StillChanging(Exception):
    """The file was written to while it was read, or is open for writing elsewhere."""


class Fingerprint(NamedTuple):
    """Tells two states of a path apart even where modification times are coarse."""

    stamp: Stamp
    inode: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a file held at one moment.

    Attributes:
        fingerprint: of the file, before and after it was read.
        data: its bytes.
        sha256: of the bytes, in hexadecimal; empty when they were not read.
        problem: why they were not read; empty when they were.
        may_pass: whether that may be otherwise in a while.
    """

    fingerprint: Fingerprint
    data: bytes = b""
    sha256: str = ""
    problem: str = ""
    may_pass: bool = False


def fingerprint_of(path: Path) -> Fingerprint:
    """The fingerprint of a regular file; symbolic links are not followed.

    Raises:
        FileNotFoundError: it has gone.
        NotAFile: it is something else.
    """
    return _fingerprint(path.lstat())


def read_content(path: Path, max_bytes: int) -> Content:
    """Read a whole regular file, never through a symbolic link and never waiting for a pipe.

    A file that is larger than ``max_bytes`` or may not be read is described without its bytes.

    Raises:
        FileNotFoundError: it has gone.
        NotAFile: it is something else.
        StillChanging: it changed while it was read, or somebody has it open for writing.
        OSError: the disk or the share failed; worth another try.
    """
    if Path(os.path.realpath(path.parent)) != path.parent:
        raise NotAFile("its folder was replaced by a symbolic link")
    before = fingerprint_of(path)
    if before.stamp.size > max_bytes:
        return Content(before, problem=f"expected at most {max_bytes} bytes, got {before.stamp.size}; raise max_bytes "
                       "if files of this size are meant to come")  # fmt: skip
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        reason = "the file may not be read; allow the user of this component to read it"
        return Content(before, problem=reason, may_pass=True)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile("a symbolic link took its place") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if _is_open_for_writing(descriptor):
            raise StillChanging
        if _fingerprint(os.fstat(descriptor)) != before:
            raise StillChanging
        data = file.read(before.stamp.size + 1)
        if _fingerprint(os.fstat(descriptor)) != before or len(data) != before.stamp.size:
            raise StillChanging
    return Content(before, data, hashlib.sha256(data).hexdigest())


def frame_id(source_id: str, relative: str, stamp: Stamp, sha256: str) -> str:
    """32 hexadecimal digits: the same for the same file after a restart, another when anything about it changed.

    Args:
        source_id: which source it came from.
        relative: path relative to the watched folder.
        stamp: modification time and size.
        sha256: of the content; empty for a file that could not be read.
    """
    parts = (source_id.encode(), os.fsencode(relative), str(stamp.mtime_ns).encode(), str(stamp.size).encode())
    return hashlib.sha256(b"\0".join((*parts, sha256.encode()))).hexdigest()[:32]


def _is_open_for_writing(descriptor: int) -> bool:
    """Whether a process of this machine has the file open for writing, where the kernel says so.

    It gives a read lease only while nobody has (fcntl(2), "Leases"): on local disks, to the file's owner or with
    CAP_LEASE. The lease is given back at once: whoever opens the file for writing in between waits no longer than that,
    and the signal that tells us of it is one that is ignored by default.
    """
    if sys.platform != "linux":
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _fingerprint(status: os.stat_result) -> Fingerprint:
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(f"expected a file, got {stat.filemode(status.st_mode)}")
    return Fingerprint(Stamp(status.st_mtime_ns, status.st_size), status.st_ino, status.st_ctime_ns)
