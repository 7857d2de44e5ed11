"""Messages as devices publish them, and a device that publishes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sam3edge.core.messages.detections import encode
from sam3edge.core.types import Message
from sam3edge.subscriber.broker_url import BrokerUrl
from support.samples import answer, detection, wobbly

TOPIC = "sam3edge/line-7/detections"


def messages(objects: int, max_bytes: int) -> list[Message]:
    """One frame's."""
    found = tuple(detection(wobbly(40, 20, 30 + 3 * i), score=0.9 - i / 100) for i in range(objects))
    return encode(answer(found), TOPIC, max_bytes, 0.0)


def body(message: Message) -> dict[str, Any]:
    """What is in it."""
    return dict(json.loads(message.payload))


PARTS = [body(one) for one in messages(12, 4000)]
"""A frame in three parts or more."""

WHOLE = body(messages(12, 131_072)[0])
"""The same in one."""


def of_frame(message: Mapping[str, Any], frame: str, **changes: Any) -> dict[str, Any]:
    """The same about another frame."""
    return {**message, "id": f"{frame}-{message['id']}", "frame": {**message["frame"], "id": frame}, **changes}


def scores(features: Iterable[Mapping[str, Any]]) -> list[float]:
    """Of features, in their order."""
    return [one["properties"]["score"] for one in features]


class Device:
    """Publishes at QoS 1, as devices do."""

    def __init__(self, url: str, name: str = "line-7") -> None:
        address = BrokerUrl.parse(url)
        self.name = name
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"device-{name}")
        self._client.connect(address.host, address.port)
        self._client.loop_start()

    def publish(self, sent: Iterable[Mapping[str, Any]], topic: str = "detections") -> None:
        """Publish messages, and wait until the broker has them."""
        for one in sent:
            self.publish_text(json.dumps(one), topic)

    def publish_text(self, text: str | bytes, topic: str = "detections") -> None:
        """Publish anything."""
        self._client.publish(f"sam3edge/{self.name}/{topic}", text, qos=1).wait_for_publish(30)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
