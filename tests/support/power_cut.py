"""A medium that loses its power: of what was done to files, what was not synced is undone.

A name that was made, moved or removed is as before until its folder is synced, and a file is empty until it is itself
(rename(2), fsync(2)). That is the least that a file system has to keep; the most is what a killed process leaves. Where
a process gets no farther than to the end of a commit, SQLite is taken at its word.
"""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import time
import uuid
from collections.abc import Container
from pathlib import Path


class Medium:
    """Remembers what would be lost. To be told of every change before it happens, and of every sync after it has.

    Args:
        attic: a folder on the same file system, where files are kept that have lost their names; empty at first, later
            that of a process that was killed before.
    """

    def __init__(self, attic: Path) -> None:
        self._attic = attic
        self._since = time.time_ns()  # what was written before is whole
        self._before: dict[Path, list[tuple[Path, Path | None]]] = {}
        self._whole: set[int] = set()
        self._hollow: dict[Path, int] = {}
        if (notes := attic / "notes").exists():
            self._before, self._whole, self._hollow = pickle.loads(notes.read_bytes())

    def survive(self) -> None:
        """The process is about to be killed, and the system is not."""
        (self._attic / "notes").write_bytes(pickle.dumps((self._before, self._whole, self._hollow)))

    def renames(self, source: Path, target: Path) -> None:
        """A file is about to get another name."""
        self.changes(target)
        self.changes(source)
        if source.is_file():
            status = source.stat()
            if status.st_mtime_ns >= self._since and status.st_ino not in self._whole:
                self._hollow[target] = status.st_ino

    def changes(self, path: Path) -> None:
        """A name is about to be made or removed."""
        kept = None
        if path.is_file():
            kept = self._attic / uuid.uuid4().hex
            kept.hardlink_to(path)
        self._before.setdefault(path.parent.resolve(), []).append((path, kept))

    def synced(self, descriptor: int) -> None:
        """A file or folder is on the medium, as it is."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._before.pop(Path(f"/proc/self/fd/{descriptor}").readlink(), None)
        else:
            self._whole.add(status.st_ino)

    def lose_power(self, folders: Container[Path]) -> None:
        """Leave what is on the medium.

        Args:
            folders: that have not been written to it by chance.
        """
        for path, number in self._hollow.items():
            if path.is_file() and path.stat().st_ino == number and number not in self._whole:
                os.truncate(path, 0)
        for folder in sorted(filter(folders.__contains__, self._before), reverse=True):  # the inner ones first
            for path, kept in reversed(self._before[folder]):
                if path.is_dir():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
                if kept is not None:
                    path.hardlink_to(kept)
