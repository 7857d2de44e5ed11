"""Log files of components, one per component, in the form in which the nucleus writes them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

MAX_LOG_BYTES = 1024 * 1024
KEPT_LOGS = 5
"""How many full files are kept beside the one that is written to."""

_FOLLOW_SECONDS = 0.2


class ComponentLog:
    """Writes ``<folder>/<component>.logger`` and rotates it. Used by several threads.

    Args:
        folder: created when missing.
        component: whose log it is.
        largest: bytes after which a new file begins; the full ones are called ``.1`` (newest) to ``.5``.
    """

    def __init__(self, folder: Path, component: str, *, largest: int = MAX_LOG_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{component}.log"
        self._component = component
        self._largest = largest
        self._lock = threading.Lock()
        self._file = self.path.open("ab")
        self._size = self.path.stat().st_size

    def write(self, level: str, text: str, *, origin: str) -> None:
        """Add one line.

        Args:
            level: ``INFO``, ``WARN`` or ``ERROR``.
            text: without the end of the line.
            origin: ``stdout``, ``stderr`` or what the nucleus itself has to say (``shell-runner-start``).
        """
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{now} [{level}] {self._component}: {origin}. {text}\n".encode(errors="replace")
        with self._lock:
            if self._file.closed:
                return
            if self._size and self._size + len(line) > self._largest:
                self._rotate()
            self._file.write(line)
            self._file.flush()
            self._size += len(line)

    def close(self) -> None:
        """Close the file; what is written afterwards is dropped."""
        with self._lock:
            self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_LOGS - 1, 0, -1):
            older = Path(f"{self.path}.{number}")
            if older.exists():
                older.replace(f"{self.path}.{number + 1}")
        self.path.replace(f"{self.path}.1")
        self._file = self.path.open("ab")
        self._size = 0


def read_log(folder: Path, component: str, last: int) -> Iterator[str]:
    """The last lines of a component's log, full files included, oldest first, without their line ends.

    Raises:
        FileNotFoundError: the component has never logged anything.
    """
    path = folder / f"{component}.log"
    if not path.exists():
        known = sorted(one.stem for one in folder.glob("*.log")) if folder.exists() else []
        raise FileNotFoundError(f"no log of {component!r} in {folder}; there are logs of {known}")
    lines: list[str] = []
    for number in range(KEPT_LOGS + 1):
        part = Path(f"{path}.{number}") if number else path
        if not part.exists() or len(lines) >= last:
            break
        lines = part.read_text(encoding="utf-8", errors="replace").splitlines() + lines
    yield from lines[max(0, len(lines) - last) :]


def follow_log(folder: Path, component: str) -> Iterator[str]:
    """Lines that a component logs from now on, without their line ends; never ends.

    Raises:
        FileNotFoundError: the component has never logged anything.
    """
    path = folder / f"{component}.log"
    file = path.open(encoding="utf-8", errors="replace")
    try:
        file.seek(0, os.SEEK_END)
        while True:
            if line := file.readline():
                yield line.rstrip("\n")
            elif path.exists() and not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
            else:
                time.sleep(_FOLLOW_SECONDS)
    finally:
        file.close()
