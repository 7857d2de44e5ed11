"""The network cable between device and broker."""

from __future__ import annotations

import socket

import pytest

from sam3edge.subscriber.broker_url import BrokerUrl
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x1e\x00\x01x"
CONNACK = b"\x20\x02\x00\x00"
PING, PONG = b"\xc0\x00", b"\xd0\x00"


def test_a_cut_cable_breaks_connections_and_refuses_new_ones_until_it_is_plugged_in(broker: Broker) -> None:
    cable = TcpProxy(broker.url)
    with cable:
        url = BrokerUrl.parse(cable.url)
        with socket.create_connection((url.host, url.port), timeout=30) as client:
            client.sendall(CONNECT)
            assert client.recv(4) == CONNACK
            cable.cut()
            assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((url.host, url.port), timeout=30)
        cable.plug()
        assert BrokerUrl.parse(cable.url) == url
        with socket.create_connection((url.host, url.port), timeout=30) as client:
            client.sendall(CONNECT)
            assert client.recv(4) == CONNACK
            client.sendall(PING)
            assert client.recv(2) == PONG


def test_a_swallowing_cable_keeps_the_connection_and_loses_what_is_sent(broker: Broker) -> None:
    with TcpProxy(broker.url) as cable:
        url = BrokerUrl.parse(cable.url)
        with socket.create_connection((url.host, url.port), timeout=30) as client:
            client.sendall(CONNECT)
            assert client.recv(4) == CONNACK
            cable.swallow()
            client.sendall(PING)
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)
