"""The transport to AWS IoT Core through the nucleus."""

from __future__ import annotations

from typing import Protocol

from sam3edge.core.errors import PublishError, PublishRejected
from sam3edge.core.types import Message


class IotCore(Protocol):
    """The one operation that is needed of ``greengrass.nucleus.Nucleus``."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Send to AWS IoT Core at QoS 1; returns once the nucleus has accepted responsibility.

        Raises:
            PublishError: the nucleus answered with an error that may pass.
            ConnectionLost: the nucleus is gone for good.
        """


class GreengrassPublisher:
    """Publishes at QoS 1. The nucleus stays the caller's, who closes it after this.

    Args:
        nucleus: what accepts the messages.
        largest_payload: bytes. 131,072 is the limit of AWS IoT Core and of the classic nucleus. Nucleus lite closes the
            whole connection for good at 7,400, and takes 7,300: without this bound one message too large would end the
            component again and again.
    """

    def __init__(self, nucleus: IotCore, *, largest_payload: int = 131_072) -> None:
        self._nucleus = nucleus
        self._largest_payload = largest_payload
        self._closed = False

    def publish(self, message: Message) -> None:
        """Hand one message to the nucleus.

        Raises:
            PublishRejected: too large for this nucleus, or denied by access control.
            PublishError: not accepted now.
            ConnectionLost: the nucleus is gone.
        """
        if self._closed:
            raise PublishError("The publisher is closed.")
        if len(message.payload) > self._largest_payload:
            raise PublishRejected(
                f"expected at most {self._largest_payload} bytes, got {len(message.payload)} of message {message.id}; "
                "it was written when MaxPayloadBytes was larger"
            )
        self._nucleus.publish(message.topic, message.payload)

    def close(self) -> None:
        """Publish no more. Idempotent."""
        self._closed = True
