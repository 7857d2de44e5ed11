"""The embedded broker: pages and whose they are, and the last messages that it keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import paho.mqtt.client as mqtt
import pytest
import websockets.sync.client
from paho.mqtt.enums import CallbackAPIVersion
from websockets.exceptions import InvalidStatus

from sam3edge_simulator.mqtt.broker import Broker

OWN = "http://127.0.0.1:8080"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(origins=[OWN], keeps=lambda topic: topic.endswith("/kept")) as one:
        yield one


def connect(broker: Broker, origin: str | None) -> None:
    with websockets.sync.client.connect(broker.websocket_url, origin=origin, subprotocols=["mqtt"], open_timeout=30):  # type: ignore[arg-type, list-item]
        pass


@pytest.mark.parametrize("origin", [OWN, None])
def test_its_own_page_and_programs_may_connect(broker: Broker, origin: str | None) -> None:
    connect(broker, origin)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:8081", "https://127.0.0.1:8080", "null"])
def test_pages_of_others_may_not(broker: Broker, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(broker, origin)


def test_the_last_message_on_a_topic_is_kept_where_that_was_asked_for(broker: Broker) -> None:
    device = mqtt.Client(CallbackAPIVersion.VERSION2)
    device.connect("127.0.0.1", broker.port)
    device.loop_start()
    for topic, text in (("a/kept", "1"), ("a/kept", "2"), ("a/commands", "3"), ("b/kept", "4")):
        device.publish(topic, text, qos=1).wait_for_publish(30)
    received: list[tuple[str, bytes, bool]] = []
    changed = threading.Condition()

    def take(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        with changed:
            received.append((message.topic, bytes(message.payload), message.retain))
            changed.notify_all()

    late = mqtt.Client(CallbackAPIVersion.VERSION2)
    late.on_message = take
    late.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    late.connect("127.0.0.1", broker.port)
    late.loop_start()
    try:
        with changed:
            assert changed.wait_for(lambda: len(received) >= 2, 30)
        assert broker.wait_subscribed("#", 30)
        assert not broker.wait_subscribed("other/#", 0.1)
        device.publish("a/live", "5", qos=1).wait_for_publish(30)
        with changed:
            assert changed.wait_for(lambda: len(received) >= 3, 30)
    finally:
        for client in (device, late):
            client.disconnect()
            client.loop_stop()
    assert sorted(received) == [("a/kept", b"2", True), ("a/live", b"5", False), ("b/kept", b"4", True)]


def test_a_broker_without_pages_has_no_listener_for_them() -> None:
    with Broker() as broker:
        assert broker.websocket_port == 0
