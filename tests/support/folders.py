"""Folder sources that do everything soon, and what tests do with them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sam3edge.core.errors import FrameError
from sam3edge.core.types import Frame
from sam3edge.sources.folder.source import FolderOptions, FolderSource
from support import media

PATIENCE = 20.0


def options(root: Path, **changes: Any) -> FolderOptions:
    """``root/in`` is watched; journal and quarantine lie beside it."""
    (root / "in").mkdir(exist_ok=True)
    soon = {"settle_seconds": 0.03, "unfinished_seconds": 0.2, "rescan_seconds": 0.05, "retry_seconds": 0.05}
    where = {"folder": root / "in", "journal": root / "journal.sqlite", "quarantine": root / "quarantine"}
    return FolderOptions(**(where | soon | changes))


@contextmanager
def opened(root: Path, **changes: Any) -> Iterator[FolderSource]:
    source = FolderSource(options(root, **changes))
    try:
        yield source
    finally:
        source.close()


def next_frame(source: FolderSource) -> Frame:
    """The next frame, or a failure after ``PATIENCE`` seconds. Errors of frames are raised."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        frame = source.next(0.2)
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


def next_error(source: FolderSource) -> FrameError:
    try:
        frame = next_frame(source)
    except FrameError as error:
        return error
    raise AssertionError(f"expected an error, got {frame.name}")


def finish(source: FolderSource, count: int) -> list[str]:
    """Take this many frames and finish each: their names."""
    names = []
    for _ in range(count):
        frame = next_frame(source)
        names.append(frame.name)
        source.done(frame)
    return names


def nothing_comes(source: FolderSource, seconds: float = 0.15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if source.next(0.05) is not None:
            return False
    return True


def wait_until(condition: Callable[[], bool], source: FolderSource | None = None) -> None:
    """Wait for something to become true, calling ``next`` meanwhile, which must not deliver."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        if source is None:
            time.sleep(0.02)
        else:
            assert source.next(0.05) is None


def put(path: Path, level: int = 100, age: float = 0.0) -> Path:
    """Put a small PNG there at one stroke, as old as asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".draft-{path.name}")
    draft.write_bytes(picture(level))
    if age:
        grow_old(draft, age)
    return draft.rename(path)


def grow_old(path: Path, age: float) -> None:
    then = time.time_ns() - int(age * 1e9)
    os.utime(path, ns=(then, then))


def picture(level: int) -> bytes:
    image = media.noise(8, 8, level)
    image[0, 0] = (level % 256, level // 256 % 256, level // 65536)
    return media.encode(image, ".png")


def report_of(path: Path) -> dict[str, Any]:
    """The report beside a file in quarantine."""
    report: dict[str, Any] = json.loads(path.with_name(path.name + ".error.json").read_text("utf-8"))
    return report
