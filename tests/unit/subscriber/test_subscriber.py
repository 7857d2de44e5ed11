"""A consumer of a few lines, over a broker; and the example, which is one."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber import broker_url
from sam3edge.subscriber.broker_url import BrokerUrl
from sam3edge.subscriber.complaints import LINES
from sam3edge.subscriber.connection import Arrived, Connection
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.reassembly import Bounds, Reassembly
from sam3edge.subscriber.subscriber import DETECTIONS, Subscriber
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from support.device_messages import PARTS, TOPIC, WHOLE, Device, of_frame, scores
from support.waiting import until


def target(url: str) -> broker_url.Broker:
    return broker_url.Broker(BrokerUrl.parse(url))


class Consumer:
    """A subscriber in a thread, and what it was given."""

    def __init__(self, url: str) -> None:
        self.frames: list[DeviceMessage] = []
        self.changed = threading.Condition()
        self.subscriber = Subscriber(target(url), "consumer", self._handle, backoff=Backoff(0.05, 0.05))
        self._thread = threading.Thread(target=self.subscriber.run)
        self._thread.start()

    def _handle(self, frame: DeviceMessage) -> None:
        with self.changed:
            self.frames.append(frame)
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.frames) >= count, 60), self.frames

    def close(self) -> None:
        self.subscriber.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


def test_over_a_broker_with_repetitions_disorder_rubbish_and_a_lost_connection(broker: Broker) -> None:
    """What a device sends again after an outage, before and after: every frame arrives once, and whole."""
    frames = [[of_frame(one, f"frame-{number}") for one in PARTS] for number in range(4)]
    shuffled = [one for frame in frames[:2] for one in frame] * 2
    random.Random(7).shuffle(shuffled)
    with TcpProxy(broker.url) as network:
        consumer, device = Consumer(network.url), Device(broker.url)
        try:
            assert consumer.subscriber.connection.wait_up(60)
            device.publish(shuffled)
            device.publish_text("no JSON")
            device.publish_text('{"id": "x"}')
            device.publish(frames[2][:1])
            consumer.wait(2)
            network.cut()
            assert consumer.subscriber.connection.wait_up(60, up=False)
            device.publish(frames[2][1:])
            network.plug()
            assert consumer.subscriber.connection.wait_up(60)
            device.publish([one for frame in frames for one in frame])  # the replay of an outbox
            consumer.wait(4)
        finally:
            consumer.close()
            device.close()
    assert sorted(frame["frame"]["id"] for frame in consumer.frames) == [f"frame-{number}" for number in range(4)]
    for frame in consumer.frames:
        assert scores(frame["features"]) == scores(WHOLE["features"])
    assert consumer.subscriber.reassembly.repetitions >= len(PARTS) * 2


def test_what_the_handler_raises_ends_it_with_the_message_unacknowledged(broker: Broker) -> None:
    def fail(frame: DeviceMessage) -> None:
        raise OSError("the database is full")

    subscriber = Subscriber(target(broker.url), "failing", fail)
    acknowledged: list[int] = []
    subscriber.connection._client.ack = lambda mid, qos: acknowledged.append(mid)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            subscriber.run()
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    device = Device(broker.url)
    try:
        assert subscriber.connection.wait_up(60)
        device.publish([WHOLE])
        thread.join(60)
    finally:
        device.close()
    assert [str(one) for one in raised] == ["the database is full"]
    assert acknowledged == []
    assert not subscriber.connection.up


def test_a_message_is_acknowledged_on_its_own_connection_only(broker: Broker) -> None:
    """Numbers of messages begin again with a new session: an old acknowledgement would be for another message."""
    kept: list[Any] = []
    with TcpProxy(broker.url) as network:
        connection = Connection(
            target(network.url), "c", {DETECTIONS: 1}, kept.append, durable=True, backoff=Backoff(0.05, 0.05)
        )
        connection.start()
        device = Device(broker.url)
        acknowledged: list[int] = []
        try:
            assert connection.wait_up(60)
            connection._client.ack = lambda mid, qos: acknowledged.append(mid)
            device.publish([WHOLE])
            until(lambda: bool(kept))
            network.cut()
            assert connection.wait_up(60, up=False)
            network.plug()
            assert connection.wait_up(60)
            kept[0].acknowledge()
            assert acknowledged == []
        finally:
            connection.stop()
            device.close()


def test_nobody_listens_at_first_and_then_somebody_does(broker: Broker) -> None:
    broker.stop()
    consumer = Consumer(broker.url)
    try:
        assert not consumer.subscriber.connection.wait_up(0.3)
        broker.start()
        assert consumer.subscriber.connection.wait_up(60)
    finally:
        consumer.close()


def test_topics_are_logged_in_one_line_without_what_moves_a_cursor(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber = Subscriber(target(broker.url), "consumer", lambda frame: None)
    arrived = Arrived("sam3edge/\x1b[2J\n" + "x" * 1000, b"rubbish", 1, False, lambda: None)
    subscriber._take(arrived)
    [said] = caplog.messages
    assert said.isprintable()
    assert len(said) < 500
    for _ in range(100):
        subscriber._take(arrived)
    assert len(caplog.messages) == LINES


def test_frames_that_are_dropped_leave_nothing_behind(broker: Broker) -> None:
    subscriber = Subscriber(target(broker.url), "consumer", lambda frame: None)
    subscriber.reassembly = Reassembly(Bounds(waiting=2))
    for number in range(5):
        payload = json.dumps(of_frame(PARTS[0], str(number))).encode()
        subscriber._take(Arrived(TOPIC, payload, 1, False, lambda: None))
    assert subscriber.reassembly.dropped == 3
    assert subscriber.reassembly.take_dropped() == []


def example() -> Any:
    path = Path(__file__).parents[3] / "infra/examples/subscriber.py"
    spec = importlib.util.spec_from_file_location("subscriber_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_consumer_of_the_documentation_ends_quietly(tmp_path: Path, broker: Broker) -> None:
    text = (Path(__file__).parents[3] / "docs/subscribers.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "consumer.py").write_text(code.replace("mqtt://localhost", broker.url))
    out, errors, device, numbers = tmp_path / "out", tmp_path / "errors", Device(broker.url), iter(range(10_000))

    def shown() -> bool:
        device.publish([of_frame(WHOLE, str(next(numbers)))])
        return out.stat().st_size > 0

    with out.open("w") as stdout, errors.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-u", tmp_path / "consumer.py"], stdout=stdout, stderr=stderr)
        try:
            until(shown)
        finally:
            device.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert out.read_text().startswith("line-7 a.png 12\n")
    assert errors.read_text() == ""


def test_the_example_shows_a_line_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    example().show(WHOLE)
    example().show({**WHOLE, "features": []})
    example().show({**WHOLE, "features": [], "device": "\x1b[2J\nline-7"})
    first, second, third = capsys.readouterr().out.split("\n")[:-1]
    assert third == "[2J line-7 a.png: nothing"
    assert first.startswith("line-7 a.png: scratch 0.90, scratch 0.89")
    assert second == "line-7 a.png: nothing"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "required"),
        (("--certificate", "nowhere", "--key", "nowhere", "--authority", "nowhere"), "expected PEM files"),
        (("--endpoint", "a..b", "--certificate", "x", "--key", "x", "--authority", "x"), "expected mqtt://"),
        (("--port", "99999", "--certificate", "x", "--key", "x", "--authority", "x"), "expected mqtt://"),
    ],
)
def test_the_example_names_what_is_wrong(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        example().main(["--endpoint", "localhost", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_the_example_says_why_it_cannot_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def __init__(self, *arguments: Any) -> None:
            """A subscriber that no broker wants."""

        def run(self) -> None:
            raise SubscriptionError("the broker refuses the client")

    module = example()
    monkeypatch.setattr(module, "Subscriber", Refused)
    with pytest.raises(SystemExit, match="cannot go on: the broker refuses the client"):
        module.main(["--endpoint", "localhost", "--certificate", "x", "--key", "x", "--authority", "x"])
