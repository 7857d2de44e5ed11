"""The publisher over the nucleus, and the whole way from the outbox through the wire protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.core.types import Message
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions
from sam3edge.publishers.greengrass import GreengrassPublisher
from sam3edge_simulator.ipc import Drop, Fail, IpcServer, ServiceError
from sam3edge_simulator.ipc import FakeNucleus as ServedNucleus

QUICK = DeliveryOptions(in_flight=5, first_pause=0.01, longest_pause=0.05, replay_pause=0.0)
Connect = Callable[..., GreengrassClient]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


def messages(count: int) -> list[Message]:
    return [Message(f"m{n}", "site/detections", b"m%d" % n) for n in range(count)]


def test_what_is_too_large_never_reaches_the_nucleus() -> None:
    nucleus = FakeNucleus()
    publisher = GreengrassPublisher(nucleus, largest_payload=7_300)
    publisher.publish(Message("1", "t", b"x" * 7_300))
    with pytest.raises(PublishError, match=r"at most 7300 bytes, got 7301") as caught:
        publisher.publish(Message("2", "t", b"x" * 7_301))
    assert not isinstance(caught.value, ConnectionLost)
    assert len(nucleus.published) == 1
    nucleus.close()


def test_lite_closes_the_connection_on_what_is_too_large(server: IpcServer, connect: Connect) -> None:
    server._service._largest_publish, server._service._drops_large = 7_300, True  # type: ignore[attr-defined]
    client = connect()
    with pytest.raises(ConnectionLost):
        GreengrassPublisher(client).publish(Message("1", "t", b"x" * 7_400))


def test_an_offline_spell_loses_nothing(
    outbox: Outbox, client: GreengrassClient, served: ServedNucleus, lost: Callable[[Exception], None]
) -> None:
    delivery = Delivery(outbox, GreengrassPublisher(client), QUICK, on_lost=lost)
    delivery.start()
    outbox.put(messages(10))
    assert delivery.drain(30)
    served.online = False
    outbox.put(messages(30))
    time.sleep(0.2)
    assert delivery.statistics().queued == 20
    assert "not connected" in delivery.statistics().last_error
    served.online = True
    assert delivery.drain(30)
    assert {message.payload for message in served.published} == {m.payload for m in messages(30)}
    delivery.close()


def test_a_cut_connection_ends_delivery_and_the_next_process_delivers_the_rest(
    outbox: Outbox, connect: Connect, server: IpcServer, served: ServedNucleus
) -> None:
    happened = threading.Event()
    outbox.put(messages(40))
    server.faults.inject("PublishToIoTCore", Fail(ServiceError("busy")), times=3)
    first = Delivery(outbox, GreengrassPublisher(connect()), QUICK, on_lost=lambda error: happened.set())
    server.faults.inject("PublishToIoTCore", Drop(handled=True))
    first.start()
    assert happened.wait(30)
    first.close()
    assert outbox.queued > 0

    outbox.close()
    again = Outbox(outbox._path)
    second = Delivery(again, GreengrassPublisher(connect()), QUICK, on_lost=lambda error: None)
    second.start()
    assert second.drain(30)
    second.close()
    again.close()
    assert {message.payload for message in served.published} == {m.payload for m in messages(40)}
