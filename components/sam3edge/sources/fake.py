"""A source without a device: for tests, demonstrations and dry runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from sam3edge.core.errors import FrameError
from sam3edge.core.ports import EndOfSource, SourceTraits
from sam3edge.core.types import Frame


class ListSource:
    """Delivers what it was given, then ends.

    Args:
        items: frames to deliver, errors to raise, and None where nothing is to come in time.

    Attributes:
        finished: ids passed to ``done``, in order.
        rejected: errors passed to ``reject``, in order.
        closed: whether ``close`` was called.
    """

    def __init__(self, items: Iterable[Frame | FrameError | None]) -> None:
        self.finished: list[str] = []
        self.rejected: list[FrameError] = []
        self.closed = False
        self._items = deque(items)

    @property
    def traits(self) -> SourceTraits:
        """Its frames wait."""
        return SourceTraits(waits=True)

    @property
    def backlog(self) -> int:
        """Items that are left."""
        return len(self._items)

    @property
    def unfinished(self) -> int:
        """0: nothing is seen before it is whole."""
        return 0

    def next(self, timeout: float) -> Frame | None:
        """The next item; see ``Source.next``."""
        if self.closed or not self._items:
            raise EndOfSource
        item = self._items.popleft()
        if isinstance(item, FrameError):
            raise item
        if item is None:
            time.sleep(timeout)
        return item

    def done(self, frame: Frame) -> None:
        """Note that the frame is done."""
        self.finished.append(frame.id)

    def reject(self, error: FrameError) -> None:
        """Note that the frame was rejected."""
        self.rejected.append(error)

    def close(self) -> None:
        """End; see ``Source.close``."""
        self.closed = True
