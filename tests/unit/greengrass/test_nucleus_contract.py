"""What every nucleus keeps: the real client, over sockets, and the one in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.greengrass.nucleus import Configuration, Nucleus
from sam3edge_simulator.ipc import Fail, IpcServer, ServiceError
from sam3edge_simulator.ipc import FakeNucleus as ServedNucleus
from unit.greengrass.conftest import COMPONENT

CONFIGURATION = {"prompts": ["ship"], "threshold": 0.5}


@dataclass(frozen=True)
class Bench:
    """A nucleus, and how the world around it is moved."""

    nucleus: Nucleus
    published: Callable[[], list[tuple[str, bytes]]]
    deliver: Callable[[str, bytes], object]
    configure: Callable[[Configuration], object]
    fail_next_publish: Callable[[], None]
    cut: Callable[[], object]


@pytest.fixture(params=["greengrass", "memory"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "memory":
        fake = FakeNucleus(CONFIGURATION)
        publish = fake.publish

        def fail_once() -> None:
            fake.outage = PublishError("busy")

            def publish_and_recover(topic: str, payload: bytes) -> None:
                try:
                    publish(topic, payload)
                finally:
                    fake.outage = None

            fake.publish = publish_and_recover  # type: ignore[method-assign]

        def cut() -> None:
            fake.outage = ConnectionLost("cut")

        yield Bench(fake, lambda: list(fake.published), fake.deliver, fake.configure, fail_once, cut)
        fake.close()
        return
    served: ServedNucleus = request.getfixturevalue("served")
    server: IpcServer = request.getfixturevalue("server")
    client: GreengrassClient = request.getfixturevalue("client")
    yield Bench(
        client,
        lambda: [(message.topic, message.payload) for message in served.published],
        served.deliver,
        lambda values: served.configuration.merge(COMPONENT, values),
        lambda: server.faults.inject("PublishToIoTCore", Fail(ServiceError("busy"))),
        server.drop_connections,
    )


def test_what_is_published_arrives(bench: Bench) -> None:
    bench.nucleus.publish("site/detections", b"\x00\xff")
    assert bench.published() == [("site/detections", b"\x00\xff")]


def test_a_failure_is_a_publish_error_and_passes(bench: Bench) -> None:
    bench.fail_next_publish()
    with pytest.raises(PublishError, match="busy") as caught:
        bench.nucleus.publish("t", b"x")
    assert not isinstance(caught.value, ConnectionLost)
    bench.nucleus.publish("t", b"x")


def test_a_lost_connection_is_final(bench: Bench) -> None:
    bench.cut()
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            bench.nucleus.publish("t", b"x")
    with pytest.raises(ConnectionLost):
        bench.nucleus.configuration()
    with pytest.raises(ConnectionLost):
        bench.nucleus.subscribe("t", lambda topic, payload: None)
    with pytest.raises(ConnectionLost):
        bench.nucleus.update_state("RUNNING")


def test_the_configuration_is_a_copy(bench: Bench) -> None:
    bench.nucleus.configuration()["prompts"] = []
    assert bench.nucleus.configuration() == CONFIGURATION


def test_a_changed_configuration_is_told_and_an_equal_one_is_not(bench: Bench) -> None:
    told: queue.Queue[Configuration] = queue.Queue()
    bench.nucleus.configuration()
    subscription = bench.nucleus.on_configuration(told.put)
    bench.configure({**CONFIGURATION})
    bench.configure({**CONFIGURATION, "threshold": 0.7})
    assert told.get(timeout=5) == {**CONFIGURATION, "threshold": 0.7}
    assert told.empty()
    subscription.close()
    bench.configure({**CONFIGURATION, "threshold": 0.8})
    with pytest.raises(queue.Empty):
        told.get(timeout=0.2)


def test_without_reading_first_the_present_configuration_is_told(bench: Bench) -> None:
    told: queue.Queue[Configuration] = queue.Queue()
    bench.nucleus.on_configuration(told.put)
    assert told.get(timeout=5) == CONFIGURATION


def test_an_update_is_merged_and_told(bench: Bench) -> None:
    told: queue.Queue[Configuration] = queue.Queue()
    bench.nucleus.configuration()
    bench.nucleus.on_configuration(told.put)
    bench.nucleus.update_configuration({"camera": {"gain": 1, "rate": 2}, "prompts": ["boat"]})
    assert told.get(timeout=5) == {"camera": {"gain": 1, "rate": 2}, "prompts": ["boat"], "threshold": 0.5}
    bench.nucleus.update_configuration({"camera": {"gain": 3}})
    assert told.get(timeout=5)["camera"] == {"gain": 3, "rate": 2}
    assert bench.nucleus.configuration()["camera"] == {"gain": 3, "rate": 2}


def test_messages_come_to_the_subscriptions_that_match(bench: Bench) -> None:
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    bench.nucleus.subscribe("site/+/commands", lambda topic, payload: heard.put((topic, payload)))
    bench.deliver("site/other", b"no")
    bench.deliver("site/a/commands", b"1")
    bench.deliver("site/b/commands", b"")
    assert heard.get(timeout=5) == ("site/a/commands", b"1")
    assert heard.get(timeout=5) == ("site/b/commands", b"")
    assert heard.empty()


def test_what_is_published_comes_back_to_a_subscription(bench: Bench) -> None:
    heard: queue.Queue[bytes] = queue.Queue()
    subscription = bench.nucleus.subscribe("ping", lambda topic, payload: heard.put(payload))
    bench.nucleus.publish("ping", b"1")
    assert heard.get(timeout=5) == b"1"
    subscription.renew()
    subscription.close()
    bench.nucleus.publish("ping", b"2")
    with pytest.raises(queue.Empty):
        heard.get(timeout=0.2)


def test_callbacks_come_one_after_the_other_and_may_call_the_nucleus(bench: Bench) -> None:
    running = threading.Semaphore(1)
    overlaps: list[bool] = []
    done: queue.Queue[bytes] = queue.Queue()

    def handler(topic: str, payload: bytes) -> None:
        overlaps.append(not running.acquire(blocking=False))
        bench.nucleus.publish("answers", payload)
        bench.nucleus.configuration()
        running.release()
        done.put(payload)

    bench.nucleus.subscribe("commands", handler)
    for number in range(10):
        bench.deliver("commands", b"%d" % number)
    assert [done.get(timeout=5) for _ in range(10)] == [b"%d" % number for number in range(10)]
    assert not any(overlaps)


def test_a_state_is_accepted(bench: Bench) -> None:
    bench.nucleus.update_state("RUNNING")


def test_closing_is_idempotent_and_final(bench: Bench) -> None:
    bench.nucleus.close()
    bench.nucleus.close()
    with pytest.raises(ConnectionLost):
        bench.nucleus.publish("t", b"x")
