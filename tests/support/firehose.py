"""A broker for one page that publishes as fast as the page acknowledges: MQTT 3.1.1 over WebSockets, and no more of it
than that takes. Brokers that are made for more are slower at this than the page is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from sam3edge.core.types import Message

CONNECT, PUBACK, SUBSCRIBE, PINGREQ = 1, 4, 8, 12
WINDOW = 100
"""Messages that may wait for the page's acknowledgement."""


class Firehose:
    """Feeds the page that connects to it.

    Args:
        messages: what is published, without end.
    """

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages = messages
        self._changed = threading.Condition()
        self._wanted = self._sent = self.acknowledged = 0
        self._closed = False
        self.url = ""

    def to(self, count: int, patience: float) -> None:
        """Until the page has acknowledged so many messages."""
        with self._changed:
            self._wanted = count
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.acknowledged >= count, patience), (
                f"the page has acknowledged {self.acknowledged} of {count} messages in {patience} s"
            )

    @contextmanager
    def running(self) -> Iterator[Firehose]:
        """Listen until the end of the block."""
        with serve(self._serve, "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")], compression=None) as server:
            self.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                with self._changed:
                    self._closed = True
                    self._changed.notify_all()
                server.shutdown()
                thread.join()

    def _serve(self, connection: ServerConnection) -> None:
        writer = threading.Thread(target=self._publish, args=(connection,), daemon=True)
        rest = b""
        for received in connection:
            assert isinstance(received, bytes)
            rest += received
            while (packet := _first(rest)) is not None:
                kind, body, rest = packet
                if kind == CONNECT:
                    connection.send(b"\x20\x02\x00\x00")
                elif kind == SUBSCRIBE:
                    connection.send(b"\x90\x03" + body[:2] + b"\x01")
                    if not writer.ident:
                        writer.start()
                elif kind == PINGREQ:
                    connection.send(b"\xd0\x00")
                elif kind == PUBACK:
                    with self._changed:
                        self.acknowledged += 1
                        self._changed.notify_all()

    def _publish(self, connection: ServerConnection) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_publish)
                if self._closed:
                    return
            message = next(self._messages)
            self._sent += 1
            topic, number = message.topic.encode(), 1 + self._sent % 0xFFFF
            body = len(topic).to_bytes(2, "big") + topic + number.to_bytes(2, "big") + message.payload
            connection.send(b"\x32" + _length(len(body)) + body)

    def _may_publish(self) -> bool:
        return self._closed or (self._sent < self._wanted and self._sent - self.acknowledged < WINDOW)


def _first(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Kind and body of the first packet, and what follows it; None while it is not whole."""
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(data):
            return None
        length |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            break
    return None if len(data) < at + length else (data[0] >> 4, data[at : at + length], data[at + length :])


def _length(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
