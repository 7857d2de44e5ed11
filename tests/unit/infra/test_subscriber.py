"""The example of a consumer, against messages as devices write them and the simulator's broker."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from sam3edge.core.messages.detections import divide, encode
from sam3edge.core.types import Message
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.broker_url import BrokerUrl
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from support.samples import answer, detection, wobbly
from support.waiting import until

TOPIC = "sam3edge/line-7/detections"


def _load() -> ModuleType:
    """The example as it is: a file that belongs to no package."""
    path = Path(__file__).parents[3] / "infra/examples/subscriber.py"
    spec = importlib.util.spec_from_file_location("subscriber_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


example = _load()


def messages(objects: int, max_bytes: int) -> list[Message]:
    """One frame's, as a device writes them."""
    found = tuple(detection(wobbly(40, 20, 30 + 3 * i), score=0.9 - i / 100) for i in range(objects))
    return encode(answer(found), TOPIC, max_bytes, 0.0)


def body(message: Message) -> dict[str, Any]:
    return dict(json.loads(message.payload))


def of_frame(message: dict[str, Any], frame: str, **changes: Any) -> dict[str, Any]:
    return {**message, "id": f"{frame}-{message['id']}", "frame": {**message["frame"], "id": frame}, **changes}


PARTS = [body(one) for one in messages(12, 4000)]
WHOLE = body(messages(12, 131_072)[0])


def scores(features: Any) -> list[float]:
    return [one["properties"]["score"] for one in features]


def test_the_samples_are_what_they_are_meant_to_be() -> None:
    assert len(PARTS) >= 3
    assert WHOLE["part"]["count"] == 1


def test_a_frame_in_one_part_is_there_at_once_and_once() -> None:
    reassembly = example.Reassembly()
    frame = reassembly.take(WHOLE)
    assert frame.device == "line-7"
    assert scores(frame.features) == scores(WHOLE["features"])
    assert reassembly.take(WHOLE) is None
    assert reassembly.repetitions == 1


def test_parts_in_any_order_with_repetitions_give_the_frame_once_in_order() -> None:
    for order in itertools.islice(itertools.permutations(PARTS), 60):
        reassembly = example.Reassembly()
        given = [reassembly.take(one) for one in [*order, *reversed(order)]]
        [frame] = [one for one in given if one is not None]
        assert given.index(frame) == len(PARTS) - 1
        assert scores(frame.features) == scores(WHOLE["features"])


def test_pieces_of_unequal_depth_are_a_whole_in_any_order() -> None:
    [message] = messages(12, 131_072)
    halves = divide(message, len(message.payload) * 2 // 3)
    pieces = [halves[0], *divide(halves[1], len(halves[1].payload) * 2 // 3)]
    assert len({body(one)["part"]["pieces"] for one in pieces}) == 2
    for order in itertools.permutations(pieces):
        reassembly = example.Reassembly()
        given = [reassembly.take(body(one)) for one in order]
        assert [one is None for one in given] == [True] * (len(pieces) - 1) + [False]
        assert scores(given[-1].features) == scores(WHOLE["features"])


def test_a_part_that_comes_whole_and_in_pieces_counts_once() -> None:
    [message] = messages(12, 131_072)
    pieces = [body(one) for one in divide(message, len(message.payload) * 2 // 3)]
    first_pieces = example.Reassembly()
    assert first_pieces.take(pieces[0]) is None
    assert scores(first_pieces.take(body(message)).features) == scores(WHOLE["features"])
    assert first_pieces.take(pieces[1]) is None

    two = [{**one, "part": {**one["part"], "count": 2}} for one in (body(message), *pieces)]
    whole_first = example.Reassembly()
    assert [whole_first.take(one) for one in two] == [None] * len(two)
    other = {**body(message), "id": "other", "part": {"index": 1, "count": 2}, "features": []}
    assert scores(whole_first.take(other).features) == scores(WHOLE["features"])


def test_frames_of_several_devices_and_cameras_do_not_mix() -> None:
    reassembly = example.Reassembly()
    mixed = [
        {**one, "id": f"{device}/{source}/{one['id']}", "device": device, "source": source}
        for one in PARTS
        for device in ("line-7", "line-8")
        for source in ("left", "right")
    ]
    frames = [frame for one in mixed if (frame := reassembly.take(one)) is not None]
    assert len(frames) == 4
    assert {frame.device for frame in frames} == {"line-7", "line-8"}
    assert all(scores(frame.features) == scores(WHOLE["features"]) for frame in frames)


def test_what_is_remembered_is_bounded() -> None:
    reassembly = example.Reassembly(remembered=2, waiting=2)
    for number in range(4):
        assert reassembly.take(of_frame(PARTS[0], f"frame-{number}")) is None
    assert reassembly.dropped == 2
    rest = [reassembly.take(of_frame(one, "frame-3")) for one in PARTS[1:]]
    assert rest[-1].frame == "frame-3"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


class Consumer:
    """The example's subscriber in a thread, and what it was given."""

    def __init__(self, url: str) -> None:
        address = BrokerUrl.parse(url)
        self.frames: list[Any] = []
        self.changed = threading.Condition()
        self.subscriber = example.Subscriber(address.host, address.port, "consumer", self._handle)
        self.subscriber._client.reconnect_delay_set(0.05, 0.05)
        self._thread = threading.Thread(target=self.subscriber.run)
        self._thread.start()

    def _handle(self, frame: Any) -> None:
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


class Device:
    """Publishes at QoS 1, as devices do."""

    def __init__(self, url: str) -> None:
        address = BrokerUrl.parse(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device")
        self._client.connect(address.host, address.port)
        self._client.loop_start()

    def publish(self, sent: list[dict[str, Any]]) -> None:
        for one in sent:
            self._client.publish(TOPIC, json.dumps(one), qos=1).wait_for_publish(30)

    def publish_text(self, text: str) -> None:
        self._client.publish(TOPIC, text, qos=1).wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_over_a_broker_with_repetitions_disorder_rubbish_and_a_lost_connection(broker: Broker) -> None:
    """What a device sends again after an outage, before and after: every frame arrives once, and whole."""
    frames = [[of_frame(one, f"frame-{number}") for one in PARTS] for number in range(4)]
    shuffled = [one for frame in frames[:2] for one in frame] * 2
    random.Random(7).shuffle(shuffled)
    with TcpProxy(broker.url) as network:
        consumer, device = Consumer(network.url), Device(broker.url)
        try:
            assert consumer.subscriber.subscribed.wait(60)
            device.publish(shuffled)
            device.publish_text("no JSON")
            device.publish_text('{"id": "x"}')
            device.publish(frames[2][:1])
            consumer.wait(2)
            network.cut()
            until(lambda: not consumer.subscriber.subscribed.is_set())
            device.publish(frames[2][1:])
            network.plug()
            assert consumer.subscriber.subscribed.wait(60)
            device.publish([one for frame in frames for one in frame])  # the replay of an outbox
            consumer.wait(4)
        finally:
            consumer.close()
            device.close()
    assert sorted(frame.frame for frame in consumer.frames) == [f"frame-{number}" for number in range(4)]
    for frame in consumer.frames:
        assert scores(frame.features) == scores(WHOLE["features"])
    assert consumer.subscriber.reassembly.repetitions >= len(PARTS) * 2


def test_what_the_handler_raises_ends_it_with_the_message_unacknowledged(broker: Broker) -> None:
    address = BrokerUrl.parse(broker.url)
    acknowledged: list[int] = []

    def fail(frame: Any) -> None:
        raise OSError("the database is full")

    subscriber = example.Subscriber(address.host, address.port, "failing", fail)
    subscriber._client.ack = lambda mid, qos: acknowledged.append(mid)
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
        assert subscriber.subscribed.wait(60)
        device.publish([WHOLE])
        thread.join(60)
    finally:
        device.close()
    assert [str(one) for one in raised] == ["the database is full"]
    assert acknowledged == []
