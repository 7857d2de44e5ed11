"""PublishToIoTCore and SubscribeToIoTCore, with the real SDK client and a broker that comes and goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from awscrt.exceptions import AwsCrtError
from awsiot.greengrasscoreipc import model

from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, LITE

NAME = "com.example.Thing"


def test_publishing_reaches_the_broker_unchanged(device: Callable[..., Nucleus], build, clients, cloud) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    payload = bytes(range(256)) * 16
    client.publish_to_iot_core(topic_name="site/a", qos="1", payload=payload)
    client.publish_to_iot_core(topic_name="site/b", qos="0", payload=b"")
    assert cloud.wait(2) == [("site/a", payload), ("site/b", b"")]


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=lambda profile: profile.name)
def test_messages_from_the_cloud_reach_their_subscriber_until_it_unsubscribes(
    device: Callable[..., Nucleus], build, clients, cloud, profile
) -> None:
    nucleus = device(profile)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    client = clients.connect(nucleus, NAME)
    got = Received()
    _, operation = client.subscribe_to_iot_core(topic_name="to/+", qos="1", on_stream_event=got)
    cloud.publish("elsewhere", b"not for us")
    cloud.publish("to/us", b"\x00\xff")
    assert got.wait(1) == [("to/us", b"\x00\xff")]

    operation.close().result(30)
    _, operation = client.subscribe_to_iot_core(topic_name="other", qos="1", on_stream_event=got)
    cloud.publish("to/us", b"too late")
    cloud.publish("other", b"last")
    assert got.wait(2) == [("to/us", b"\x00\xff"), ("other", b"last")]


def test_access_control_lets_pass_what_it_names_and_nothing_else(
    device: Callable[..., Nucleus], build, clients
) -> None:
    access = {
        "aws.greengrass.ipc.mqttproxy": {
            "out": {
                "operations": ["aws.greengrass#PublishToIoTCore"],
                "resources": ["sam3edge/{iot:thingName}/out/*"],
            },
            "in": {"operations": ["aws.greengrass#SubscribeToIoTCore"], "resources": ["sam3edge/+/in"]},
        }
    }
    nucleus = device(thing_name="station-7")
    nucleus.deploy(build.idle(NAME, access).idle("com.example.Mute", {}).deployment(NAME, "com.example.Mute"))
    client = clients.connect(nucleus, NAME)

    client.publish_to_iot_core(topic_name="sam3edge/station-7/out/a/b", qos="1", payload=b"")
    client.subscribe_to_iot_core(topic_name="sam3edge/station-7/in", qos="1", on_stream_event=print)
    client.subscribe_to_iot_core(topic_name="sam3edge/+/in", qos="1", on_stream_event=print)
    for topic in ("sam3edge/station-8/out/a", "sam3edge/station-7/in"):
        with pytest.raises(model.UnauthorizedError) as refused:
            client.publish_to_iot_core(topic_name=topic, qos="1", payload=b"")
        assert f"on resource {topic}" in refused.value.message
    with pytest.raises(model.UnauthorizedError):
        client.subscribe_to_iot_core(topic_name="#", qos="1", on_stream_event=print)
    with pytest.raises(model.UnauthorizedError):
        clients.connect(nucleus, "com.example.Mute").publish_to_iot_core(topic_name="a", qos="1", payload=b"")


def test_limits_of_iot_core(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    client.publish_to_iot_core(topic_name="1/2/3/4/5/6/7/8", qos="1", payload=b"x" * 128 * 1024)
    with pytest.raises(model.InvalidArgumentsError) as refused:
        client.publish_to_iot_core(topic_name="1/2/3/4/5/6/7/8/9", qos="1", payload=b"")
    assert "at most 7 slashes" in refused.value.message
    with pytest.raises(model.ServiceError) as refused:
        client.publish_to_iot_core(topic_name="a", qos="1", payload=b"x" * (128 * 1024 + 1))
    assert "131072 bytes" in refused.value.message
    with pytest.raises(model.InvalidArgumentsError):
        client.publish_to_iot_core(topic_name="a/+", qos="1", payload=b"")


def test_lite_closes_the_connection_on_a_large_publish(device: Callable[..., Nucleus], build, clients, cloud) -> None:
    nucleus = device(LITE)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    client = clients.connect(nucleus, NAME)
    client.publish_to_iot_core(topic_name="a", qos="1", payload=b"x" * 7300)
    lost = (RuntimeError, AwsCrtError)  # which of them depends on how far the SDK has noticed
    with pytest.raises(lost):
        client.publish_to_iot_core(topic_name="a", qos="1", payload=b"x" * 7301)
    with pytest.raises(lost):
        client.publish_to_iot_core(topic_name="a", qos="1", payload=b"small")

    clients.connect(nucleus, NAME).publish_to_iot_core(topic_name="a", qos="1", payload=b"again")
    assert [len(payload) for _, payload in cloud.wait(2)] == [7300, 5]


@pytest.mark.parametrize(("profile", "arrive"), [(CLASSIC, 3), (LITE, 2)], ids=["classic", "lite"])
def test_lite_never_delivers_large_messages(
    device: Callable[..., Nucleus], build, clients, cloud, profile, arrive
) -> None:
    nucleus = device(profile)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    got = Received()
    clients.connect(nucleus, NAME).subscribe_to_iot_core(topic_name="in", qos="1", on_stream_event=got)
    for size in (4800, 4801, 1):
        cloud.publish("in", b"x" * size)
    sizes = [len(payload) for _, payload in got.wait(arrive)]
    assert sizes == ([4800, 4801, 1] if profile is CLASSIC else [4800, 1])


def test_classic_spools_without_a_broker_until_it_is_full(
    device: Callable[..., Nucleus], build, clients, broker: Broker
) -> None:
    nucleus = device()
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    client = clients.connect(nucleus, NAME)
    broker.stop()
    assert nucleus.cloud.wait_connected(30, connected=False)

    block = b"x" * 128 * 1024
    for number in range(20):  # 20 * 128 KiB are the 2.5 MiB
        client.publish_to_iot_core(topic_name=f"block/{number}", qos="1", payload=block)
    assert nucleus.cloud.unsent_bytes == 2.5 * 1024 * 1024
    with pytest.raises(model.ServiceError) as refused:
        client.publish_to_iot_core(topic_name="one/more", qos="1", payload=b"x")
    assert "spool is full" in refused.value.message
    with pytest.raises(model.ServiceError) as refused:
        client.publish_to_iot_core(topic_name="qos/0", qos="0", payload=b"x")
    assert "Dropping QoS 0" in refused.value.message

    broker.start()
    assert nucleus.cloud.wait_sent(30)
    client.publish_to_iot_core(topic_name="one/more", qos="1", payload=b"x")


def test_classic_delivers_in_order_what_the_network_lost(
    device: Callable[..., Nucleus], build, clients, broker: Broker, cloud
) -> None:
    with TcpProxy(broker.url) as cable:
        nucleus = device(broker_url=cable.url)
        nucleus.deploy(build.idle(NAME).deployment(NAME))
        assert nucleus.cloud.wait_connected(30)
        client = clients.connect(nucleus, NAME)
        cable.swallow()
        for number in range(20):
            client.publish_to_iot_core(topic_name="n", qos="1", payload=str(number).encode())
        cable.cut()
        assert nucleus.cloud.wait_connected(30, connected=False)
        assert not nucleus.cloud.wait_sent(0)
        cable.plug()
        assert nucleus.cloud.wait_sent(30)
        assert [int(payload) for _, payload in cloud.wait(20)] == list(range(20))
        nucleus.stop()


def test_lite_refuses_at_once_without_a_broker(device: Callable[..., Nucleus], build, clients, broker) -> None:
    nucleus = device(LITE)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    client = clients.connect(nucleus, NAME)
    broker.stop()
    assert nucleus.cloud.wait_connected(30, connected=False)
    with pytest.raises(model.ServiceError):
        client.publish_to_iot_core(topic_name="a", qos="1", payload=b"x")
    with pytest.raises(model.ServiceError):
        client.subscribe_to_iot_core(topic_name="a", qos="1", on_stream_event=print)
    broker.start()
    assert nucleus.cloud.wait_connected(30)
    client.publish_to_iot_core(topic_name="a", qos="1", payload=b"x")


def lite_behind(cable: TcpProxy, device: Callable[..., Nucleus], build, clients) -> tuple[Nucleus, Any]:
    """A connected nucleus lite whose broker is at the other end of the cable, and a client of it."""
    nucleus = device(LITE, broker_url=cable.url)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    assert nucleus.cloud.wait_connected(30)
    return nucleus, clients.connect(nucleus, NAME)


def test_lite_has_ten_in_flight_and_loses_them_with_the_connection(
    device: Callable[..., Nucleus], build, clients, broker: Broker, cloud
) -> None:
    with TcpProxy(broker.url) as cable:
        nucleus, client = lite_behind(cable, device, build, clients)
        cable.swallow()
        for number in range(10):
            client.publish_to_iot_core(topic_name="lost", qos="1", payload=str(number).encode())
        with pytest.raises(model.ServiceError) as refused:
            client.publish_to_iot_core(topic_name="lost", qos="1", payload=b"11th")
        assert "MQTTNoMemory, 10 records" in refused.value.message

        cable.cut()
        assert nucleus.cloud.wait_connected(30, connected=False)
        cable.plug()
        assert nucleus.cloud.wait_connected(30)
        client.publish_to_iot_core(topic_name="kept", qos="1", payload=b"x")
        assert cloud.wait(1) == [("kept", b"x")]
        nucleus.stop()


def test_lites_publishes_share_a_buffer_of_which_a_cut_leaves_a_part_taken(
    device: Callable[..., Nucleus], build, clients, broker: Broker, cloud
) -> None:
    with TcpProxy(broker.url) as cable:
        nucleus, client = lite_behind(cable, device, build, clients)
        cable.swallow()
        for _ in range(2):
            client.publish_to_iot_core(topic_name="lost", qos="1", payload=b"x" * 7000)
        with pytest.raises(model.ServiceError) as refused:
            client.publish_to_iot_core(topic_name="lost", qos="1", payload=b"x" * 1000)
        assert "MQTTNoMemory, 2 records and 14008 bytes are taken" in refused.value.message
        cable.cut()
        assert nucleus.cloud.wait_connected(30, connected=False)
        cable.plug()
        assert nucleus.cloud.wait_connected(30)
        client.publish_to_iot_core(topic_name="kept", qos="1", payload=b"x" * 7000)
        assert cloud.wait(1)
        assert nucleus.cloud.wait_sent(30)
        cable.swallow()
        client.publish_to_iot_core(topic_name="lost", qos="1", payload=b"x" * 7000)
        with pytest.raises(model.ServiceError):  # beside the half that stays taken
            client.publish_to_iot_core(topic_name="lost", qos="1", payload=b"x" * 1000)
        nucleus.cloud.restart_daemon()
        cable.cut()
        cable.plug()
        assert nucleus.cloud.wait_connected(30)
        for _ in range(2):
            client.publish_to_iot_core(topic_name="kept", qos="1", payload=b"x" * 7000)
        assert cloud.wait(3)
        nucleus.stop()


@pytest.mark.parametrize("profile", [CLASSIC, LITE], ids=lambda profile: profile.name)
def test_subscriptions_outlive_the_connection_unless_they_are_lost(
    device: Callable[..., Nucleus], build, clients, broker: Broker, cloud, profile
) -> None:
    with TcpProxy(broker.url) as cable:
        nucleus = device(profile, broker_url=cable.url)
        nucleus.deploy(build.idle(NAME).deployment(NAME))
        assert nucleus.cloud.wait_connected(30)
        got = Received()
        client = clients.connect(nucleus, NAME)
        client.subscribe_to_iot_core(topic_name="in", qos="1", on_stream_event=got)
        cable.cut()
        assert nucleus.cloud.wait_connected(30, connected=False)
        cable.plug()
        assert nucleus.cloud.wait_connected(30)
        cloud.publish("in", b"x")
        got.wait(1)

        nucleus.cloud.restart_daemon()
        assert nucleus.cloud.wait_connected(30)
        client.subscribe_to_iot_core(topic_name="other", qos="1", on_stream_event=got)
        cloud.publish("in", b"nobody hears")
        cloud.publish("other", b"heard")
        assert got.wait(2)[-1] == ("other", b"heard")
        nucleus.stop()


def test_operations_that_lite_does_not_have(device: Callable[..., Nucleus], build, clients) -> None:
    nucleus = device(LITE)
    nucleus.deploy(build.idle(NAME).deployment(NAME))
    client = clients.connect(nucleus, NAME)
    metric = model.Metric(name="m", unit="Count", value=1.0)
    for call in (
        lambda: client.put_component_metric(metrics=[metric]),
        lambda: client.defer_component_update(deployment_id="x", recheck_after_ms=0),
        lambda: client.subscribe_to_component_updates(on_stream_event=print),
        lambda: client.subscribe_to_validate_configuration_updates(on_stream_event=print),
        lambda: client.get_thing_shadow(thing_name="laptop", shadow_name="s"),
        lambda: client.get_secret_value(secret_id="s"),
    ):
        with pytest.raises(model.ServiceError):
            call()


class Received:
    """Collects events of a subscription."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def __call__(self, event: model.IoTCoreMessage) -> None:
        with self._changed:
            self.messages.append((event.message.topic_name, event.message.payload))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, 30), self.messages
            return list(self.messages)
