"""A listener in a thread, with messages from the test in place of a broker's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sam3edge.subscriber.connection import Arrived, Connection
from sam3edge.subscriber.journal import Journal, NoJournal
from sam3edge.subscriber.listener import Listener, Sink
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.reassembly import Bounds
from support.device_messages import TOPIC


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """What is in a file of lines; the one that is being written is left out."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Feed:
    """In place of a connection: messages come from the test."""

    def __init__(self) -> None:
        self.topics: Mapping[str, int] = {}
        self.acknowledged: list[str] = []
        self.failure: Exception | None = None
        self._take: Callable[[Arrived], None] = lambda arrived: None

    def __call__(self, topics: Mapping[str, int], take: Callable[[Arrived], None]) -> Connection:
        self.topics, self._take = topics, take
        return self  # type: ignore[return-value]

    def send(
        self, message: Mapping[str, Any] | bytes, qos: int = 1, topic: str = TOPIC, retained: bool = False
    ) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        name = message["id"] if isinstance(message, Mapping) else "rubbish"
        self._take(Arrived(topic, payload, qos, retained, lambda: self.acknowledged.append(name)))

    def start(self) -> None:
        """Nothing has to be started."""

    def stop(self) -> None:
        """Nor stopped."""

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


class Memory:
    """A sink that remembers, and fails when it is told to."""

    def __init__(self, **topics: int) -> None:
        self.topics = topics or {"detections": 1}
        self.written: list[DeviceMessage] = []
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        self.gate.wait(30)
        if messages and self.failure is not None:
            raise self.failure
        self.written += messages
        self.batches += [len(messages)] if messages else []

    def close(self) -> None:
        """Nothing is open."""


class Running:
    """A listener in a thread."""

    def __init__(
        self, feed: Feed, sinks: Sequence[Sink], journal: Journal | None = None, bounds: Bounds | None = None
    ) -> None:
        self.listener = Listener(feed, "sam3edge/+", journal or NoJournal(), sinks, bounds or Bounds())
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.listener.run()
        except Exception as error:
            self.error = error

    def stop(self) -> BaseException | None:
        self.listener.stop()
        return self.join()

    def join(self) -> BaseException | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.error
