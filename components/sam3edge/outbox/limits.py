"""How much the outbox holds, and what it does when that is reached: one class for each answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from sam3edge.core.errors import OutboxFull
from sam3edge.outbox.table import Entry


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How many delivered messages are kept for replay; both bounds hold.

    Attributes:
        messages: at most this many, the last ones.
        seconds: delivered at most this long before the *last* delivery, so that the window does not move while nothing
            can be delivered or the device is off.
    """

    messages: int = 100
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class OutboxOptions:
    """Bounds of an outbox.

    Attributes:
        max_bytes: of undelivered messages. A message counts what it takes on the medium: its payload, its names, and
            half a KiB for the row. The window takes at most a quarter of this in addition, and what is kept for a
            replay as much again; the file never exceeds ``file_bytes``.
        max_age: undelivered messages older than this many seconds are dropped and counted; None keeps them for ever.
            Judged by the wall clock: on a device without a battery-backed clock, the first synchronisation makes
            everything that was queued before look old.
        replay: what is kept for replay.
    """

    max_bytes: int = 256 << 20
    max_age: float | None = None
    replay: ReplayOptions = field(default_factory=ReplayOptions)

    @property
    def file_bytes(self) -> int:
        """What the database file never exceeds; its journal takes about 1 MiB, or the largest frame, in addition."""
        return self.max_bytes * 3 // 2 + (4 << 20)

    def __post_init__(self) -> None:
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes: expected more than 0, got {self.max_bytes}")
        if self.max_age is not None and self.max_age <= 0:
            raise ValueError(f"max_age: expected more than 0 seconds or None, got {self.max_age}")
        if self.replay.messages < 0 or self.replay.seconds < 0:
            raise ValueError(f"replay: expected no negative numbers, got {self.replay}")


class Overflow(Protocol):
    """Chooses what has to leave."""

    def victims(self, queued: Iterable[Entry], missing: int) -> list[Entry]:
        """Make room.

        Args:
            queued: the undelivered messages that may leave, oldest first.
            missing: bytes to be freed, more than 0.

        Returns:
            Those that leave.

        Raises:
            OutboxFull: nothing, or not enough, may leave.
        """


class Block:
    """Nothing leaves undelivered; whoever puts has to wait. For sources that can wait, such as folders."""

    def victims(self, queued: Iterable[Entry], missing: int) -> list[Entry]:
        """Refuse."""
        raise OutboxFull(f"The outbox is full: {missing} bytes too many. Wait for room and put again.")


class DropOldest:
    """The oldest messages leave for the newest. For sources that cannot wait, such as cameras."""

    def victims(self, queued: Iterable[Entry], missing: int) -> list[Entry]:
        """Choose from the oldest on until enough is free."""
        chosen: list[Entry] = []
        for entry in queued:
            chosen.append(entry)
            missing -= entry.cost
            if missing <= 0:
                return chosen
        raise OutboxFull(
            f"The outbox is full of messages that are being sent now: {missing} bytes too many. Try again."
        )
