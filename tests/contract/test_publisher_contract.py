"""What every publisher keeps, the fake included."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.core.ports import Publisher
from sam3edge.core.types import Message
from sam3edge.greengrass.client import ClientOptions, GreengrassClient
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.publishers.fake import FakePublisher
from sam3edge.publishers.files import FilesPublisher
from sam3edge.publishers.greengrass import GreengrassPublisher
from sam3edge_simulator.ipc import Fail, IpcServer, ServiceError
from sam3edge_simulator.ipc import FakeNucleus as ServedNucleus


@dataclass(frozen=True)
class Bench:
    """A publisher, what arrived beyond it, and how its transport is broken.

    Attributes:
        arrived: (topic, payload) of each message.
        break_: makes publishing fail until ``mend``.
        cut: ends the connection for good; None for transports without one.
    """

    publisher: Publisher
    arrived: Callable[[], list[tuple[str, bytes]]]
    break_: Callable[[], object]
    mend: Callable[[], object]
    cut: Callable[[], object] | None


def files(folder: Path, stack: ExitStack) -> Bench:
    def arrived() -> list[tuple[str, bytes]]:
        written = [path for path in out.rglob("*.json") if path.is_file()]
        return [(str(path.parent.relative_to(out)), path.read_bytes()) for path in written]

    def break_() -> None:
        out.rename(folder / "away")
        out.write_text("a file where the folder was")

    def mend() -> None:
        out.unlink()
        (folder / "away").rename(out)

    out = folder / "out"
    return Bench(FilesPublisher(out), arrived, break_, mend, None)


def fake(folder: Path, stack: ExitStack) -> Bench:
    publisher = FakePublisher()

    def set_outage(error: PublishError | None) -> None:
        publisher.outage = error

    return Bench(
        publisher,
        lambda: [(message.topic, message.payload) for message in publisher.accepted],
        lambda: set_outage(PublishError("broken")),
        lambda: set_outage(None),
        lambda: set_outage(ConnectionLost("cut")),
    )


def greengrass_in_memory(folder: Path, stack: ExitStack) -> Bench:
    nucleus = FakeNucleus()
    stack.callback(nucleus.close)

    def set_outage(error: PublishError | None) -> None:
        nucleus.outage = error

    return Bench(
        GreengrassPublisher(nucleus),
        lambda: list(nucleus.published),
        lambda: set_outage(PublishError("broken")),
        lambda: set_outage(None),
        lambda: set_outage(ConnectionLost("cut")),
    )


def greengrass(folder: Path, stack: ExitStack) -> Bench:
    # The address of a Unix socket has at most 107 bytes, so it does not lie in the test's folder.
    socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gg"))) / "ipc.socket"
    nucleus = ServedNucleus()
    server = stack.enter_context(IpcServer(socket, nucleus))
    options = ClientOptions(timeout=5.0)
    client = GreengrassClient(options, on_lost=lambda error: None, socket=str(socket), token="com.example.Segmenter")
    stack.callback(client.close)
    return Bench(
        GreengrassPublisher(client),
        lambda: [(message.topic, message.payload) for message in nucleus.published],
        lambda: server.faults.inject("PublishToIoTCore", Fail(ServiceError("broken")), times=None),
        server.faults.clear,
        server.drop_connections,
    )


@pytest.fixture(params=[files, fake, greengrass_in_memory, greengrass], ids=lambda build: build.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        built: Bench = request.param(tmp_path, stack)
        yield built
        built.publisher.close()


def test_payloads_arrive_unchanged_on_their_topic(bench: Bench) -> None:
    messages = [
        Message("1", "site/camera/detections", b'{"type": "FeatureCollection"}'),
        Message("2", "site/status", bytes(range(256))),
        Message("3", "site/status", b""),
        Message("4", "site/status", b"x" * 100_000),
    ]
    for message in messages:
        bench.publisher.publish(message)
    assert sorted(bench.arrived()) == sorted((message.topic, message.payload) for message in messages)


def test_the_same_message_may_be_published_again(bench: Bench) -> None:
    message = Message("1", "t", b"same")
    bench.publisher.publish(message)
    bench.publisher.publish(message)
    assert set(bench.arrived()) == {("t", b"same")}


def test_several_threads_may_publish(bench: Bench) -> None:
    threads = [
        threading.Thread(
            target=lambda n=n: [bench.publisher.publish(Message(f"{n}-{k}", "t", b"%d-%d" % (n, k))) for k in range(10)]
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bench.arrived()) == sorted(("t", b"%d-%d" % (n, k)) for n in range(8) for k in range(10))


def test_what_cannot_be_delivered_is_a_publish_error_and_can_be_later(bench: Bench) -> None:
    bench.publisher.publish(Message("1", "t", b"before"))
    bench.break_()
    for _ in range(2):
        with pytest.raises(PublishError) as caught:
            bench.publisher.publish(Message("2", "t", b"after"))
        assert not isinstance(caught.value, ConnectionLost)
        assert str(caught.value)
    bench.mend()
    bench.publisher.publish(Message("2", "t", b"after"))
    assert sorted(bench.arrived()) == [("t", b"after"), ("t", b"before")]


def test_a_lost_connection_is_final(bench: Bench) -> None:
    if bench.cut is None:
        pytest.skip("this transport has no connection")
    bench.publisher.publish(Message("1", "t", b"before"))
    bench.cut()
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            bench.publisher.publish(Message("2", "t", b"after"))
    bench.mend()
    with pytest.raises(ConnectionLost):
        bench.publisher.publish(Message("2", "t", b"after"))
    assert bench.arrived() == [("t", b"before")]


def test_closing_is_idempotent_and_ends_publishing(bench: Bench) -> None:
    bench.publisher.close()
    bench.publisher.close()
    with pytest.raises(PublishError):
        bench.publisher.publish(Message("1", "t", b"x"))
    assert bench.arrived() == []
