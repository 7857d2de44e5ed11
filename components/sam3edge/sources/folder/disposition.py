"""Where files go when nothing remains to be done with them."""

from __future__ import annotations

import filecmp
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from sam3edge.durable import copy_file, make_folder, move_file, sync_folder, write_file

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
        sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class MoveTo:
    """The file is moved to a folder, under its relative path."""

    folder: Path
    keeps: ClassVar[bool] = False

    def file(self, path: Path, relative: str, frame_id: str) -> None:
        """Move it, to another file system if need be."""
        move_file(path, _free_place(path, self.folder, relative, frame_id))


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The folder of files that could not be used; beside each is ``<name>.error.json``, which says why."""

    folder: Path

    def file(
        self, path: Path, relative: str, frame_id: str, report: Mapping[str, object], *, copy: bool = False
    ) -> None:
        """Move the file here and write its report.

        Args:
            copy: leave it where it is, under the hands of whoever may still be writing it.

        Raises:
            OSError: it could not be moved; it is still where it was.
        """
        target = _free_place(path, self.folder, relative, frame_id)
        make_folder(target.parent)
        text = json.dumps({**report, "stored_as": target.name}, indent=2) + "\n"
        write_file(target.with_name(target.name + ".error.json"), text.encode())
        (copy_file if copy else move_file)(path, target)


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
