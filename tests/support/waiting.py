"""Waiting for what other processes do, with bounds that a loaded machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sam3edge_simulator.deployer import Patience

PATIENCE = 30.0

WATCHFUL = Patience(start_period=1.0, settle=60.0)
"""For components that fail at once, however long a loaded machine takes for that."""


def until(holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "did not come to that in time"
        time.sleep(0.02)


def until_reads(path: Path, text: str) -> None:
    """Wait until a file has exactly this content."""
    end = time.monotonic() + PATIENCE
    while not path.exists() or path.read_text() != text:
        found = path.read_text() if path.exists() else "no file"
        assert time.monotonic() < end, f"expected {text!r} in {path.name}, got {found!r}"
        time.sleep(0.02)


def lines_of(path: Path) -> list[str]:
    """The lines of a file, once its last one is whole."""
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return path.read_text().splitlines()
