"""A real broker with TLS and client certificates: Debian's mosquitto, when it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.simulator.conftest import Subscriber
from sam3edge.subscriber.broker_url import BrokerUrl, TlsFiles
from sam3edge_simulator.deployer import Patience
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE
from support.certificates import Authority
from support.mosquitto import free_port, needs_mosquitto, running
from support.waiting import until

NAME = "com.example.Thing"

pytestmark = needs_mosquitto


@dataclass(frozen=True)
class SecureBroker:
    """A running mosquitto that only lets in who has a certificate of its authority."""

    url: str
    device: TlsFiles
    stranger: TlsFiles


@pytest.fixture(scope="module")
def secure_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    folder = tmp_path_factory.mktemp("mosquitto")
    authority, stranger = Authority("our authority", folder), Authority("another authority", folder)
    server = authority.issue("broker", server=True)
    device = authority.issue("device")
    forged = stranger.issue("stranger")
    port = free_port()
    configuration = (
        f"listener {port} 127.0.0.1\n"
        f"cafile {authority.path}\ncertfile {server.certificate}\nkeyfile {server.key}\n"
        "require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.2"
    )
    with running(folder, configuration, port):
        yield SecureBroker(
            f"mqtts://127.0.0.1:{port}",
            TlsFiles(authority.path, device.certificate, device.key),
            TlsFiles(authority.path, forged.certificate, forged.key),
        )


@pytest.fixture
def broker() -> None:
    """Takes the place of the embedded broker, which these tests do not use."""


@pytest.fixture
def secure_device(tmp_path: Path, secure_broker: SecureBroker) -> Iterator[Callable[..., Nucleus]]:
    started: list[Nucleus] = []

    def make(tls: TlsFiles, **more: Any) -> Nucleus:
        more.setdefault("broker_url", secure_broker.url)
        nucleus = Nucleus(tmp_path / "device", tls=tls, patience=Patience(start_period=0.05), **more)
        started.append(nucleus)
        nucleus.start()
        return nucleus

    yield make
    for nucleus in started:
        nucleus.stop()


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=lambda profile: profile.name)
def test_publish_and_subscribe_over_tls_with_a_client_certificate(
    secure_device: Callable[..., Nucleus], secure_broker: SecureBroker, build, clients, profile
) -> None:
    nucleus = secure_device(secure_broker.device, profile=profile)
    nucleus.deploy(build.idle(NAME, run="printenv SVCUID GG_ROOT_CA_PATH > token; exec sleep 600").deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    client = clients.connect(nucleus, NAME)
    arrived: list[bytes] = []
    client.subscribe_to_iot_core(
        topic_name="in", qos="1", on_stream_event=lambda event: arrived.append(event.message.payload)
    )
    cloud = Subscriber(BrokerUrl.parse(secure_broker.url), "out", secure_broker.device)
    try:
        client.publish_to_iot_core(topic_name="out", qos="1", payload=b"\x00 over TLS")
        assert cloud.wait(1) == [("out", b"\x00 over TLS")]
        cloud.publish("in", b"back")
        until(lambda: arrived == [b"back"])
    finally:
        cloud.close()
    token = (nucleus.root / "work" / NAME / "token").read_text().split()
    assert token[1] == str(secure_broker.device.ca)


def test_what_was_published_during_a_cut_arrives_in_order(
    secure_device: Callable[..., Nucleus], secure_broker: SecureBroker, build, clients
) -> None:
    with TcpProxy(secure_broker.url) as cable:
        nucleus = secure_device(secure_broker.device, broker_url=cable.url)
        nucleus.deploy(build.idle(NAME).deployment(NAME))
        assert nucleus.cloud.wait_connected(30)
        client = clients.connect(nucleus, NAME)
        cloud = Subscriber(BrokerUrl.parse(secure_broker.url), "n", secure_broker.device)
        try:
            cable.cut()
            assert nucleus.cloud.wait_connected(30, connected=False)
            for number in range(20):
                client.publish_to_iot_core(topic_name="n", qos="1", payload=str(number).encode())
            cable.plug()
            assert nucleus.cloud.wait_sent(30)
            assert [int(payload) for _, payload in cloud.wait(20)] == list(range(20))
        finally:
            cloud.close()
        nucleus.stop()


def test_a_certificate_of_another_authority_is_not_let_in(
    secure_device: Callable[..., Nucleus], secure_broker: SecureBroker
) -> None:
    nucleus = secure_device(secure_broker.stranger)
    assert not nucleus.cloud.wait_connected(2)


# paho-mqtt leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_broker_of_another_authority_is_not_trusted(
    secure_device: Callable[..., Nucleus], secure_broker: SecureBroker, tmp_path: Path
) -> None:
    other = Authority("somebody else", tmp_path)
    nucleus = secure_device(TlsFiles(other.path, secure_broker.device.certificate, secure_broker.device.key))
    assert not nucleus.cloud.wait_connected(2)


def test_tls_needs_certificates(secure_broker: SecureBroker, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected TLS files for mqtts://"):
        Nucleus(tmp_path, broker_url=secure_broker.url)
