"""The shortest consumer: a function that is called with every whole message."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import MessageRefused
from sam3edge.subscriber.broker_url import Broker
from sam3edge.subscriber.complaints import Complaints
from sam3edge.subscriber.connection import Arrived, Connection
from sam3edge.subscriber.names import one_line
from sam3edge.subscriber.reading import MAX_TOPIC, DeviceMessage, read_message
from sam3edge.subscriber.reassembly import Reassembly

logger = logging.getLogger(__name__)

DETECTIONS = "sam3edge/+/detections"


class Subscriber:
    """Calls ``handle`` with every message once: repetitions are dropped, parts put together.

    A message is acknowledged when its frame was handled or its part is kept, which is in memory: a consumer that must
    not lose the parts of a frame when it is killed keeps them itself, as ``Journal`` does for ``sam3edge listen``.

    Args:
        client_id: the same at every start, or what came meanwhile is lost.
        handle: called in the thread of ``run``, which ends with whatever it raises.
        topics: topic filters.
        backoff: pauses between attempts to connect.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        handle: Callable[[DeviceMessage], None],
        topics: Sequence[str] = (DETECTIONS,),
        backoff: Backoff | None = None,
    ) -> None:
        self._handle = handle
        self._refusals = Complaints(logger, logging.ERROR)
        self.reassembly = Reassembly()
        self.connection = Connection(
            broker, client_id, dict.fromkeys(topics, 1), self._take, durable=True, backoff=backoff
        )

    def run(self) -> None:
        """Until ``stop``. What ``handle`` raises ends it: the message is not acknowledged then, and comes again.

        Raises:
            SubscriptionError: the broker refuses this client.
        """
        self.connection.run()

    def stop(self) -> None:
        """Disconnect, from any thread; the broker continues to keep messages."""
        self.connection.stop()

    def _take(self, arrived: Arrived) -> None:
        self._refusals.report()
        try:
            message = read_message(arrived.topic, arrived.payload)
        except MessageRefused as error:  # it would be no better the next time
            self._refusals.say("refused a message on %s: %s", one_line(arrived.topic, MAX_TOPIC), error)
        else:
            whole = self.reassembly.take(message, len(arrived.payload))
            self.reassembly.report_overdue()
            self.reassembly.take_dropped()  # there is no journal to remove them from
            if whole is not None:
                self._handle(whole)
        arrived.acknowledge()
