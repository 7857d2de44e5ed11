"""A bridge between two real brokers: what is retained, the will, Home Assistant's birth, and a broker that is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber.bridges.bridge import Bridge, Translator
from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.home_assistant import HomeAssistant
from sam3edge.subscriber.broker_url import Broker, BrokerUrl
from sam3edge.subscriber.connection import Arrived, Connection, Outgoing
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from support.device_messages import WHOLE, of_frame
from support.mosquitto import Mosquitto, needs_mosquitto
from support.smart_home import event, heartbeat
from support.waiting import until

pytestmark = needs_mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as one:
        yield one


def bridge(url: str, translator: Translator) -> Bridge:
    def connect(topics: Mapping[str, int], take: Callable[[Arrived], None], will: Outgoing) -> Connection:
        target = Broker(BrokerUrl.parse(url))
        return Connection(target, "bridge", topics, take, durable=False, will=will, backoff=Backoff(0.05, 0.05))

    return Bridge(translator, connect)


class Home:
    """Somebody who listens to everything, and what there is by topic."""

    def __init__(self, url: str) -> None:
        self.arrived: list[Arrived] = []
        self.connection = Connection(
            Broker(BrokerUrl.parse(url)), "home", {"#": 1}, self._take, durable=True, backoff=Backoff(0.05, 0.05)
        )
        self.connection.start()
        assert self.connection.wait_up(60)

    def _take(self, arrived: Arrived) -> None:
        self.arrived.append(arrived)
        arrived.acknowledge()

    def last(self, topic: str) -> bytes | None:
        return next((one.payload for one in reversed(self.arrived) if one.topic == topic), None)

    def times(self, topic: str) -> int:
        return sum(one.topic == topic for one in self.arrived)

    def close(self) -> None:
        self.connection.stop()


@pytest.fixture
def home(broker: Mosquitto) -> Iterator[Home]:
    one = Home(broker.url)
    yield one
    one.close()


def up(one: Bridge) -> None:
    until(lambda: one._connection.up)
    one.write([])


CONFIG = "homeassistant/device/sam3edge_line-7__folder/config"


def test_home_assistant_from_birth_to_will(broker: Mosquitto, home: Home) -> None:
    with TcpProxy(broker.url) as network:
        one = bridge(network.url, HomeAssistant("states"))
        up(one)
        one.write([heartbeat(), WHOLE])
        until(lambda: home.times("states/line-7/available") == 1 and home.times(CONFIG) == 1)
        until(lambda: home.last("states/line-7/available") == b"online")
        document = json.loads(home.last(CONFIG) or b"{}")
        for entity in document["components"].values():
            assert home.last(entity["state_topic"]) in (b"12", b"ON")
        assert home.last("states/available") == b"online"

        before = home.times(CONFIG)
        home.connection.publish([Outgoing("homeassistant/status", b"online")])

        def again() -> bool:
            one.write([])
            return home.times(CONFIG) > before

        until(again)
        network.cut()
        until(lambda: home.last("states/available") == b"offline")
        network.plug()
        until(lambda: one._connection.up)
        one.write([])
        until(lambda: home.last("states/available") == b"online")
        one.close()
        until(lambda: home.last("states/available") == b"offline")


def test_while_its_broker_is_away_a_bridge_waits_and_loses_no_event(broker: Mosquitto) -> None:
    home = Home(broker.url)
    one = bridge(broker.url, Frigate())
    up(one)
    broker.stop()
    until(lambda: not one._connection.up)
    wrote = threading.Event()

    def write() -> None:
        one.write([event("new"), of_frame(WHOLE, "x"), event("end")])
        wrote.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not wrote.wait(0.3)
    broker.start()
    assert wrote.wait(60)
    thread.join()
    until(lambda: home.times("frigate/events") == 2)
    assert home.last("frigate/line-7__folder/scratch") == b"12"
    one.close()
    home.close()


def test_a_bridge_that_is_refused_or_closed_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    with Mosquitto(folder, {"somebody": "else"}) as broker:
        refused = bridge(broker.url, Frigate())

        def write() -> bool:
            refused.write([])
            return False

        with pytest.raises(SubscriptionError, match="refuses the client bridge"):
            until(write)
        refused.close()
    away = bridge(broker.url, Frigate())
    away._connection._stopping.set()
    with pytest.raises(SubscriptionError, match="closed before"):
        away.write([event("new")])
    away.close()
