#!/usr/bin/env python3
"""Subscribes to the detections of all devices, drops repetitions, and puts the parts of each frame together.

    python infra/examples/subscriber.py --endpoint xxxx-ats.iot.eu-central-1.amazonaws.com \
        --certificate consumer.pem.crt --key consumer.pem.key --authority AmazonRootCA1.pem

A starting point for a consumer of your own: one file, nothing but paho-mqtt. What messages say is in docs/messages.md.
The certificate's policy needs ``iot:Connect`` for ``--client``, ``iot:Subscribe`` on the topic filter
``sam3edge/+/detections`` and ``iot:Receive`` on the topics ``sam3edge/*/detections``.

Delivery is at least once. The session outlives the connection (``--client`` must stay the same), so the broker keeps
what comes while this program is away: for an hour, by AWS IoT Core's default. A message is acknowledged once its frame
was handled or its part is kept; parts that wait are in memory, so a consumer that must lose nothing writes each part to
its own database instead, with the message's id as the key, and asks there for what is whole.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

logger = logging.getLogger("subscriber")

TOPIC = "sam3edge/+/detections"
REMEMBERED = 100_000
WAITING_FRAMES = 1_000

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """All that was found in a frame.

    Attributes:
        message: its first part, for everything that is the same in all of them.
        features: GeoJSON features of all parts, in their order.
    """

    device: str
    frame: str
    message: Message
    features: tuple[Message, ...]


@dataclass(slots=True)
class _Parts:
    """What has come of a frame: messages by part, and by which share of it they are."""

    count: int
    messages: dict[int, dict[tuple[Fraction, Fraction], Message]] = field(default_factory=dict)

    def add(self, message: Message) -> None:
        """A part that a nucleus refused for its size comes in pieces, and these perhaps in pieces again: ``0 of 2``,
        ``2 of 4`` and ``3 of 4`` are a whole. What came before as a whole, or in larger pieces, is not taken twice."""
        part = message["part"]
        pieces = part.get("pieces", 1)
        start = Fraction(part.get("piece", 0), pieces)
        end = start + Fraction(1, pieces)
        there = self.messages.setdefault(part["index"], {})
        if any(first <= start and end <= last for first, last in there):
            return
        for inner in [share for share in there if start <= share[0] and share[1] <= end]:
            del there[inner]
        there[start, end] = message

    def complete(self) -> bool:
        """Whether every part is whole."""
        return sum(last - first for part in self.messages.values() for first, last in part) == self.count

    def ordered(self) -> list[Message]:
        """By part, and within it by piece."""
        return [
            self.messages[index][share] for index in sorted(self.messages) for share in sorted(self.messages[index])
        ]


class _Recent:
    """The last keys that were added, up to a number."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[object, None] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def add(self, key: object) -> None:
        self._keys[key] = None
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)


class Reassembly:
    """Messages in any order, repeated or not, to frames, each once. Not for several threads at a time.

    Args:
        remembered: ids of messages, and frames, that are known as seen; what comes again after so many others is new.
        waiting: frames of which parts are missing; of more, the oldest is dropped.
    """

    def __init__(self, remembered: int = REMEMBERED, waiting: int = WAITING_FRAMES) -> None:
        self._waiting = waiting
        self._seen, self._finished = _Recent(remembered), _Recent(remembered)
        self._frames: OrderedDict[tuple[str, str, str], _Parts] = OrderedDict()
        self.repetitions = 0
        self.dropped = 0

    def take(self, message: Message) -> FrameDetections | None:
        """Take a message; returns its frame when nothing of it is missing any more.

        Raises:
            KeyError, TypeError: it is no detections message.
        """
        key = (message["device"], message["source"], message["frame"]["id"])
        if message["id"] in self._seen or key in self._finished:
            self.repetitions += 1
            return None
        parts = self._frames.get(key) or _Parts(message["part"]["count"])
        parts.add(message)
        self._seen.add(message["id"])
        self._frames[key] = parts
        if not parts.complete():
            self._make_room()
            return None
        del self._frames[key]
        self._finished.add(key)
        ordered = parts.ordered()
        features = tuple(feature for one in ordered for feature in one["features"])
        return FrameDetections(message["device"], message["frame"]["id"], ordered[0], features)

    def _make_room(self) -> None:
        if len(self._frames) > self._waiting:
            (device, _, frame), _ = self._frames.popitem(last=False)
            self.dropped += 1
            logger.warning("dropped the frame %s of %s: parts of it did not come", frame, device)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: who this is, and whom it believes."""

    certificate: str
    key: str
    authority: str


class Subscriber:
    """A connection that comes back by itself.

    Args:
        client_id: the same at every start, or what came meanwhile is lost.
        handle: called with every frame.
        tls: None for a broker without, on this computer.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        handle: Callable[[FrameDetections], None],
        tls: Tls | None = None,
        reassembly: Reassembly | None = None,
    ) -> None:
        self._handle = handle
        self.reassembly = reassembly or Reassembly()
        self.subscribed = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
        )
        if tls is not None:
            self._client.tls_set(ca_certs=tls.authority, certfile=tls.certificate, keyfile=tls.key)
        self._client.reconnect_delay_set(1, 60)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_disconnect = lambda *_: self.subscribed.clear()
        self._client.on_message = self._on_message
        self._client.connect_async(host, port)

    def run(self) -> None:
        """Until ``stop``. What ``handle`` raises ends it: the message is not acknowledged then, and comes again."""
        self._client.loop_forever(retry_first_connection=True)

    def stop(self) -> None:
        """Disconnect, from any thread; the broker goes on keeping messages."""
        self._client.disconnect()

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            logger.error("the broker refuses: %s", reason)
            return
        client.subscribe(TOPIC, qos=1)  # with every connection: a broker that was restarted has forgotten

    def _on_message(self, client: mqtt.Client, data: Any, received: mqtt.MQTTMessage) -> None:
        try:
            frame = self.reassembly.take(json.loads(received.payload))
        except (ValueError, KeyError, TypeError) as error:  # it would be no better the next time
            logger.error("expected a detections message on %s, got %s: %s", received.topic, type(error).__name__, error)
            frame = None
        if frame is not None:
            self._handle(frame)
        client.ack(received.mid, received.qos)  # of a connection that is gone by now: then it comes again, and is known


def _show(frame: FrameDetections) -> None:
    labels = [f"{one['properties']['label']} {one['properties']['score']:.2f}" for one in frame.features]
    sys.stdout.write(f"{frame.device} {frame.message['frame']['name']}: {', '.join(labels) or 'nothing'}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, help="aws iot describe-endpoint --endpoint-type iot:Data-ATS")
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--client", default="sam3edge-subscriber", help="id of the connection, one for each program")
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--authority", required=True, help="Amazon's root certificate")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tls = Tls(given.certificate, given.key, given.authority)
    subscriber = Subscriber(given.endpoint, given.port, given.client, _show, tls)
    try:
        subscriber.run()
    except KeyboardInterrupt:
        subscriber.stop()


if __name__ == "__main__":
    main()
