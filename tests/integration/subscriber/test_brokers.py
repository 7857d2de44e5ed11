"""Connections to a real broker: passwords, rights, WebSockets, TLS, and messages that come again."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.subscriber.broker_url import Broker, BrokerUrl, TlsFiles
from sam3edge.subscriber.connection import Arrived, Connection, Outgoing
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.subscriber import Subscriber
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from support.certificates import Authority
from support.device_messages import WHOLE, Device
from support.mosquitto import Mosquitto, needs_mosquitto
from support.waiting import until

pytestmark = needs_mosquitto

DETECTIONS = "sam3edge/+/detections"
PASSWORD = "p@ss/word:1"


class Heard(list[Arrived]):
    """What arrived, acknowledged."""

    def __call__(self, arrived: Arrived) -> None:
        self.append(arrived)
        arrived.acknowledge()


def connection(
    url: BrokerUrl, take: Callable[[Arrived], None] = lambda arrived: None, tls: TlsFiles | None = None, **more: Any
) -> Connection:
    broker = Broker(url, tls or TlsFiles())
    more = {"durable": False, "backoff": Backoff(0.05, 0.05), **more}
    return Connection(broker, more.pop("client", "c"), more.pop("topics", {DETECTIONS: 1}), take, **more)


def failure(of: Connection) -> str:
    with pytest.raises(SubscriptionError) as raised:
        of.run()
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_what_was_not_acknowledged_comes_again_after_the_handler_failed_or_the_broker_was_restarted(
    tmp_path: Path,
) -> None:
    with Mosquitto(tmp_path) as broker:
        given: list[DeviceMessage] = []

        def fail(frame: DeviceMessage) -> None:
            given.append(frame)
            raise OSError("the database is full")

        target = Broker(BrokerUrl.parse(broker.url))
        for attempt in range(3):
            subscriber = Subscriber(target, "consumer", fail)
            thread = threading.Thread(target=_ends_with_os_error, args=(subscriber,))
            thread.start()
            if attempt == 0:
                assert subscriber.connection.wait_up(60)
                device = Device(broker.url)
                device.publish([WHOLE])
                device.close()
            thread.join(60)
            assert not thread.is_alive()
            if attempt == 1:
                broker.stop()
                broker.start()
        assert [frame["id"] for frame in given] == [WHOLE["id"]] * 3


def _ends_with_os_error(subscriber: Subscriber) -> None:
    with pytest.raises(OSError, match="the database is full"):
        subscriber.run()


def test_passwords(tmp_path: Path) -> None:
    rights = ("user listener", "topic read sam3edge/#", "user stranger", "topic read nothing")
    with Mosquitto(tmp_path, {"listener": PASSWORD, "stranger": "x"}, rights) as broker:
        url = BrokerUrl.parse(f"mqtt://listener:p%40ss%2Fword%3A1@127.0.0.1:{broker.port}")
        assert (url.username, url.password) == ("listener", PASSWORD)
        assert PASSWORD not in repr(url) + str(url)
        good = connection(url)
        good.start()
        assert good.wait_up(60)
        good.stop()
        for wrong in (
            replace(url, password="wrong"),
            replace(url, username="", password=""),
            replace(url, password=""),
        ):
            reason = failure(connection(wrong))
            assert "refuses the client c" in reason
            assert "look at the user" in reason


def test_over_websockets_both_ways_with_a_will(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, TcpProxy(f"mqtt://127.0.0.1:{broker.websocket_port}") as network:
        heard = Heard()
        listener = connection(BrokerUrl.parse(broker.websocket_url), heard, topics={"a/#": 1})
        will = Outgoing("a/will", b"gone", retain=True)
        url = BrokerUrl.parse(network.url.replace("mqtt://", "ws://"))
        speaker = connection(url, client="s", topics={}, will=will)
        listener.start()
        speaker.start()
        assert listener.wait_up(60)
        assert speaker.wait_up(60)
        assert speaker.publish([Outgoing(f"a/{number}", b"x" * 1000) for number in range(50)])
        until(lambda: len(heard) == 50)
        assert [one.topic for one in heard] == [f"a/{number}" for number in range(50)]
        network.cut()
        until(lambda: heard[-1].topic == "a/will")
        speaker.stop()
        listener.stop()


def test_what_is_published_while_the_broker_is_away_arrives_when_it_is_back(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        speaker = connection(BrokerUrl.parse(broker.url), client="s", topics={})
        speaker.start()
        assert speaker.wait_up(60)
        broker.stop()
        assert speaker.wait_up(60, up=False)
        done: list[bool] = []
        messages = [Outgoing(f"state/{number}", b"on", retain=True) for number in range(100)]
        thread = threading.Thread(target=lambda: done.append(speaker.publish(messages)))
        thread.start()
        broker.start()
        thread.join(60)
        assert done == [True]
        heard = Heard()
        listener = connection(BrokerUrl.parse(broker.url), heard, topics={"state/#": 1})
        listener.start()
        until(lambda: len(heard) == 100)
        assert all(one.retained for one in heard)
        listener.stop()
        speaker.stop()


def test_publishing_ends_with_the_connection(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        speaker = connection(BrokerUrl.parse(broker.url), topics={})
        speaker.start()
        assert speaker.wait_up(60)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(speaker.publish([Outgoing("a", b"")])))
    thread.start()
    speaker.stop()
    thread.join(60)
    assert done == [False]


# paho-mqtt leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_certificates(tmp_path: Path) -> None:
    ours, stranger = Authority("our authority", tmp_path), Authority("another authority", tmp_path)
    server, client, forged = ours.issue("broker", server=True), ours.issue("client"), stranger.issue("forged")
    tls = (
        f"cafile {ours.path}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "require_certificate true",
    )
    with Mosquitto(tmp_path, tls=tls) as broker:
        url = BrokerUrl.parse(f"mqtts://127.0.0.1:{broker.port}")
        good = connection(url, tls=client)
        good.start()
        assert good.wait_up(60)
        good.stop()
        assert "agree on TLS" in failure(connection(url, tls=replace(client, ca=stranger.path)))
        assert "agree on TLS" in failure(connection(url, tls=TlsFiles()))  # this computer does not know the authority
        for wrong in (replace(forged, ca=ours.path), TlsFiles(ours.path)):
            assert "without a word" in failure(connection(url, tls=wrong))
        assert "without a word" in failure(connection(BrokerUrl.parse(broker.url)))  # plain, where TLS is spoken
    with pytest.raises(SettingsError, match="belong together"):
        connection(url, tls=replace(client, key=forged.key))
    with pytest.raises(SettingsError, match="PEM files"):
        connection(url, tls=replace(client, certificate=tmp_path / "nowhere.pem"))
    with pytest.raises(SettingsError, match="PEM files"):
        connection(url, tls=TlsFiles(tmp_path / "mosquitto.conf"))
    gc.collect()  # here, and not in a test that may not warn


def test_a_second_client_of_the_same_name_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Mosquitto(tmp_path) as broker:
        first, second = (connection(BrokerUrl.parse(broker.url), backoff=Backoff(0.3, 0.3)) for _ in range(2))
        first.start()
        assert first.wait_up(60)
        second.start()
        until(lambda: "is another client called c?" in caplog.text)
        second.stop()
        first.stop()
