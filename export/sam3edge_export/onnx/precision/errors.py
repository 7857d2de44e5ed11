"""What can be wrong with a precision."""

from __future__ import annotations

from sam3edge.core.errors import Sam3EdgeError


class PrecisionError(Sam3EdgeError):
    """A graph cannot be brought to the precision that was asked for."""
