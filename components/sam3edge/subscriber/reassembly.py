"""Messages in any order, repeated or not, to whole messages, each once.

Delivery is at least once, and a frame's detections may come in parts, and these in pieces (docs/messages.md).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from sam3edge.core.messages.envelope import message_id, to_json
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.reading import DeviceMessage

logger = logging.getLogger(__name__)

WAITING_SECONDS = 60.0
"""After which it is said that parts of a frame have not come. They are waited for on: a device that was offline may
have them for hours."""

MAX_PIECES = 512
"""Messages of one part, as in the page's ``reassembly.js``: a part of 1 MiB in messages of 4,000 bytes has fewer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be held in memory.

    Attributes:
        remembered: whole messages that are known as seen; what comes again after so many others is new.
        waiting: frames of which parts are missing; of more, one is dropped of the device that has most of them, the one
            that has waited longest.
        waiting_bytes: likewise, of their payloads; as objects they take several times as much.
    """

    remembered: int = 100_000
    waiting: int = 1_000
    waiting_bytes: int = 16 << 20


DEFAULT_BOUNDS = Bounds()


def key_of(message: DeviceMessage) -> str:
    """What all parts of a message have in common, and no other message: 32 hexadecimal digits."""
    kind = message["message_type"]
    own = [message["source"], message["frame"]["id"]] if kind == "detections" else [message["id"]]
    return hashlib.sha256(to_json([kind, message["device"], *own])).hexdigest()[:32]


@dataclass(slots=True)
class _Parts:
    """What has come of a frame: messages by part, and by which share of it they are."""

    device: str
    count: int
    since: float
    overdue: bool = False
    covered: Fraction = Fraction(0)
    size: int = 0
    messages: dict[int, dict[tuple[Fraction, Fraction], DeviceMessage]] = field(default_factory=dict)

    def covers(self, message: DeviceMessage) -> bool:
        """Whether there is nothing new in it."""
        start, end = _share(message)
        there = self.messages.get(message["part"]["index"], {})
        return any(first <= start and end <= last for first, last in there)

    def add(self, message: DeviceMessage) -> None:
        """A part that a nucleus refused for its size comes in pieces, and these perhaps in pieces again: ``0 of 2``,
        ``2 of 4`` and ``3 of 4`` are a whole. What came before in smaller pieces gives way to a larger one."""
        start, end = _share(message)
        there = self.messages.setdefault(message["part"]["index"], {})
        for inner in [share for share in there if start <= share[0] and share[1] <= end]:
            del there[inner]
            self.covered -= inner[1] - inner[0]
        there[start, end] = message
        self.covered += end - start

    def __str__(self) -> str:
        one = next(message for there in self.messages.values() for message in there.values())
        return f"the frame {one['frame']['id']!r:.64} of {self.device!r:.64}"

    @property
    def complete(self) -> bool:
        """Whether every part is whole."""
        return self.covered == self.count

    def whole(self) -> DeviceMessage:
        """The message as it would have been if it had fitted into one."""
        ordered = [
            self.messages[index][share] for index in sorted(self.messages) for share in sorted(self.messages[index])
        ]
        if len(ordered) == 1:
            return ordered[0]
        first = ordered[0]
        return {
            **first,
            "id": message_id(first["device"], first["frame"]["id"], "detections"),
            "features": [feature for message in ordered for feature in message["features"]],
            "part": {"index": 0, "count": 1},
        }


class Reassembly:
    """See the module. Not for several threads at a time.

    Args:
        known: keys of messages that were taken before, by another process perhaps.
        clock: seconds, monotonic.

    Attributes:
        repetitions: messages that were known.
        dropped: frames that had to make room before all of their parts had come, or had too many pieces.
    """

    def __init__(
        self,
        bounds: Bounds = DEFAULT_BOUNDS,
        known: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._finished: OrderedDict[str, None] = OrderedDict.fromkeys(known)
        self._frames: OrderedDict[str, _Parts] = OrderedDict()
        self._size = 0
        self._dropped: list[str] = []
        self._complaints = Complaints(logger, clock=clock)
        self.repetitions = 0
        self.dropped = 0

    def knows(self, message: DeviceMessage) -> bool:
        """Whether there is nothing new in a message."""
        key = key_of(message)
        parts = self._frames.get(key)
        return key in self._finished or (parts is not None and _fits(parts, message) and parts.covers(message))

    def take(self, message: DeviceMessage, size: int = 0) -> DeviceMessage | None:
        """Take a message, of that many bytes.

        Returns:
            What it completes: itself, or a frame's detections when no part is missing any more; None for repetitions,
            and for parts that others are waited for.
        """
        if self.knows(message):
            self.repetitions += 1
            return None
        key = key_of(message)
        if message.get("message_type") != "detections":
            self._finish(key)
            return message
        parts = self._frames.get(key)
        if parts is None or not _fits(parts, message):  # it was made anew, in another number of parts
            self._forget(key)
            parts = self._frames[key] = _Parts(message["device"], message["part"]["count"], self._clock())
        parts.add(message)
        parts.size += size
        self._size += size
        if len(parts.messages[message["part"]["index"]]) > MAX_PIECES:
            self._drop(key, f"a part of it came in more than {MAX_PIECES} pieces")
        elif parts.complete:
            self._forget(key)
            self._finish(key)
            return parts.whole()
        self._make_room()
        return None

    def take_dropped(self) -> list[str]:
        """Keys of the frames that were dropped since this was asked last."""
        dropped, self._dropped = self._dropped, []
        return dropped

    @property
    def incomplete(self) -> int:
        """Frames of which parts did not come: those that were dropped, and those that have waited for too long."""
        return self.dropped + sum(parts.overdue for parts in self._frames.values())

    def report_overdue(self) -> None:
        """Say in the log which frames have waited for ``WAITING_SECONDS``, each once."""
        long_ago = self._clock() - WAITING_SECONDS
        for parts in self._frames.values():  # in the order in which they began to wait
            if parts.since > long_ago:
                break
            if not parts.overdue:
                parts.overdue = True
                text = "%s is incomplete: parts of it have not come for %.0f seconds"
                self._complaints.say(text, parts, WAITING_SECONDS)
        self._complaints.report()

    def _forget(self, key: str) -> None:
        parts = self._frames.pop(key, None)
        self._size -= parts.size if parts is not None else 0

    def _finish(self, key: str) -> None:
        self._finished[key] = None
        if len(self._finished) > self._bounds.remembered:
            self._finished.popitem(last=False)

    def _make_room(self) -> None:
        while len(self._frames) > self._bounds.waiting or self._size > self._bounds.waiting_bytes:
            whose = self._greediest()
            key = next(key for key, parts in self._frames.items() if parts.device == whose)
            self._drop(key, "parts of it did not come")

    def _greediest(self) -> str:
        """The device that takes most of what there is too much of: others lose nothing for it."""
        taken: Counter[str] = Counter()
        for parts in self._frames.values():
            taken[parts.device] += parts.size if self._size > self._bounds.waiting_bytes else 1
        return max(taken, key=taken.__getitem__)

    def _drop(self, key: str, reason: str) -> None:
        self._complaints.say("dropped %s: %s", self._frames[key], reason)
        self._forget(key)
        self._dropped.append(key)
        self.dropped += 1


def _share(message: DeviceMessage) -> tuple[Fraction, Fraction]:
    """Which share of its part a message is."""
    part = message["part"]
    pieces = part.get("pieces", 1)
    start = Fraction(part.get("piece", 0), pieces)
    return start, start + Fraction(1, pieces)


def _fits(parts: _Parts, message: DeviceMessage) -> bool:
    return parts.count == int(message["part"]["count"])
