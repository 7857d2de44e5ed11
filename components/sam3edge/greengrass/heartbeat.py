"""The heartbeat's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class HeartbeatThread:
    """Calls ``beat`` at once and then every ``seconds``, from a thread of its own."""

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        self._seconds = seconds
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; no beat is under way when this returns."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._beat()
            if self._stop.wait(self._seconds):
                return
