"""In which order, and when, the files of a folder are read."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sam3edge.sources.folder.listing import Listing, Stamp


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file whose turn has come.

    Attributes:
        relative: path relative to the watched folder.
        stamp: as it was when the file was noticed; None when only the end of a write or a rename was.
        settled: the stamp was noticed ``settle_seconds`` ago. A file that still has it is not being written, so that
            what is wrong with it is final.
    """

    relative: str
    stamp: Stamp | None
    settled: bool


class Arrivals:
    """Files waiting to be read: what was there at the start first, in order, then what came, as it came.

    A file whose writer closed or renamed it is read at once. One that was only seen waits until its stamp has had time
    to change. Each file waits once, however often it is noticed. Used by one thread.

    Args:
        settle_seconds: how long a file that was seen waits.
        clock: seconds, monotonic.
    """

    def __init__(self, settle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._backlog: deque[tuple[str, Stamp]] = deque()
        self._due: list[tuple[float, int, str]] = []
        self._waiting: dict[str, _Wait] = {}
        self._order = itertools.count()

    def backlog(self, listing: Listing) -> None:
        """Put what was there at the start in line; files touched just now have to settle like new ones."""
        just_now = time.time_ns() - int(self._settle_seconds * 1e9)
        for relative, stamp in listing.in_order():
            if stamp.mtime_ns < just_now:
                self._backlog.append((relative, stamp))
            else:
                self.seen(relative, stamp)

    def closed(self, relative: str) -> None:
        """A writer closed the file, or it was renamed to this."""
        waiting = self._waiting.get(relative)
        if waiting is None or waiting.due > self._clock():
            self._wait(relative, None, 0.0)

    def seen(self, relative: str, stamp: Stamp) -> None:
        """The file is there, perhaps still being written."""
        waiting = self._waiting.get(relative)
        if waiting is None or waiting.stamp not in (None, stamp):
            self._wait(relative, stamp, self._settle_seconds)

    def later(self, relative: str, seconds: float) -> None:
        """The file could not be read; try again."""
        self._wait(relative, None, seconds)

    def gone(self, relative: str) -> None:
        """The file is not there any more."""
        self._waiting.pop(relative, None)

    def pop(self) -> Arrival | None:
        """The next file whose turn has come."""
        if self._backlog:
            relative, stamp = self._backlog.popleft()
            return Arrival(relative, stamp, settled=False)
        while self._due and self._due[0][0] <= self._clock():
            _, order, relative = heapq.heappop(self._due)
            waited = self._waiting.get(relative)
            if waited is not None and waited.order == order:
                del self._waiting[relative]
                return Arrival(relative, waited.stamp, settled=waited.stamp is not None)
        return None

    @property
    def waiting(self) -> int:
        """Files in line, those whose turn has not come included."""
        return len(self._backlog) + len(self._waiting)

    def seconds_until_next(self) -> float:
        """How long nothing will be due; infinity when nothing waits."""
        if self._backlog:
            return 0.0
        return max(0.0, self._due[0][0] - self._clock()) if self._due else float("inf")

    def _wait(self, relative: str, stamp: Stamp | None, seconds: float) -> None:
        wait = _Wait(self._clock() + seconds, next(self._order), stamp)
        self._waiting[relative] = wait
        heapq.heappush(self._due, (wait.due, wait.order, relative))


@dataclass(frozen=True, slots=True)
class _Wait:
    due: float
    order: int
    stamp: Stamp | None
