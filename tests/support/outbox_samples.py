"""Messages and clocks for the tests of the publishers."""

from __future__ import annotations

from sam3edge.core.types import Message
from sam3edge.outbox.outbox import Outbox


def message(name: str | int, size: int = 100, topic: str = "t/detections", supersedes: str = "") -> Message:
    return Message(id=str(name), topic=topic, payload=str(name).encode().ljust(size, b"."), supersedes=supersedes)


def unflushed(outbox: Outbox) -> Outbox:
    """Survives SIGKILL but no power cut: flushing the medium would take most of the time of these tests."""
    outbox._storage._database._connection.execute("PRAGMA synchronous = OFF")
    return outbox


class Clock:
    """Stands still until it is told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
