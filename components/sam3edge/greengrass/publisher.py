"""The transport to AWS IoT Core through the nucleus."""

from __future__ import annotations

from sam3edge.core.errors import PublishError
from sam3edge.core.types import Message
from sam3edge.greengrass.nucleus import Nucleus


class GreengrassPublisher:
    """Publishes at QoS 1. The nucleus stays the caller's, who closes it after this.

    Args:
        nucleus: what accepts the messages.
        largest_payload: bytes. 131,072 is the limit of AWS IoT Core and of the classic nucleus. Nucleus lite closes the
            whole connection for good at 7,400, and takes 7,300: without this bound one message too large would end the
            component again and again.
    """

    def __init__(self, nucleus: Nucleus, *, largest_payload: int = 131_072) -> None:
        self._nucleus = nucleus
        self._largest_payload = largest_payload
        self._closed = False

    def publish(self, message: Message) -> None:
        """Hand one message to the nucleus.

        Raises:
            PublishError: not accepted, or too large.
            ConnectionLost: the nucleus is gone.
        """
        if self._closed:
            raise PublishError("The publisher is closed.")
        if len(message.payload) > self._largest_payload:
            raise PublishError(
                f"Message {message.id} has {len(message.payload)} bytes, this nucleus takes {self._largest_payload}: "
                "lower the size at which messages are split."
            )
        self._nucleus.publish(message.topic, message.payload)

    def close(self) -> None:
        """Publish no more. Idempotent."""
        self._closed = True
