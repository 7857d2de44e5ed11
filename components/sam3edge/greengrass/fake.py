"""A nucleus in memory, for tests of what needs one. It keeps the same contract as ``GreengrassClient``."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.greengrass.callback_thread import EventThread
from sam3edge.greengrass.nucleus import (
    Configuration,
    ConfigurationCallback,
    MessageHandler,
    State,
    Subscription,
)


class FakeNucleus:
    """Remembers what is sent to it, and sends what it is told to.

    What is published reaches the subscriptions of this nucleus that match, as over a broker.

    Args:
        configuration: of the component.

    Attributes:
        outage: raised by every method but ``close`` while it is not None. A ``ConnectionLost`` is final.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        self.outage: PublishError | None = None
        self._configuration: Configuration = copy.deepcopy(configuration or {})
        self._told: Configuration | None = None
        self._lock = threading.Lock()
        self._events = EventThread("fake-nucleus")
        self._published: list[tuple[str, bytes]] = []
        self._states: list[State] = []
        self._subscriptions: list[_FakeSubscription] = []
        self._watchers: list[_FakeWatch] = []
        self._lost: ConnectionLost | None = None
        self._closed = False

    # -- what tests see and do -----------------------------------------------------------------------------------

    @property
    def published(self) -> tuple[tuple[str, bytes], ...]:
        """Topic and payload of what was accepted, in order."""
        with self._lock:
            return tuple(self._published)

    @property
    def states(self) -> tuple[State, ...]:
        """Every reported state, in order."""
        with self._lock:
            return tuple(self._states)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters that are open and hear, in the order of subscribing."""
        with self._lock:
            return tuple(subscription.pattern for subscription in self._subscriptions if subscription.hears)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Send a message from the cloud."""
        with self._lock:
            handlers = [s.handler for s in self._subscriptions if s.hears and _matches(s.pattern, topic)]
        for handler in handlers:
            self._events.submit(lambda handler=handler: handler(topic, payload))  # type: ignore[misc]

    def deafen(self) -> None:
        """Let no present subscription hear anything until it is renewed, as a restart of lite's MQTT daemon does."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.hears = False

    def configure(self, configuration: Configuration) -> None:
        """Replace the configuration, as a deployment does."""
        with self._lock:
            self._configuration = copy.deepcopy(configuration)
            watchers = list(self._watchers)
        for watcher in watchers:
            self._events.submit(watcher.check)

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until every callback that was due has been called."""
        done = threading.Event()
        self._events.submit(done.set)
        return done.wait(timeout)

    # -- Nucleus -------------------------------------------------------------------------------------------------

    def configuration(self) -> Configuration:
        """See ``Nucleus``."""
        self._check()
        with self._lock:
            self._told = self._configuration
            return copy.deepcopy(self._configuration)

    def on_configuration(self, callback: ConfigurationCallback) -> Subscription:
        """See ``Nucleus``."""
        self._check()
        watch = _FakeWatch(self, self._told, callback)
        with self._lock:
            self._watchers.append(watch)
        self._events.submit(watch.check)
        return watch

    def update_configuration(self, merge: Configuration) -> None:
        """See ``Nucleus``."""
        self._check()
        with self._lock:
            merged = _merged(self._configuration, merge)
        self.configure(merged)

    def publish(self, topic: str, payload: bytes) -> None:
        """See ``Nucleus``."""
        self._check()
        with self._lock:
            self._published.append((topic, payload))
        self.deliver(topic, payload)

    def subscribe(self, pattern: str, handler: MessageHandler) -> Subscription:
        """See ``Nucleus``."""
        self._check()
        subscription = _FakeSubscription(pattern, handler)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def update_state(self, state: State) -> None:
        """See ``Nucleus``."""
        self._check()
        with self._lock:
            self._states.append(state)

    def close(self) -> None:
        """See ``Nucleus``."""
        self._closed = True
        self._events.close(10.0)

    def _check(self) -> None:
        if self._closed:
            raise ConnectionLost("The nucleus was closed by this program.")
        if isinstance(self.outage, ConnectionLost):
            self._lost = self.outage
        error = self._lost or self.outage
        if error is not None:
            raise error


class _FakeSubscription:
    def __init__(self, pattern: str, handler: MessageHandler) -> None:
        self.pattern = pattern
        self.handler = handler
        self.hears = True
        self._closed = False

    def renew(self) -> None:
        self.hears = not self._closed

    def close(self) -> None:
        self._closed = True
        self.hears = False


class _FakeWatch:
    def __init__(self, nucleus: FakeNucleus, told: Configuration | None, callback: ConfigurationCallback) -> None:
        self._nucleus = nucleus
        self._told = told
        self._callback: Callable[[Configuration], None] | None = callback

    def check(self) -> None:
        now = self._nucleus.configuration()
        if now != self._told and self._callback is not None:
            self._told = now
            self._callback(copy.deepcopy(now))

    def renew(self) -> None:
        self._nucleus.configure(self._nucleus.configuration())

    def close(self) -> None:
        self._callback = None


def _merged(values: Configuration, changes: Configuration) -> Configuration:
    """What both say; where they differ, what ``changes`` says."""
    merged = {**values, **changes}
    for key in values.keys() & changes.keys():
        if isinstance(values[key], dict) and isinstance(changes[key], dict):
            merged[key] = _merged(values[key], changes[key])
    return merged


def _matches(pattern: str, topic: str) -> bool:
    """MQTT 3.1.1, section 4.7, without the exception for topics that begin with ``$``; devices do not have paho."""
    wanted, levels = pattern.split("/"), topic.split("/")
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number >= len(levels) or level not in ("+", levels[number]):
            return False
    return len(wanted) == len(levels)
