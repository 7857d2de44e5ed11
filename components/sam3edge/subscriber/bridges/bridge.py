"""A sink that publishes to another broker what a translator makes of devices' messages."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sam3edge.core.errors import SubscriptionError
from sam3edge.core.messages import topics
from sam3edge.subscriber.connection import Arrived, Connection, Outgoing
from sam3edge.subscriber.reading import DeviceMessage

MAX_PUBLISHED = 200
"""Messages that are under way to the broker at a time."""

_QUEUED = 10_000
_FAREWELL_SECONDS = 5.0


class Translator(Protocol):
    """What is to be published. Retained messages are states: of several of a topic, only the last one matters."""

    @property
    def will(self) -> Outgoing:
        """What the broker publishes when the bridge is gone."""

    @property
    def subscriptions(self) -> Mapping[str, int]:
        """Topic filters at the bridge's broker, with the QoS of each."""

    def begin(self) -> Iterable[Outgoing]:
        """After each connection: that the bridge is there, and every state, which the broker may have lost."""

    def take(self, message: DeviceMessage) -> Iterable[Outgoing]:
        """For a message of a device."""

    def hear(self, topic: str, payload: bytes, retained: bool) -> Iterable[Outgoing]:
        """For a message at one of the subscriptions."""

    def tick(self) -> Iterable[Outgoing]:
        """For time that has passed."""


class Retained:
    """States as the broker should have them."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}

    def put(self, topic: str, payload: bytes) -> Iterator[Outgoing]:
        """What is to be published for this state: nothing where it is so already. An empty one deletes it."""
        if payload != self._payloads.get(topic, b""):
            yield Outgoing(topic, payload, retain=True)
        if payload:
            self._payloads[topic] = payload
        else:
            self._payloads.pop(topic, None)

    def delete(self, topic: str) -> Iterator[Outgoing]:
        """What is to be published for a state that the broker may have of a bridge before."""
        self._payloads.pop(topic, None)
        yield Outgoing(topic, b"", retain=True)

    def learn(self, topic: str, payload: bytes) -> None:
        """That the broker has this, unless something else was put there meanwhile."""
        self._payloads.setdefault(topic, payload)

    def __iter__(self) -> Iterator[Outgoing]:
        return (Outgoing(topic, payload, retain=True) for topic, payload in self._payloads.items())


Connect = Callable[[Mapping[str, int], Callable[[Arrived], None], Outgoing], Connection]
"""Makes the connection, for topic filters with their QoS and a will."""


class Bridge:
    """See ``Sink``. What is published is acknowledged by the broker before ``write`` returns; as long as that cannot be
    reached, ``write`` waits. Messages that come again after a kill are published again.

    Heartbeats are taken at QoS 0: those that are kept for a bridge that was away say nothing about now.
    """

    topics: Mapping[str, int] = {topics.DETECTIONS: 1, topics.EVENTS: 1, topics.STATUS: 0}

    def __init__(self, translator: Translator, connect: Connect) -> None:
        self._translator = translator
        self._heard: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        self._greeted = 0
        self._connection = connect(translator.subscriptions, self._hear, translator.will)
        self._connection.start()

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``.

        Raises:
            SubscriptionError: the broker refuses the bridge, or it was closed meanwhile.
        """
        self._connection.check()
        outgoing: list[Outgoing] = []
        if self._connection.up and self._connection.connections != self._greeted:
            self._greeted = self._connection.connections
            outgoing += self._translator.begin()
        try:
            for arrived in self._take_heard():
                outgoing += self._translator.hear(arrived.topic, arrived.payload, arrived.retained)
            for message in messages:
                outgoing += self._translator.take(message)
            outgoing += self._translator.tick()
        finally:  # the translator takes what it gave for published
            self._publish(latest(outgoing))

    def close(self) -> None:
        """See ``Sink``. The will is said before: a broker forgets that of who leaves in peace."""
        if self._connection.up:
            self._connection.publish([self._translator.will], _FAREWELL_SECONDS)
        self._connection.stop()

    def _publish(self, messages: Sequence[Outgoing]) -> None:
        for start in range(0, len(messages), MAX_PUBLISHED):
            if not self._connection.publish(messages[start : start + MAX_PUBLISHED]):
                self._connection.check()
                raise SubscriptionError("the bridge was closed before its broker had everything")

    def _hear(self, arrived: Arrived) -> None:
        """In the connection's thread."""
        if self._heard.qsize() < _QUEUED:
            self._heard.put(arrived)
        arrived.acknowledge()

    def _take_heard(self) -> Iterable[Arrived]:
        while True:
            try:
                yield self._heard.get_nowait()
            except queue.Empty:
                return


def latest(messages: Iterable[Outgoing]) -> list[Outgoing]:
    """In order, without states that a later one of the same topic replaces."""
    kept: dict[tuple[str, int], Outgoing] = {}
    for number, message in enumerate(messages):
        key = message.topic, 0 if message.retain else 1 + number
        kept.pop(key, None)
        kept[key] = message
    return list(kept.values())
