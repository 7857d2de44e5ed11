"""One message from a program that ends afterwards."""

from __future__ import annotations

import logging
from pathlib import Path

from sam3edge.core.ports import Publisher
from sam3edge.core.types import Message
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox

logger = logging.getLogger(__name__)


def deliver_once(work: Path, publisher: Publisher, message: Message, seconds: float) -> None:
    """Send a message by way of the outbox in ``work``; what does not leave in time stays for the next start.

    Raises:
        OutboxFull: there is no room for it.
    """
    outbox = Outbox(work / OUTBOX)
    try:
        delivery = Delivery(outbox, publisher, on_lost=lambda error: logger.error("%s", error))
        delivery.start()
        outbox.put([message])
        if not delivery.drain(seconds):
            logger.warning("not delivered yet; it stays in the outbox", extra={"topic": message.topic})
        delivery.close()
    finally:
        outbox.close()


OUTBOX = "outbox.sqlite"
"""Name of the outbox in a component's work folder."""
