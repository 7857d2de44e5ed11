"""Where files go when nothing remains to be done with them."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

_MAX_NAME = 180
"""Bytes; file systems allow 255."""


class OnProcessed(Protocol):
    """What becomes of a file whose frame is done.

    Attributes:
        keeps: the file stays where it is, and the journal has to remember it for as long.
        folder: where files are put, or None.
    """

    @property
    def keeps(self) -> bool: ...

    @property
    def folder(self) -> Path | None: ...

    def file(self, path: Path, relative: str, frame_id: str) -> None:
        """Put one file away. May be repeated for the same file when the process died meanwhile.

        Raises:
            OSError: it could not be put away; it is still where it was.
        """


@dataclass(frozen=True, slots=True)
class Keep:
    """The file stays where it is."""

    keeps: ClassVar[bool] = True
    folder: ClassVar[Path | None] = None

    def file(self, path: Path, relative: str, frame_id: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Delete:
    """The file is deleted."""

    keeps: ClassVar[bool] = False
    folder: ClassVar[Path | None] = None

    def file(self, path: Path, relative: str, frame_id: str) -> None:
        """Delete it."""
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class MoveTo:
    """The file is moved to a folder, under its relative path."""

    folder: Path
    keeps: ClassVar[bool] = False

    def file(self, path: Path, relative: str, frame_id: str) -> None:
        """Move it, to another file system if need be."""
        _move_to(path, _free_place(path, self.folder, relative, frame_id))


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The folder of files that could not be used; beside each lies ``<name>.error.json``, which says why."""

    folder: Path

    def file(self, path: Path, relative: str, frame_id: str, report: Mapping[str, object]) -> None:
        """Move the file here and write its report.

        Raises:
            OSError: it could not be moved; it is still where it was.
        """
        target = _free_place(path, self.folder, relative, frame_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**report, "stored_as": target.name}, indent=2) + "\n"
        draft = target.with_name(f".{target.name}.report.part")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target.with_name(target.name + ".error.json"))
        _move_to(path, target)


def _free_place(path: Path, folder: Path, relative: str, frame_id: str) -> Path:
    """A name that is free, or taken by a copy of this very file (a move that was interrupted)."""
    for target in _names(_with_room(folder / relative), frame_id):
        if not os.path.lexists(target) or _is_copy(path, target):
            return target
    raise AssertionError("unreachable: the names never end")


def _with_room(path: Path) -> Path:
    """The path with its name cut so that a frame id and the ending of a report still fit."""
    excess = len(os.fsencode(path.name)) - _MAX_NAME
    return path if excess <= 0 else path.with_name(os.fsdecode(os.fsencode(path.stem)[:-excess]) + path.suffix)


def _names(wanted: Path, frame_id: str) -> Iterator[Path]:
    """The name wanted, then with parts of the frame id, which is another for every file that ever had this name."""
    yield wanted
    yield wanted.with_name(f"{wanted.stem}.{frame_id[:8]}{wanted.suffix}")
    yield wanted.with_name(f"{wanted.stem}.{frame_id}{wanted.suffix}")
    number = 2
    while True:
        yield wanted.with_name(f"{wanted.stem}.{frame_id}-{number}{wanted.suffix}")
        number += 1


def _is_copy(path: Path, target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and filecmp.cmp(path, target, shallow=False)


def _move_to(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_durably(path, target)
        path.unlink()


def _copy_durably(path: Path, target: Path) -> None:
    """The copy appears under its name only when it is whole and on the disk."""
    draft = target.with_name(f".{target.name}.part")
    try:
        with path.open("rb") as source, draft.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        status = path.stat()
        with contextlib.suppress(PermissionError):  # file systems without times of their own
            os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
