"""Hidden folders in which files grow beside their place.

Who writes in one holds a lock, which ends with the process. So what a killed process has left is told from what another
one is writing at this moment.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from glob import escape
from pathlib import Path

_LOCK = ".lock"
_RANDOM = "?" * 8
"""What ``tempfile`` makes names of."""


class Draft:
    """A folder for a file that is being written; those that killed processes have left for the same file go.

    Args:
        path: what the file will be called.

    Attributes:
        folder: empty but for the lock, whose name begins with a dot.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        beginning = f".{path.name}."
        for left in path.parent.glob(escape(beginning) + _RANDOM):
            if _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        self.folder = Path(tempfile.mkdtemp(prefix=beginning, dir=path.parent))
        try:
            self._lock = _locked(self.folder)
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def files(self) -> list[Path]:
        """What was written."""
        return [file for file in self.folder.iterdir() if file.name != _LOCK]

    def remove(self) -> None:
        """Remove the folder with all that is still in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(folder: Path) -> int | None:
    """The lock, which gets its name once it is held; None on file systems without locks."""
    unnamed = folder / f"{_LOCK}.new"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        unnamed.unlink()
        return None
    unnamed.rename(folder / _LOCK)
    return lock


def _is_abandoned(folder: Path) -> bool:
    """Whether it is certain that nobody writes in it: there is a lock, and nobody holds it."""
    with suppress(OSError):
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    return False
