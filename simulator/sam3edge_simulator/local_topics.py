"""Messages between the components of one device (``PublishToTopic``, ``SubscribeToTopic``)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from paho.mqtt.client import topic_matches_sub

from sam3edge_simulator.ipc.service import Stream


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    component: str
    pattern: str
    stream: Stream
    own: bool


class LocalTopics:
    """Who listens to what on this device. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: set[_Subscriber] = set()

    def subscribe(self, component: str, pattern: str, stream: Stream, *, own: bool) -> None:
        """Send messages on ``stream`` until it is closed.

        Args:
            component: who subscribes.
            pattern: topic or filter.
            stream: where messages go.
            own: whether it gets what it published itself.
        """
        subscriber = _Subscriber(component, pattern, stream, own)
        with self._lock:
            self._subscribers.add(subscriber)

        def forget() -> None:
            with self._lock:
                self._subscribers.discard(subscriber)

        stream.on_close(forget)

    def publish(self, component: str, topic: str, event: Mapping[str, object]) -> None:
        """Send an event to everyone who listens to ``topic``."""
        with self._lock:
            listening = [
                one
                for one in self._subscribers
                if topic_matches_sub(one.pattern, topic) and (one.own or one.component != component)
            ]
        for one in listening:
            one.stream.send(event)
