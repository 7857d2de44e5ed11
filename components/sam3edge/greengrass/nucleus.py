"""What a component needs from the nucleus. ``GreengrassClient`` is the real one, ``FakeNucleus`` the one for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

State = Literal["RUNNING", "ERRORED"]
"""What a component may report of itself."""

Configuration = dict[str, Any]
"""The whole configuration of the component, as deployed: JSON values."""

ConfigurationCallback = Callable[[Configuration], None]
MessageHandler = Callable[[str, bytes], None]
"""Called with the topic and the payload of a message."""


class Subscription(Protocol):
    """A stream of events that is kept open."""

    def renew(self) -> None:
        """Close the stream and open it again, soon and by another thread."""

    def close(self) -> None:
        """No more events. Idempotent."""


class Nucleus(Protocol):
    """Used by several threads at once. Callbacks come one after the other, from a thread in which every method may be
    called; a callback that takes long holds the others up.

    Every method but ``close`` raises ``ConnectionLost`` when the nucleus is gone for good, and ``PublishError`` when it
    answered with an error that may pass.
    """

    def configuration(self) -> Configuration:
        """The configuration as it is now; empty when there is none."""

    def on_configuration(self, callback: ConfigurationCallback) -> Subscription:
        """Have ``callback`` called with every configuration that differs from the last one that was returned or told.

        Raises:
            SettingsError: the component may not watch its configuration.
        """

    def update_configuration(self, merge: Configuration) -> None:
        """Merge values into the component's own configuration, where they stay until a deployment changes them.

        Lists are replaced whole. Whoever watches the configuration is told, this component included.
        """

    def publish(self, topic: str, payload: bytes) -> None:
        """Send to AWS IoT Core at QoS 1; returns once the nucleus has accepted responsibility."""

    def subscribe(self, pattern: str, handler: MessageHandler) -> Subscription:
        """Receive from AWS IoT Core at QoS 1, as long as the process lives: a stream that ends is opened again.

        Args:
            pattern: MQTT topic filter.

        Raises:
            SettingsError: access control does not allow it.
        """

    def update_state(self, state: State) -> None:
        """Report the component's state."""

    def close(self) -> None:
        """End the connection. Idempotent."""
