"""Finds subscriptions that have gone deaf.

When the MQTT daemon of nucleus lite restarts, subscriptions to AWS IoT Core stay open and never hear anything again:
no error, no end of the stream. The only sign is that a message which should come back does not. ``CloudProbe`` sends
one to a topic of its own from time to time, and renews all subscriptions when it does not return.

It is off unless a program makes one: it costs two messages an interval, and the access control must allow publishing
and subscribing to the topic. The classic nucleus subscribes again by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.core.messages.ping import ping
from sam3edge.greengrass.nucleus import Nucleus, Subscription

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Times in seconds.

    Attributes:
        interval: between two probes.
        patience: how long one may take to come back.
    """

    interval: float = 300.0
    patience: float = 30.0

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.patience <= 0:
            raise ValueError(f"expected an interval and a patience above 0 s, got {self}")


class CloudProbe:
    """Probes from ``start`` to ``close``, in a thread of its own.

    Args:
        nucleus: carries the probe; its ``ConnectionLost`` ends the probing.
        device: the thing's name.
        topic: of this device alone, such as ``sam3edge/<thing>/ping``.
        subscriptions: what is renewed, beside the probe's own, when a probe does not come back.
        options: times.

    Raises:
        SettingsError: access control does not allow to subscribe to the topic.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        device: str,
        topic: str,
        subscriptions: Sequence[Subscription],
        options: ProbeOptions | None = None,
    ) -> None:
        self._nucleus = nucleus
        self._device = device
        self._topic = topic
        self._options = options or ProbeOptions()
        self._returned = threading.Event()
        self._expected = b""
        self._stop = threading.Event()
        self._missed = 0
        self._subscriptions = [nucleus.subscribe(topic, self._hear), *subscriptions]
        self._thread = threading.Thread(target=self._run, name="cloud-probe", daemon=True)

    @property
    def missed(self) -> int:
        """Probes that did not come back."""
        return self._missed

    def start(self) -> None:
        """Begin, with the first probe after one interval."""
        self._thread.start()

    def close(self) -> None:
        """Stop probing. Idempotent."""
        self._stop.set()
        self._returned.set()
        self._subscriptions[0].close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._options.interval):
            try:
                self._probe()
            except ConnectionLost:
                return  # the nucleus reports it
            except PublishError as error:
                logger.debug("no probe while the nucleus does not publish: %s", error)

    def _probe(self) -> None:
        self._returned.clear()
        message = ping(self._device, self._topic)
        self._expected = message.payload
        self._nucleus.publish(message.topic, message.payload)
        if self._returned.wait(self._options.patience) or self._stop.is_set():
            return
        self._missed += 1
        logger.warning("a probe did not come back within %s s: renewing subscriptions", self._options.patience)
        for subscription in self._subscriptions:
            subscription.renew()

    def _hear(self, topic: str, payload: bytes) -> None:
        if payload == self._expected:
            self._returned.set()
