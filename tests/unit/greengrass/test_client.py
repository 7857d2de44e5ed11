"""The client over the unmodified SDK, against a server that speaks the wire protocol."""

from __future__ import annotations

import gc
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from awsiot.greengrasscoreipc.client import PublishToIoTCoreOperation

from sam3edge.core.errors import ConnectionLost, PublishError, SettingsError
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.greengrass.nucleus import Configuration
from sam3edge_simulator.ipc import (
    Delay,
    Drop,
    Fail,
    FakeNucleus,
    InvalidArgumentsError,
    IpcServer,
    ServiceError,
    Silence,
    UnauthorizedError,
)
from unit.greengrass.conftest import COMPONENT, QUICK, Lost

Connect = Callable[..., GreengrassClient]


class TestConnecting:
    def test_without_its_environment_the_error_names_it(self, monkeypatch: pytest.MonkeyPatch, lost: Lost) -> None:
        monkeypatch.delenv("SVCUID", raising=False)
        monkeypatch.delenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", raising=False)
        with pytest.raises(ConnectionLost, match=r"AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT.*SVCUID"):
            GreengrassClient(QUICK, on_lost=lost)
        assert lost == []

    def test_the_environment_of_a_component_is_enough(
        self, monkeypatch: pytest.MonkeyPatch, server: IpcServer, lost: Lost
    ) -> None:
        monkeypatch.setenv("SVCUID", COMPONENT)
        monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(server.path))
        client = GreengrassClient(QUICK, on_lost=lost)
        assert server.components == (COMPONENT,)
        client.close()
        client.close()
        assert server.wait_connections(0, 5)
        assert lost == []

    def test_a_refused_token_is_a_lost_connection(self, server: IpcServer, connect: Connect) -> None:
        server.faults.refuse_token()
        with pytest.raises(ConnectionLost, match="valid token"):
            connect()

    def test_so_is_a_socket_without_a_nucleus(self, server: IpcServer, connect: Connect) -> None:
        server.stop()
        with pytest.raises(ConnectionLost, match="SVCUID"):
            connect()


class TestPublishing:
    def test_the_payload_arrives_unchanged_at_qos_1(self, client: GreengrassClient, served: FakeNucleus) -> None:
        payload = bytes(range(256)) * 400
        client.publish("site/detections", payload)
        (published,) = served.published
        assert (published.component, published.topic, published.payload, published.qos) == (
            COMPONENT,
            "site/detections",
            payload,
            1,
        )

    @pytest.mark.parametrize(
        "error", [ServiceError("the spool is full"), InvalidArgumentsError("a bad topic")], ids=["service", "arguments"]
    )
    def test_an_error_of_the_nucleus_may_pass(
        self, client: GreengrassClient, server: IpcServer, error: ServiceError
    ) -> None:
        server.faults.inject("PublishToIoTCore", Fail(error))
        with pytest.raises(PublishError, match=str(error)) as caught:
            client.publish("t", b"x")
        assert not isinstance(caught.value, ConnectionLost)
        client.publish("t", b"x")

    def test_denied_access_names_the_topic_and_what_is_needed(
        self, client: GreengrassClient, server: IpcServer
    ) -> None:
        server.faults.inject("PublishToIoTCore", Fail(UnauthorizedError("no")))
        with pytest.raises(PublishError, match=r"site/status.*accessControl.*aws\.greengrass#PublishToIoTCore"):
            client.publish("site/status", b"x")

    def test_one_answer_that_never_comes_is_no_lost_connection(
        self, connect: Connect, server: IpcServer, lost: Lost
    ) -> None:
        client = connect(replace(QUICK, timeout=1.5))  # long enough for the answer that does come
        server.faults.inject("PublishToIoTCore", Silence())
        with pytest.raises(PublishError, match="No answer") as caught:
            client.publish("t", b"x")
        assert not isinstance(caught.value, ConnectionLost)
        client.publish("t", b"x")
        assert lost == []

    def test_many_threads_may_publish(self, client: GreengrassClient, served: FakeNucleus) -> None:
        threads = [
            threading.Thread(target=lambda n=n: [client.publish("t", b"%d-%d" % (n, k)) for k in range(20)])
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({message.payload for message in served.published}) == 100


class TestLosing:
    def test_a_cut_connection_is_reported_to_an_idle_program(
        self, client: GreengrassClient, server: IpcServer, lost: Lost
    ) -> None:
        server.drop_connections()
        assert lost.happened.wait(5)
        with pytest.raises(ConnectionLost, match="started again"):
            client.publish("t", b"x")
        with pytest.raises(ConnectionLost):
            client.configuration()
        assert len(lost) == 1

    def test_it_never_comes_back(self, client: GreengrassClient, server: IpcServer, lost: Lost) -> None:
        server.stop()
        assert lost.happened.wait(5)
        server.start()
        with pytest.raises(ConnectionLost):
            client.publish("t", b"x")

    @pytest.mark.parametrize("handled", [False, True])
    def test_a_connection_cut_by_a_request(
        self, client: GreengrassClient, server: IpcServer, lost: Lost, handled: bool
    ) -> None:
        server.faults.inject("PublishToIoTCore", Drop(handled=handled))
        with pytest.raises(ConnectionLost):
            client.publish("t", b"x")
        assert lost.happened.wait(5)

    def test_every_request_under_way_ends(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("PublishToIoTCore", Silence(), times=None)
        errors: list[Exception] = []

        def publish() -> None:
            try:
                client.publish("t", b"x")
            except ConnectionLost as error:
                errors.append(error)

        threads = [threading.Thread(target=publish) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        server.drop_connections()
        for thread in threads:
            thread.join(5)
        assert len(errors) == 5

    def test_a_nucleus_that_answers_nothing_at_all_is_lost(
        self, connect: Connect, server: IpcServer, lost: Lost
    ) -> None:
        client = connect(replace(QUICK, timeout=0.2))
        server.faults.inject("*", Silence(), times=None)
        with pytest.raises(ConnectionLost, match="no answer to PublishToIoTCore"):
            client.publish("t", b"x")
        assert lost.happened.wait(5)

    def test_after_closing_every_call_says_so(self, client: GreengrassClient, lost: Lost) -> None:
        client.close()
        with pytest.raises(ConnectionLost, match="closed by this program"):
            client.publish("t", b"x")
        assert lost == []


class TestConfiguration:
    def test_is_read_whole(self, client: GreengrassClient) -> None:
        assert client.configuration() == {"prompts": ["ship"], "threshold": 0.5}

    def test_is_empty_for_a_component_without_one(self, server: IpcServer, lost: Lost) -> None:
        client = GreengrassClient(QUICK, on_lost=lost, socket=str(server.path), token="com.example.Other")
        assert client.configuration() == {}
        client.close()

    def test_an_error_of_the_nucleus_may_pass(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("GetConfiguration", Fail(ServiceError("busy")))
        with pytest.raises(PublishError, match="GetConfiguration"):
            client.configuration()

    def test_changes_are_told_once_and_whole(self, client: GreengrassClient, served: FakeNucleus) -> None:
        told: queue.Queue[Configuration] = queue.Queue()
        client.configuration()
        client.on_configuration(told.put)
        for threshold in (0.6, 0.7, 0.8):
            served.configuration.merge(COMPONENT, {"threshold": threshold})
        assert told.get(timeout=5) == {"prompts": ["ship"], "threshold": 0.8}
        time.sleep(0.2)
        assert told.empty()

    def test_a_change_between_reading_and_watching_is_not_missed(
        self, client: GreengrassClient, served: FakeNucleus
    ) -> None:
        told: queue.Queue[Configuration] = queue.Queue()
        client.configuration()
        served.configuration.merge(COMPONENT, {"threshold": 0.9})
        client.on_configuration(told.put)
        assert told.get(timeout=5)["threshold"] == 0.9

    def test_what_the_program_does_to_its_copy_is_no_change(self, client: GreengrassClient) -> None:
        told: queue.Queue[Configuration] = queue.Queue()
        client.configuration()["prompts"].append("boat")
        client.on_configuration(told.put)
        time.sleep(0.3)
        assert told.empty()

    def test_the_callback_may_call_the_nucleus(self, client: GreengrassClient, served: FakeNucleus) -> None:
        done = threading.Event()

        def callback(configuration: Configuration) -> None:
            client.publish("t", str(configuration["threshold"]).encode())
            done.set()

        client.configuration()
        client.on_configuration(callback)
        served.configuration.merge(COMPONENT, {"threshold": 0.1})
        assert done.wait(5)
        assert served.published[-1].payload == b"0.1"

    def test_reading_that_fails_is_tried_again(
        self, client: GreengrassClient, server: IpcServer, served: FakeNucleus
    ) -> None:
        told: queue.Queue[Configuration] = queue.Queue()
        client.configuration()
        server.faults.inject("GetConfiguration", Fail(ServiceError("busy")), times=2)
        client.on_configuration(told.put)
        served.configuration.merge(COMPONENT, {"threshold": 0.2})
        assert told.get(timeout=5)["threshold"] == 0.2

    def test_watching_that_is_denied_is_a_settings_error(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("SubscribeToConfigurationUpdate", Fail(UnauthorizedError("no")))
        with pytest.raises(SettingsError, match="accessControl"):
            client.on_configuration(lambda configuration: None)


class TestSubscribing:
    def test_messages_come_in_order(self, client: GreengrassClient, served: FakeNucleus) -> None:
        heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        client.subscribe("site/commands/#", lambda topic, payload: heard.put((topic, payload)))
        for number in range(50):
            served.deliver("site/commands/a", b"%d" % number)
        assert [heard.get(timeout=5) for _ in range(50)] == [("site/commands/a", b"%d" % n) for n in range(50)]

    def test_the_handler_may_call_the_nucleus(self, client: GreengrassClient, served: FakeNucleus) -> None:
        client.subscribe("commands", lambda topic, payload: client.publish("answers", payload))
        served.deliver("commands", b"x")
        assert served.wait(lambda n: any(m.topic == "answers" for m in n.published), 5)

    def test_a_handler_that_fails_does_not_silence_the_next_message(
        self, client: GreengrassClient, served: FakeNucleus, caplog: pytest.LogCaptureFixture
    ) -> None:
        heard: queue.Queue[bytes] = queue.Queue()

        def handler(topic: str, payload: bytes) -> None:
            if payload == b"bad":
                raise ValueError("a defect")
            heard.put(payload)

        client.subscribe("commands", handler)
        served.deliver("commands", b"bad")
        served.deliver("commands", b"good")
        assert heard.get(timeout=5) == b"good"
        assert "a defect" in caplog.text

    def test_an_offline_nucleus_is_asked_again(
        self, client: GreengrassClient, server: IpcServer, served: FakeNucleus
    ) -> None:
        server.faults.inject("SubscribeToIoTCore", Fail(ServiceError("offline")), times=3)
        client.subscribe("commands", lambda topic, payload: None)
        assert served.wait(lambda n: n.subscriptions == ("commands",), 5)

    def test_a_subscription_that_is_answered_too_late_leaves_one_stream(
        self, connect: Connect, server: IpcServer, served: FakeNucleus
    ) -> None:
        client = connect(replace(QUICK, timeout=0.5))
        server.faults.inject("SubscribeToIoTCore", Delay(0.8))
        client.subscribe("commands", lambda topic, payload: None)
        time.sleep(1.0)
        assert served.wait(lambda n: n.subscriptions == ("commands",), 5)

    def test_a_stream_that_fails_is_opened_again(self, client: GreengrassClient, served: FakeNucleus) -> None:
        heard: queue.Queue[bytes] = queue.Queue()
        client.subscribe("commands", lambda topic, payload: heard.put(payload))
        (stream,) = served._cloud_streams
        stream.send({"message": {"topicName": "commands", "payload": "this is not base64"}})
        assert served.wait(lambda n: stream not in n._cloud_streams, 5)
        assert served.wait(lambda n: n.subscriptions == ("commands",), 5)
        served.deliver("commands", b"again")
        assert heard.get(timeout=5) == b"again"

    def test_renewing_replaces_the_stream(self, client: GreengrassClient, served: FakeNucleus) -> None:
        heard: queue.Queue[bytes] = queue.Queue()
        subscription = client.subscribe("commands", lambda topic, payload: heard.put(payload))
        (before,) = served._cloud_streams
        subscription.renew()
        assert served.wait(lambda n: n.subscriptions == ("commands",) and before not in n._cloud_streams, 5)
        served.deliver("commands", b"once")
        assert heard.get(timeout=5) == b"once"
        time.sleep(0.1)
        assert heard.empty()

    def test_a_closed_subscription_stays_closed(self, client: GreengrassClient, served: FakeNucleus) -> None:
        subscription = client.subscribe("commands", lambda topic, payload: None)
        subscription.close()
        subscription.renew()
        assert served.wait(lambda n: n.subscriptions == (), 5)
        time.sleep(0.2)
        assert served.subscriptions == ()

    def test_what_is_denied_is_a_settings_error(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("SubscribeToIoTCore", Fail(UnauthorizedError("no")))
        with pytest.raises(SettingsError, match=r"commands/x.*aws\.greengrass#SubscribeToIoTCore"):
            client.subscribe("commands/x", lambda topic, payload: None)

    def test_what_is_denied_later_is_tried_again(
        self, client: GreengrassClient, server: IpcServer, served: FakeNucleus
    ) -> None:
        subscription = client.subscribe("commands", lambda topic, payload: None)
        server.faults.inject("SubscribeToIoTCore", Fail(UnauthorizedError("no")))
        subscription.renew()
        assert served.wait(lambda n: n.subscriptions == (), 5)
        assert served.wait(lambda n: n.subscriptions == ("commands",), 5)

    def test_a_lost_connection_is_no_reason_to_try_again(
        self, client: GreengrassClient, server: IpcServer, lost: Lost, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.subscribe("commands", lambda topic, payload: None)
        server.drop_connections()
        assert lost.happened.wait(5)
        time.sleep(0.3)
        assert "next attempt" not in caplog.text
        with pytest.raises(ConnectionLost):
            client.subscribe("more", lambda topic, payload: None)


class TestOtherOperations:
    def test_a_refused_update_is_an_error(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("UpdateConfiguration", Fail(ServiceError("busy")))
        with pytest.raises(PublishError, match="UpdateConfiguration"):
            client.update_configuration({"threshold": 0.1})

    def test_states_are_reported(self, client: GreengrassClient, served: FakeNucleus) -> None:
        client.update_state("RUNNING")
        client.update_state("ERRORED")
        assert served.states == ((COMPONENT, "RUNNING"), (COMPONENT, "ERRORED"))

    def test_a_refused_state_is_an_error(self, client: GreengrassClient, server: IpcServer) -> None:
        server.faults.inject("UpdateState", Fail(ServiceError("busy")))
        with pytest.raises(PublishError, match="UpdateState"):
            client.update_state("RUNNING")


def held() -> int:
    """Operations of the SDK that are in memory, and not only until the next collection."""
    gc.collect()
    return sum(type(thing) is PublishToIoTCoreOperation for thing in gc.get_objects())


class TestMemory:
    @pytest.mark.parametrize("ends_streams", [True, False], ids=["classic", "lite"])
    def test_what_was_answered_is_let_go_of(self, served: FakeNucleus, lost: Lost, ends_streams: bool) -> None:
        """Lite ends no stream by itself, and the SDK keeps what has not ended: messages would fill a device."""
        before = held()
        with (
            tempfile.TemporaryDirectory(prefix="gg") as folder,
            IpcServer(Path(folder) / "ipc.socket", served, ends_streams=ends_streams) as server,
        ):
            client = GreengrassClient(QUICK, on_lost=lost, socket=str(server.path), token=COMPONENT)
            with ThreadPoolExecutor(4) as publishers:
                list(publishers.map(lambda i: client.publish("a", b"%d" % i), range(200)))
            server.faults.inject("PublishToIoTCore", Fail(ServiceError("busy")), times=40)
            for _ in range(40):
                with pytest.raises(PublishError, match="busy"):
                    client.publish("a", b"refused")
            deadline = time.monotonic() + 5
            while held() - before > 20 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert held() - before <= 20
            client.publish("a", b"last")
            assert lost == []
            client.close()
