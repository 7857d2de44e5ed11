"""How much is let in: bounds on requests and their bytes, whose excess is sent away, and on pixels, whose excess
waits."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from sam3edge_serving.http.errors import Busy

SMOOTHING = 0.1
"""Weight of the last request in the average of how often one is finished."""


class Admission:
    """Lets ``most`` requests in at a time, of one peer a share of them. Used on the event loop only.

    A bounded number of requests bounds the time each waits: the last one let in is answered after those before it. So
    clients above the bound are told when to come back, and the others do not get slower.

    A request has a place from when it is there as a whole: one that only dribbles in keeps nobody out.

    Args:
        peer_share: 0..1, of the places; one at least.
    """

    def __init__(self, most: int, peer_share: float = 1.0) -> None:
        self._most = most
        self._most_of_peer = max(1, int(most * peer_share))
        self._peers: Counter[str] = Counter()
        self._seconds = 1.0
        self._finished_at: float | None = None

    @property
    def inside(self) -> int:
        """Requests that have a place."""
        return self._peers.total()

    def require_room(self, peer: str) -> None:
        """Raises Busy when ``peer`` would not be let in now."""
        inside, own = self.inside, self._peers[peer]
        if inside >= self._most:
            complaint = f"too many requests in progress ({inside})"
        elif own >= self._most_of_peer:
            complaint = f"too many requests of one address in progress ({own})"
        else:
            return
        wait = self.retry_after()
        raise Busy(f"{complaint}; try again in {wait} s", retry_after=wait)

    @contextmanager
    def enter(self, peer: str) -> Iterator[None]:
        """Hold a place.

        Args:
            peer: the address that asks.

        Raises:
            Busy: all are taken, or all that this peer can have.
        """
        self.require_room(peer)
        self._peers[peer] += 1
        try:
            yield
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            self._finished()

    def retry_after(self) -> int:
        """Whole seconds in which about half of the requests will be done, 1..30."""
        return min(30, max(1, math.ceil(self.inside / 2 * self._seconds)))

    def _finished(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._finished_at is not None and self.inside:
            self._seconds += SMOOTHING * (now - self._finished_at - self._seconds)
        self._finished_at = now


class ByteBudget:
    """Bounds the bytes of requests that are in memory at once. Used on the event loop only.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Hold bytes: give their number to what is yielded whenever more come, which raises Busy for one too many."""
        own = 0

        def take(size: int) -> None:
            nonlocal own
            if self.held + size > self._most:
                raise Busy("too many requests are being received; try again", retry_after=1)
            self.held += size
            own += size

        try:
            yield take
        finally:
            self.held -= own


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
