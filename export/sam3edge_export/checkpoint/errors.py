"""What can be wrong with a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from sam3edge.core.errors import Sam3EdgeError


class CheckpointError(Sam3EdgeError):
    """A checkpoint cannot be read, or is not one of SAM 3."""


def some_of(names: Sequence[str], most: int = 4) -> str:
    """The first few of many names, and how many there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
