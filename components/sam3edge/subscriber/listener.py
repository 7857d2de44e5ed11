"""From a broker to sinks, and nothing is lost or written twice: the flow of ``sam3edge listen``.

    message -> checked -> journal (on disk) -> acknowledged -> put together -> sinks (on disk) -> journal: finished

As many messages as have arrived are taken at a time, so that the disk is flushed no more often for a fast source than
for a slow one. A process that is killed at any point finds in its journal what was acknowledged and not finished; what
was not acknowledged comes again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from sam3edge.core.errors import MessageRefused, Sam3EdgeError
from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.connection import Arrived, Connection
from sam3edge.subscriber.journal import Journal
from sam3edge.subscriber.names import one_line
from sam3edge.subscriber.reading import (
    MAX_COMPLAINT,
    MAX_PAYLOAD,
    MAX_TOPIC,
    TOPIC_OF,
    DeviceMessage,
    read_message,
)
from sam3edge.subscriber.reassembly import DEFAULT_BOUNDS, Bounds, Reassembly, key_of

logger = logging.getLogger(__name__)

BATCH = 100
"""Messages that are taken at a time, at most. A sink that was killed may have written this many that come again."""

BATCH_BYTES = 8 << 20
_BLAMELESS = (Sam3EdgeError, OSError, MemoryError)
"""What a sink raises that is not about a message."""

_QUEUED = 2 * BATCH
_IDLE_SECONDS = 1.0

Connect = Callable[[Mapping[str, int], Callable[[Arrived], None]], Connection]
"""Makes the connection, for topic filters with their QoS."""


class Sink(Protocol):
    """A place for whole messages."""

    @property
    def topics(self) -> Mapping[str, int]:
        """Names of topics as in ``core.messages.topics`` that it takes messages of, and at which QoS. At 0 it is given
        what is said while it listens, and nothing that was kept for it, by the broker or in the journal."""

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """Write what it takes of these messages, of whatever kinds: it is on the medium when this returns. The last
        ones before a kill come again, and those that it has it leaves out or replaces.

        Called at least once a second, with nothing when nothing has come, so that it sees time pass.

        Raises:
            SubscriptionError: they cannot be written; all of them come again after a restart.
            Exception: something that is no error of this project or of the system is one of these messages' fault.
                Each of them comes again alone, and the one whose fault it is, is left out.
        """

    def close(self) -> None:
        """Release what it holds."""


@dataclass(slots=True)
class Statistics:
    """Since the start: messages that came, that were refused or known before, whole ones that went to the sinks, how
    often a sink had to leave one out, and frames of which parts did not come."""

    arrived: int = 0
    refused: int = 0
    repeated: int = 0
    whole: int = 0
    left_out: int = 0
    incomplete: int = 0


class Listener:
    """See the module.

    Args:
        connect: makes the connection; its QoS 0 messages, which the broker does not keep either, are not journaled.
        prefix: of the devices' topics, with wildcards.
        sinks: in the order in which they are written.
    """

    def __init__(
        self, connect: Connect, prefix: str, journal: Journal, sinks: Sequence[Sink], bounds: Bounds = DEFAULT_BOUNDS
    ) -> None:
        self._journal = journal
        self._sinks = sinks
        self._reassembly = Reassembly(bounds, journal.finished())
        self._queue: queue.Queue[Arrived] = queue.Queue(_QUEUED)
        self._stopping = threading.Event()
        self._refusals, self._omissions = (Complaints(logger, logging.ERROR) for _ in range(2))
        self.statistics = Statistics()
        topics: dict[str, int] = {}
        for sink in sinks:
            for name, qos in sink.topics.items():
                topics[f"{prefix}/{name}"] = max(qos, topics.get(f"{prefix}/{name}", 0))
        self.connection = connect(topics, self._enqueue)

    def run(self) -> None:
        """Listen until ``stop``.

        Raises:
            SubscriptionError: the broker refuses this client, or a sink or the journal cannot be written. What was
                taken over and not finished is in the journal.
        """
        self._resume()
        self.connection.start()
        try:
            while not self._stopping.is_set():
                self.connection.check()
                self._process(self._next_batch())
        finally:
            self._stopping.set()
            self.connection.stop()

    def stop(self) -> None:
        """End ``run`` soon; from any thread, or from a handler of signals."""
        self._stopping.set()

    def _enqueue(self, arrived: Arrived) -> None:
        """In the connection's thread: with a full queue the broker waits, too. What is too large needs no room."""
        if len(arrived.payload) > MAX_PAYLOAD:
            arrived = replace(arrived, payload=arrived.payload[: MAX_PAYLOAD + 1])
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(arrived, timeout=_IDLE_SECONDS)
                return

    def _next_batch(self) -> list[Arrived]:
        """What has arrived; waits for it for a while."""
        batch: list[Arrived] = []
        size = 0
        try:
            while len(batch) < BATCH and size < BATCH_BYTES:
                batch.append(self._queue.get(not batch, _IDLE_SECONDS))
                size += len(batch[-1].payload)
        except queue.Empty:
            pass
        return batch

    def _process(self, batch: Sequence[Arrived]) -> None:
        read = [(message, arrived) for arrived in batch if (message := self._read(arrived)) is not None]
        lasting = [m for m, arrived in read if arrived.qos > 0 and not self._reassembly.knows(m)]
        if lasting:
            self._journal.add(lasting)
        for arrived in batch:
            arrived.acknowledge()
        whole = [w for m, arrived in read if (w := self._reassembly.take(m, len(arrived.payload))) is not None]
        self._finish(whole, frozenset(key_of(m) for m, arrived in read if arrived.retained))

    def _read(self, arrived: Arrived) -> DeviceMessage | None:
        self.statistics.arrived += 1
        try:
            return read_message(arrived.topic, arrived.payload)
        except MessageRefused as error:  # it would be no better the next time
            self.statistics.refused += 1
            self._refusals.say("refused a message on %s: %s", one_line(arrived.topic, MAX_TOPIC), error)
            return None

    def _resume(self) -> None:
        """Finish what was taken over before; what waits for other parts waits on."""
        waiting: list[DeviceMessage] = []
        for message in self._journal.open():
            whole = self._reassembly.take(message, len(to_json(message)))
            if whole is not None:
                waiting.append(whole)
            if len(waiting) == BATCH:
                self._finish(waiting, frozenset(_keys(waiting)))
                waiting = []
        self._finish(waiting, frozenset(_keys(waiting)))

    def _finish(self, messages: Sequence[DeviceMessage], kept: Collection[str]) -> None:
        """Those whose keys are in ``kept`` were not said just now."""
        for sink in self._sinks:
            self._write(sink, [m for m in messages if not kept or key_of(m) not in kept or _lasts(m, sink)])
        dropped = self._reassembly.take_dropped()
        if messages or dropped:
            self._journal.settle(_keys(messages), dropped)
        self.statistics.whole += len(messages)
        self._reassembly.report_overdue()
        self._refusals.report()
        self._omissions.report()
        self.statistics.repeated = self._reassembly.repetitions
        self.statistics.incomplete = self._reassembly.incomplete

    def _write(self, sink: Sink, messages: Sequence[DeviceMessage]) -> None:
        """Whatever a message says, and whatever a sink makes of it, costs no more than this message there: it would be
        in the journal at the next start, too, and at every one after that."""
        try:
            sink.write(messages)
        except _BLAMELESS:
            raise
        except Exception as error:
            if not messages:
                raise
            if len(messages) > 1:
                for message in messages:
                    self._write(sink, [message])
                return
            self.statistics.left_out += 1
            name, device, what = type(sink).__name__, messages[0]["device"], type(error).__name__
            reason = one_line(str(error), MAX_COMPLAINT)
            self._omissions.say("%s left out %.128r of %.64r: %s: %s", name, messages[0]["id"], device, what, reason)


def _lasts(message: DeviceMessage, sink: Sink) -> bool:
    """Whether a sink wants a message that was kept for it."""
    return sink.topics.get(TOPIC_OF.get(message["message_type"], ""), 1) > 0


def _keys(messages: Iterable[DeviceMessage]) -> list[str]:
    return [key_of(message) for message in messages]
