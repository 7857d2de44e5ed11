"""How much is let in: a bound on requests, whose excess is sent away, and one on pixels, whose excess waits."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sam3edge_serving.http.errors import Busy

SMOOTHING = 0.1
"""Weight of the last request in the average of how often one is finished."""


class Admission:
    """Lets ``most`` requests in at a time. Used on the event loop only.

    A bounded number of requests bounds the time each waits: the last one let in is answered after those before it. So
    clients above the bound are told when to come back, and the others do not get slower.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.inside = 0
        self._seconds = 1.0
        self._finished_at: float | None = None

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            Busy: all are taken.
        """
        if self.inside >= self._most:
            wait = self.retry_after()
            raise Busy(f"too many requests in progress ({self.inside}); try again in {wait} s", retry_after=wait)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._finished()

    def retry_after(self) -> int:
        """Whole seconds in which about half of the requests will be done, 1..30."""
        return min(30, max(1, math.ceil(self.inside / 2 * self._seconds)))

    def _finished(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._finished_at is not None and self.inside:
            self._seconds += SMOOTHING * (now - self._finished_at - self._seconds)
        self._finished_at = now


class PixelBudget:
    """Bounds the pixels that are decoded at once; first come, first served. Used on the event loop only."""

    def __init__(self, pixels: int) -> None:
        self._total = self._free = pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Hold room for an image; one that is larger than the whole budget gets it alone."""
        wanted = min(pixels, self._total)
        if self._waiting or wanted > self._free:
            await self._queue(wanted)
        else:
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            self._serve()

    async def _queue(self, wanted: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (wanted, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += wanted  # its turn came in the moment it gave up
            elif entry in self._waiting:
                self._waiting.remove(entry)
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)
