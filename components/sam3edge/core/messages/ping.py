"""The ping topic: what a device sends to itself, to notice that its subscriptions have gone deaf."""

from __future__ import annotations

from typing import Literal

from sam3edge.core.messages.envelope import Envelope, envelope, write
from sam3edge.core.types import Message


class PingMessage(Envelope):
    """Nothing but the envelope; a consumer that subscribes to everything of a device may ignore it."""

    message_type: Literal["ping"]


def ping(device: str, topic: str) -> Message:
    """A ping, with an id of its own."""
    body: PingMessage = {**envelope(device), "message_type": "ping"}
    return write(body, topic)
