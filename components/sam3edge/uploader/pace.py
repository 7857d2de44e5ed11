"""No more bytes a second than the device's connection can spare."""

from __future__ import annotations

from collections.abc import Callable, Iterator

BURST_SECONDS = 1.0
"""Seconds' worth of bytes that may leave at once after a pause."""

PIECE = 1 << 14
"""Bytes that leave at once."""


class Pace:
    """Waits where sending would be too fast.

    Args:
        bytes_per_second: 0 for no bound.
        clock: seconds, monotonic.
        sleep: waits for a number of seconds; may raise UploadError when the program is to end.
    """

    def __init__(self, bytes_per_second: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def wait(self, size: int) -> None:
        """Before so many bytes leave."""
        if not self._rate:
            self._sleep(0.0)
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + size / self._rate
        self._sleep(max(0.0, self._free_at - now))


class PacedBody:
    """A request's body in pieces, each of which is given when it may leave.

    Attributes:
        sent: bytes that were given so far.
    """

    def __init__(self, data: bytes, pace: Pace) -> None:
        self._data = memoryview(data)
        self._pace = pace
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        while piece := bytes(self._data[self.sent : self.sent + PIECE]):
            self._pace.wait(len(piece))
            self.sent += len(piece)
            yield piece
