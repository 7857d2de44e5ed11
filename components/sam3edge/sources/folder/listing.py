"""Which files of a folder are images to be read, and what they look like from outside."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """Modification time in nanoseconds and size in bytes: changes whenever the content does, but for rare cases."""

    mtime_ns: int
    size: int


class NotAFile(Exception):
    """A folder, a pipe, a device or a symbolic link where a file was expected."""


def stamp_of(path: Path) -> Stamp:
    """The stamp of a regular file; symbolic links are not followed.

    Raises:
        FileNotFoundError: it has gone.
        NotAFile: it is something else.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(f"expected a file, got {stat.filemode(status.st_mode)}")
    return Stamp(status.st_mtime_ns, status.st_size)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder held at one moment.

    Attributes:
        files: stamp by path relative to the folder.
        complete: False when a sub-folder could not be read, so that a file which is missing may still exist.
        folder_identity: device and inode of the folder; differs when a share was mounted or taken away.
    """

    files: dict[str, Stamp]
    complete: bool
    folder_identity: tuple[int, int]

    def in_order(self) -> list[tuple[str, Stamp]]:
        """The files by modification time, then by name."""
        return _in_order(self.files.items())

    def changes_since(self, earlier: Listing) -> list[tuple[str, Stamp]]:
        """The files that are new or have changed, in the same order."""
        return _in_order(item for item in self.files.items() if earlier.files.get(item[0]) != item[1])


def _in_order(files: Iterable[tuple[str, Stamp]]) -> list[tuple[str, Stamp]]:
    return sorted(files, key=lambda item: (item[1].mtime_ns, item[0]))


@dataclass(frozen=True, slots=True)
class FolderScope:
    """What belongs to a watched folder.

    Attributes:
        root: the folder, absolute and free of symbolic links.
        recursive: whether sub-folders belong to it.
        suffixes: endings of the files that count, in lower case, with the dot.
        excluded: folders, absolute and free of symbolic links, that do not count (quarantine, done).
    """

    root: Path
    recursive: bool
    suffixes: frozenset[str]
    excluded: frozenset[Path]

    def relative(self, path: str) -> str | None:
        """The path relative to the root, or None when it does not belong here.

        Hidden names, names that programs give to unfinished files (``~``, ``.part``, ``.tmp``) and whatever lies in a
        hidden or excluded folder do not belong until they are renamed.
        """
        file = Path(path)
        if not file.is_relative_to(self.root):
            return None
        relative = file.relative_to(self.root)
        if not self._counts(file.name) or (not self.recursive and len(relative.parts) > 1):
            return None
        if any(not self._enters(folder) for folder in file.parents if folder.is_relative_to(self.root)):
            return None
        return str(relative)

    def listing(self) -> Listing:
        """Everything that belongs here, now.

        Raises:
            OSError: the folder itself cannot be read.
        """
        status = self.root.stat()
        files: dict[str, Stamp] = {}
        complete = True
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self.root / folder) as entries:
                    for entry in entries:
                        relative = f"{folder}{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            if self.recursive and self._enters(Path(entry.path)):
                                pending.append(relative + os.sep)
                        elif self._counts(entry.name) and entry.is_file(follow_symlinks=False):
                            _add(files, relative, entry)
            except OSError as error:
                if not folder:
                    raise
                complete = False
                logger.warning("Sub-folder %r cannot be read: %s", folder, error)
        return Listing(files, complete, (status.st_dev, status.st_ino))

    def _counts(self, name: str) -> bool:
        return name[:1] not in (".", "~") and os.path.splitext(name)[1].lower() in self.suffixes  # noqa: PTH122 - speed

    def _enters(self, folder: Path) -> bool:
        return folder == self.root or (not folder.name.startswith(".") and folder not in self.excluded)


def _add(files: dict[str, Stamp], relative: str, entry: os.DirEntry[str]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    files[relative] = Stamp(status.st_mtime_ns, status.st_size)
