"""What brokers may answer, and what a client makes of it; addresses of brokers."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber.broker_url import Broker, BrokerUrl, TlsFiles
from sam3edge.subscriber.connection import PATIENCE, Connection
from sam3edge_simulator.nucleus import Nucleus

CONNACK = b"\x20\x02\x00"
ACCEPTED, BAD_USER, UNAVAILABLE = (CONNACK + bytes([code]) for code in (0, 4, 3))
REFUSED_SUBSCRIPTION = b"\x90\x03\x00\x01\x80"


class Scripted:
    """A broker that sends what it is told to, a packet for each that it receives, and then closes the connection. The
    last script is played again and again; one that ends with ``None`` leaves the connection open."""

    def __init__(self, *scripts: tuple[bytes | None, ...]) -> None:
        self._scripts = scripts
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def broker(self) -> Broker:
        return Broker(BrokerUrl("127.0.0.1", self._listener.getsockname()[1], False))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
                for packet in script:
                    connection.recv(4096)
                    connection.sendall(packet or b"")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    one = Scripted(*request.param)
    yield one
    one.close()


def client(scripted: Scripted) -> Connection:
    return Connection(
        scripted.broker, "c", {"a/b": 1, "a/c": 0}, lambda arrived: None, durable=True, backoff=Backoff(0.01, 0.01)
    )


def failure(scripted: Scripted) -> str:
    with pytest.raises(SubscriptionError) as raised:
        client(scripted).run()
    return str(raised.value)


@pytest.mark.parametrize("scripted", [[(ACCEPTED, REFUSED_SUBSCRIPTION)]], indirect=True)
def test_a_refused_subscription_is_the_end_and_is_named(scripted: Scripted) -> None:
    reason = failure(scripted)
    assert "refuses the subscription to a/b " in reason
    assert "iot:Subscribe" in reason


@pytest.mark.parametrize("scripted", [[(UNAVAILABLE,), (UNAVAILABLE,), (BAD_USER,)]], indirect=True)
def test_a_broker_that_is_unavailable_is_tried_again_and_one_that_refuses_is_not(scripted: Scripted) -> None:
    assert "refuses the client c" in failure(scripted)
    assert scripted.connections == 3


@pytest.mark.parametrize("scripted", [[()]], indirect=True)
def test_a_broker_that_says_nothing_is_given_up_after_some_attempts(scripted: Scripted) -> None:
    said = failure(scripted)
    assert "without a word" in said
    assert "a listener there for MQTT without WebSockets, without TLS" in said
    assert not any(word in said for word in ("certificate", "signature", "AWS"))  # there is no TLS
    assert scripted.connections == PATIENCE


# paho-mqtt leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scripted", [[()]], indirect=True)
@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("ws", ["MQTT over WebSockets, without TLS"]),
        ("mqtts", ["agree on TLS", "MQTT without WebSockets, with TLS"]),
        ("wss", ["agree on TLS", "MQTT over WebSockets, with TLS"]),
    ],
)
def test_a_listener_of_another_kind_is_named(scripted: Scripted, scheme: str, expected: list[str]) -> None:
    port = scripted.broker.url.port
    broker = Broker(BrokerUrl.parse(f"{scheme}://127.0.0.1:{port}"))
    connection = Connection(broker, "c", {}, lambda arrived: None, durable=True, backoff=Backoff(0.01, 0.01))
    with pytest.raises(SubscriptionError) as raised:
        connection.run()
    said = str(raised.value)
    assert all(words in said for words in expected)
    assert "AWS" not in said
    del connection, raised
    gc.collect()  # here, and not in a test that may not warn


GRANTED = b"\x90\x04\x00\x01\x01\x00"


GOOD = (ACCEPTED, GRANTED)


@pytest.mark.parametrize("scripted", [[GOOD, (), (), (), (), (BAD_USER,), (*GOOD, None)]], indirect=True)
def test_who_was_let_in_once_is_patient(scripted: Scripted) -> None:
    """Of a broker that is being restarted, or whose users are being changed."""
    connection = client(scripted)
    connection.start()
    try:
        with connection._changed:
            assert connection._changed.wait_for(lambda: connection.connections >= 2, 60)
        connection.check()
    finally:
        connection.stop()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://host", BrokerUrl("host", 1883, False)),
        ("mqtts://host:1/", BrokerUrl("host", 1, True)),
        ("ws://host", BrokerUrl("host", 80, False, "/mqtt")),
        ("wss://host/", BrokerUrl("host", 443, True, "/mqtt")),
        (
            "wss://host/a?x=b",
            BrokerUrl("host", 443, True, "/a?x=b"),
        ),
        ("mqtt://me:p%40ss@[::1]:9", BrokerUrl("::1", 9, False, "", "me", "p@ss")),
    ],
)
def test_addresses(url: str, expected: BrokerUrl) -> None:
    assert BrokerUrl.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    ["host", "http://host", "mqtt://", "mqtt://host:x", "mqtt://host:99999", "mqtt://host/path", "mqtt://me:secret@"],
)
def test_other_addresses_are_refused_without_their_passwords(url: str) -> None:
    with pytest.raises(ValueError, match="expected mqtt://") as raised:
        BrokerUrl.parse(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["ws://127.0.0.1", "mqtt://me:secret@127.0.0.1"])
def test_a_device_of_the_simulator_connects_as_devices_do(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="as devices connect") as raised:
        Nucleus(tmp_path, broker_url=url)
    assert "secret" not in str(raised.value)


def test_what_is_shown_of_an_address_is_no_password(tmp_path: Path) -> None:
    url = BrokerUrl.parse("wss://me:secret@[::1]:9/mqtt?token=secret")
    assert str(url) == "wss://[::1]:9"
    assert "me:secret" not in repr(Broker(url, TlsFiles(tmp_path)))
