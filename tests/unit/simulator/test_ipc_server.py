"""The IPC server against the unmodified SDK client, with a nucleus in memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import awsiot.greengrasscoreipc
import pytest
from awscrt.exceptions import AwsCrtError
from awsiot.eventstreamrpc import AccessDeniedError
from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from sam3edge_simulator.ipc import Delay, Drop, Fail, FakeNucleus, IpcServer, Published, ServiceError, Silence

NAME = "com.example.Thing"
PATIENCE = 30.0
LOST = (RuntimeError, AwsCrtError)
"""What the SDK raises on a lost connection depends on how far it has noticed; its own errors are RuntimeErrors."""


@pytest.fixture
def nucleus() -> FakeNucleus:
    return FakeNucleus({NAME: {"rate": 5, "camera": {"gain": 1}}})


@pytest.fixture(params=[True, False], ids=["classic", "lite"])
def server(request: pytest.FixtureRequest, tmp_path: Path, nucleus: FakeNucleus) -> Iterator[IpcServer]:
    with IpcServer(tmp_path / "ipc.socket", nucleus, ends_streams=request.param) as running:
        yield running
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ipc-")]


@pytest.fixture
def connect(server: IpcServer) -> Iterator[Callable[..., GreengrassCoreIPCClientV2]]:
    opened: list[GreengrassCoreIPCClientV2] = []

    def open_one(token: str = NAME) -> GreengrassCoreIPCClientV2:
        connection = awsiot.greengrasscoreipc.connect(ipc_socket=str(server.path), authtoken=token)
        opened.append(GreengrassCoreIPCClientV2(client=connection))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close().exception(timeout=PATIENCE)


def publish(client: GreengrassCoreIPCClientV2, payload: bytes = b"x") -> None:
    client.publish_to_iot_core(topic_name="a/b", qos="1", payload=payload)


def test_environment_alone_is_enough_for_the_client(
    server: IpcServer, nucleus: FakeNucleus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(server.path))
    monkeypatch.setenv("SVCUID", NAME)
    client = GreengrassCoreIPCClientV2()
    publish(client, b"\x00\xff")
    assert nucleus.published == (Published(NAME, "a/b", b"\x00\xff", 1),)
    assert server.components == (NAME,)
    client.close().result(PATIENCE)
    assert server.wait_connections(0, PATIENCE)


def test_configuration_is_read_written_and_watched(connect, nucleus: FakeNucleus) -> None:
    client = connect()
    assert client.get_configuration().value == {"rate": 5, "camera": {"gain": 1}}
    assert client.get_configuration(key_path=["rate"]).value == {"rate": 5}
    with pytest.raises(model.ResourceNotFoundError):
        client.get_configuration(key_path=["nothing"])
    changed: list[list[str]] = []
    seen = threading.Event()

    def on_change(event: model.ConfigurationUpdateEvents) -> None:
        changed.append(event.configuration_update_event.key_path)
        seen.set()

    client.subscribe_to_configuration_update(on_stream_event=on_change)
    client.update_configuration(timestamp=datetime.now(timezone.utc), value_to_merge={"camera": {"gain": 2}})
    assert seen.wait(PATIENCE)
    assert changed == [["camera", "gain"]]
    assert nucleus.configuration.read(NAME, ["camera"]) == {"gain": 2}


def test_subscription_delivers_until_it_is_closed(connect, nucleus: FakeNucleus) -> None:
    client = connect()
    got: list[bytes] = []
    seen = threading.Event()

    def on_message(event: model.IoTCoreMessage) -> None:
        got.append(event.message.payload)
        seen.set()

    _, operation = client.subscribe_to_iot_core(topic_name="in/+", qos="1", on_stream_event=on_message)
    assert nucleus.subscriptions == ("in/+",)
    assert nucleus.deliver("in/a", b"one") == 1
    assert nucleus.deliver("out/a", b"two") == 0
    assert seen.wait(PATIENCE)
    assert got == [b"one"]
    operation.close().result(PATIENCE)
    assert nucleus.wait(lambda now: now.subscriptions == (), PATIENCE)


def test_a_dropped_connection_ends_its_subscriptions(server: IpcServer, connect, nucleus: FakeNucleus) -> None:
    client = connect()
    closed = threading.Event()
    client.subscribe_to_iot_core(
        topic_name="in", qos="1", on_stream_event=lambda _event: None, on_stream_closed=closed.set
    )
    assert server.drop_connections(NAME) == 1
    assert closed.wait(PATIENCE)
    assert nucleus.subscriptions == ()
    with pytest.raises(LOST):
        publish(client)
    publish(connect())


def test_operation_that_is_not_served_is_a_service_error(connect) -> None:
    with pytest.raises(model.ServiceError) as refused:
        connect().put_component_metric(metrics=[])
    assert "PutComponentMetric is not supported" in refused.value.message


def test_injected_error_is_answered_as_often_as_asked(server: IpcServer, connect, nucleus: FakeNucleus) -> None:
    client = connect()
    server.faults.inject("PublishToIoTCore", Fail(ServiceError("busy")), times=2)
    for _ in range(2):
        with pytest.raises(model.ServiceError) as refused:
            publish(client)
        assert refused.value.message == "busy"
    assert client.get_configuration(key_path=["rate"]).value == {"rate": 5}
    publish(client)
    assert len(nucleus.published) == 1


@pytest.mark.parametrize(("handled", "published"), [(True, 1), (False, 0)])
def test_dropping_a_request_may_or_may_not_have_had_its_effect(
    server: IpcServer, connect, nucleus: FakeNucleus, handled: bool, published: int
) -> None:
    server.faults.inject("PublishToIoTCore", Drop(handled=handled))
    with pytest.raises(LOST):
        publish(connect())
    assert len(nucleus.published) == published


def test_silence_and_delay(server: IpcServer, connect, nucleus: FakeNucleus) -> None:
    client = connect()
    server.faults.inject("PublishToIoTCore", Silence())
    unsupported_prompts = client.publish_to_iot_core_async(topic_name="a", qos="1", payload=b"lost")
    server.faults.inject("PublishToIoTCore", Delay(0.2))
    publish(client, b"late")
    assert not unsupported_prompts.done()
    assert [one.payload for one in nucleus.published] == [b"lost", b"late"]


def test_faults_for_every_operation_last_until_cleared(server: IpcServer, connect) -> None:
    client = connect()
    server.faults.inject("*", Fail(ServiceError("down")), times=None)
    for call in (lambda: publish(client), client.get_configuration, lambda: publish(client)):
        with pytest.raises(model.ServiceError):
            call()
    server.faults.clear()
    publish(client)


def test_refused_token(server: IpcServer, connect) -> None:
    server.faults.refuse_token(NAME)
    with pytest.raises(AccessDeniedError):
        connect()
    connect("com.example.Other")
    server.faults.clear()
    server.faults.refuse_token()
    with pytest.raises(AccessDeniedError):
        connect("com.example.Other")
    server.faults.clear()
    connect()


def test_restarted_server_takes_new_clients_on_the_same_socket(server: IpcServer, connect) -> None:
    client = connect()
    server.stop()
    with pytest.raises(LOST):
        publish(client)
    server.start()
    publish(connect())


def test_lites_limit_closes_the_connection(tmp_path: Path) -> None:
    nucleus = FakeNucleus(largest_publish=7300, drops_large=True)
    with IpcServer(tmp_path / "ipc.socket", nucleus, ends_streams=False) as server:
        connection = awsiot.greengrasscoreipc.connect(ipc_socket=str(server.path), authtoken=NAME)
        client = GreengrassCoreIPCClientV2(client=connection)
        publish(client, b"x" * 7300)
        with pytest.raises(LOST):
            publish(client, b"x" * 7301)
        client.close().exception(timeout=PATIENCE)
        assert len(nucleus.published) == 1


def test_without_a_broker_publishing_fails_and_states_still_arrive(connect, nucleus: FakeNucleus) -> None:
    client = connect()
    nucleus.online = False
    with pytest.raises(model.ServiceError):
        publish(client)
    client.update_state(state="RUNNING")
    assert nucleus.states == ((NAME, "RUNNING"),)


def test_many_requests_at_once_are_all_answered_in_order(connect, nucleus: FakeNucleus) -> None:
    client = connect()
    answers = [
        client.publish_to_iot_core_async(topic_name="a", qos="1", payload=str(number).encode()) for number in range(200)
    ]
    for answer in answers:
        answer.result(PATIENCE)
    assert [int(one.payload) for one in nucleus.published] == list(range(200))


def test_socket_path_that_is_too_long_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 107 bytes"):
        IpcServer(tmp_path / ("x" * 110), FakeNucleus())


def test_garbage_closes_the_connection_and_nothing_else(server: IpcServer, connect) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(server.path))
        stranger.sendall(b"GET / HTTP/1")  # as many bytes as a frame's prelude
        assert stranger.recv(1) == b""
    publish(connect())
