"""What Home Assistant and Frigate's users are told, and when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from sam3edge.core.messages.events import Noticed
from sam3edge.subscriber.bridges import home_assistant, tallies
from sam3edge.subscriber.bridges.bridge import Bridge, Retained, latest
from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.home_assistant import OFFLINE, ONLINE, HomeAssistant
from sam3edge.subscriber.bridges.presence import Presence
from sam3edge.subscriber.bridges.tallies import Tallies
from sam3edge.subscriber.cameras import Camera, Room
from sam3edge.subscriber.connection import Outgoing
from support.bridges import Clock, counted, frame, retained
from support.smart_home import AT, counts, event, heartbeat

FOLDER, GATE = Camera("line-7", "folder"), Camera("line-7", "gate")
CONFIG = "homeassistant/device/sam3edge_line-7__folder/config"


def test_frames_are_counted_by_label_and_zone_and_labels_that_are_looked_for_are_there_from_the_start() -> None:
    some = Tallies()
    assert some.take(frame({"a car": "car", "dog": "dog"})) == [FOLDER]
    assert some.of(FOLDER).objects == {"car": 0, "dog": 0}
    some.take(frame({"a car": "car", "dog": "dog"}, [("car", ["drive", "yard"]), ("car", ["yard"])]))
    assert some.of(FOLDER).objects == {"car": 2, "dog": 0}
    assert some.of(FOLDER).zones == {("drive", "car"): 1, ("yard", "car"): 2}
    some.take(frame({"a car": "car", "dog": "dog"}))
    assert some.of(FOLDER).zones == {("drive", "car"): 0, ("yard", "car"): 0}


def test_counts_of_tracks_are_preferred_until_a_heartbeat_says_that_there_are_no_tracks() -> None:
    some = Tallies()
    some.take(frame({"car": "car"}, [("car", [])], source="gate"))
    some.take(counts({"car": 3, "unknown": 1}, {("drive", "car"): 2}))
    some.take(frame({"car": "car"}, source="gate"))  # a frame in which all of them were missed
    assert some.of(GATE).objects == {"car": 3}
    assert some.of(GATE).zones == {("drive", "car"): 2}
    assert some.take(heartbeat(tracking=True)) == []
    assert some.take(heartbeat(tracking=False)) == [GATE]
    assert some.of(GATE).objects == {"car": 0}
    assert some.take(heartbeat(tracking=False)) == []


def test_labels_go_with_their_prompts_derived_ones_too() -> None:
    some = Tallies()
    derived = frame({"person": "person", "helmet": "helmet"}, [("person without helmet", ["yard"])])
    some.take(derived)
    some.take(event(label="car", noticed=Noticed("line-7", "folder", "f", "f", AT)))
    assert set(some.of(FOLDER).objects) == {"person", "helmet", "person without helmet", "car"}
    some.take(frame({"helmet": "helmet"}))
    assert some.of(FOLDER).objects == {"helmet": 0}
    assert some.of(FOLDER).zones == {}


def test_prompts_that_a_model_does_not_support_are_not_counted_and_omitted_ones_change_nothing() -> None:
    some = Tallies()
    some.take(frame({"car": "car", "unicorn": "unicorn"}, unsupported_prompts={"unicorn": "not in the vocabulary"}))
    assert some.of(FOLDER).objects == {"car": 0}
    some.take(frame({}, prompts_omitted=300))
    assert some.of(FOLDER).objects == {"car": 0}
    some.take(frame({}))
    assert some.of(FOLDER).objects == {}


def test_two_prompts_may_have_one_label_and_one_of_them_may_go() -> None:
    some = Tallies()
    some.take(frame({"car": "vehicle", "truck": "vehicle"}))
    some.take(frame({"truck": "vehicle"}))
    assert some.of(FOLDER).objects == {"vehicle": 0}


def test_a_device_cannot_crowd_out_others() -> None:
    some = Tallies(Room(cameras=17))
    some.take(frame({"car": "car"}, device="line-8"))
    for number in range(tallies.ROOM.sources + 3):
        changed = some.take(frame({f"p{n}": f"l{n}" for n in range(tallies.MAX_LABELS + 5)}, source=f"s{number}"))
    assert changed == [Camera("line-7", "s18"), Camera("line-7", "s2")]
    assert some.of(Camera("line-7", "s2")).objects == {}
    assert some.of(Camera("line-8", "folder")).objects == {"car": 0}
    assert len(some.of(Camera("line-7", "s18")).objects) == tallies.MAX_LABELS
    assert some.take(frame({"car": "car"}, device="line-9"))[1:] == [Camera("line-8", "folder")]


def test_home_assistant_has_a_device_for_each_camera_and_states_that_follow() -> None:
    bridge = HomeAssistant("states")
    broker = retained(bridge.take(frame({"metal tag": "metal tag"}, [("metal tag", ["yard"])])))
    document = json.loads(broker.pop(CONFIG))
    assert document["device"] == {
        "identifiers": ["sam3edge_line-7__folder"],
        "name": "line-7 folder",
        "manufacturer": "sam3edge",
        "model": "demo 1.2.3",
    }
    assert document["availability"] == [{"topic": "states/available"}, {"topic": "states/line-7/available"}]
    assert document["availability_mode"] == "all"
    named = {one["name"]: one["state_topic"] for one in document["components"].values()}
    assert {name: broker[topic] for name, topic in named.items()} == {
        "metal tag count": "1",
        "metal tag occupancy": "ON",
        "yard metal tag count": "1",
        "yard metal tag occupancy": "ON",
    }
    later = list(bridge.take(frame({"metal tag": "metal tag"})))
    assert CONFIG not in [one.topic for one in later]
    assert retained(later) == {
        named["metal tag count"]: "0",
        named["metal tag occupancy"]: "OFF",
        named["yard metal tag count"]: "0",
        named["yard metal tag occupancy"]: "OFF",
    }
    assert list(bridge.take(frame({"metal tag": "metal tag"}))) == []


def test_cameras_and_labels_that_become_alike_stay_apart() -> None:
    bridge = HomeAssistant("states")
    cameras = [("line_7", "a"), ("line.7", "a"), ("line 7", "a"), ("line_7", "a "), ("LINE_7", "a")]
    published = [
        one
        for device, source in cameras
        for one in bridge.take(frame({"a/b": "a/b", "a+b": "a+b", "a_b": "a_b"}, device=device, source=source))
    ]
    configs = [json.loads(one.payload) for one in published if one.topic.startswith("homeassistant/")]
    assert len({one.topic for one in published if one.topic.startswith("homeassistant/")}) == len(cameras)
    assert len({name for one in configs for name in one["components"]}) == len(cameras) * 3 * 2
    assert len({one["device"]["identifiers"][0] for one in configs}) == len(cameras)


def test_an_entity_goes_with_its_prompt_and_the_device_with_the_last_one() -> None:
    bridge = HomeAssistant("states")
    before = list(bridge.take(frame({"car": "car", "dog": "dog"})))
    without_dog = list(bridge.take(frame({"car": "car"})))
    removal, *states, config = without_dog
    assert (removal.topic, removal.retain) == (CONFIG, False)  # nobody who comes later needs to know
    assert (config.topic, config.retain) == (CONFIG, True)
    assert {one.topic for one in states} == {one.topic for one in before if "dog" in one.topic}
    assert all(one.payload == b"" and one.retain for one in states)
    nothing = list(bridge.take(frame({})))
    assert Outgoing(CONFIG, b"", retain=True) in nothing
    assert retained([*before, *without_dog, *nothing]) == {}


@pytest.mark.parametrize("device_is_faster", [False, True])
def test_a_bridge_that_was_restarted_removes_what_is_gone_meanwhile_and_leaves_what_is_not_its_own(
    device_is_faster: bool,
) -> None:
    first = HomeAssistant("states")
    broker = retained(first.take(frame({"car": "car", "dog": "dog"})))
    broker["homeassistant/device/other/config"] = json.dumps({"components": {"dog": {"platform": "sensor"}}})
    again = HomeAssistant("states")
    later = [*again.take(frame({"car": "car"}))] if device_is_faster else []
    for topic, payload in broker.items():
        later += again.hear(topic, payload.encode(), True)
    later += again.take(frame({"car": "car"}))
    broker.update({one.topic: one.payload.decode() for one in later if one.retain})
    assert not any("dog" in topic and payload for topic, payload in broker.items() if "states/" in topic)
    assert "dog" not in broker[CONFIG]
    assert "homeassistant/device/other/config" not in [one.topic for one in later]
    assert any(one.topic == CONFIG and b'{"platform":"sensor"}' in one.payload for one in later)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"no JSON",
        b'{"components": []}',
        b'{"components": {"x": 1}}',
        b'{"components": {"sam3edge_#": {"platform": "sensor"}}}',
        b'{"components": {"sam3edge_x": {"platform": ["sensor"]}}}',
        b'{"components": {"sam3edge_x": {"platform": "lock"}}}',
        b'{"a":' * 10_000,
    ],
)
def test_documents_of_others_at_its_place_do_no_harm(payload: bytes) -> None:
    bridge = HomeAssistant("states")
    assert list(bridge.hear(CONFIG, payload, True)) == []
    topics = [one.topic for one in bridge.take(frame({"car": "car"}))]
    assert topics[0] == CONFIG
    assert all(topic == CONFIG or "car" in topic for topic in topics)


def test_everything_is_said_again_when_home_assistant_is_born_and_when_the_broker_is_back() -> None:
    bridge = HomeAssistant("states")
    said = retained([*bridge.take(frame({"car": "car"})), *bridge.take(heartbeat())])
    assert retained(bridge.hear("homeassistant/status", b"online", False)) == said
    assert list(bridge.hear("homeassistant/status", b"offline", False)) == []
    assert list(bridge.hear("homeassistant/status", b"online", True)) == []  # it was born before: there is no hurry
    assert retained(bridge.begin()) == {**said, "states/available": "online"}
    assert bridge.will == Outgoing("states/available", b"offline", retain=True)


def test_a_camera_whose_document_was_deleted_is_forgotten_until_it_speaks_again() -> None:
    """As docs/subscribers.md says how to remove one: not said again, and its states go, too."""
    bridge = HomeAssistant("states")
    broker = [*bridge.take(frame({"car": "car"})), *bridge.take(heartbeat(tracking=True))]
    broker += bridge.take(frame({"car": "car"}, source="other"))
    broker += bridge.take(counts({"car": 3}, {}))  # of a third one
    removed = [*broker, Outgoing(CONFIG, b"", retain=True), *bridge.hear(CONFIG, b"", False)]
    left = {topic for topic in retained(broker) if "__folder" not in topic}
    assert "states/line-7/available" in left
    assert set(retained(removed)) == left
    assert list(bridge.hear(CONFIG, b"", False)) == []
    assert set(retained(bridge.hear("homeassistant/status", b"online", False))) == left
    assert not any("__folder" in one.topic for one in bridge.take(heartbeat(tracking=False)))
    assert CONFIG in retained(bridge.take(frame({"car": "car"})))


def test_a_device_goes_with_the_last_camera_that_was_deleted_over_a_restart_too() -> None:
    first = HomeAssistant("states")
    broker = [*first.take(frame({"car": "car"})), *first.take(heartbeat())]
    again = HomeAssistant("states")
    for topic, payload in retained(broker).items():
        assert list(again.hear(topic, payload.encode(), True)) == []
    removed = [*broker, Outgoing(CONFIG, b"", retain=True), *again.hear(CONFIG, b"", False)]
    assert retained(removed) == {}
    assert retained(again.begin()) == {"states/available": "online"}


def test_what_is_deleted_elsewhere_is_not_its_own() -> None:
    bridge = HomeAssistant("states")
    said = retained(bridge.take(frame({"car": "car"})))
    for topic in ("homeassistant/device/other/config", "states/line-7/available", "homeassistant/status"):
        assert list(bridge.hear(topic, b"", False)) == []
    assert said.items() <= retained(bridge.begin()).items()


def test_a_device_is_available_while_its_heart_beats_whatever_its_clock_says() -> None:
    clock = Clock()
    bridge = HomeAssistant("states", presence=Presence(100, clock))
    topic = "states/line-7/available"
    beat = {**heartbeat(), "time": "1970-01-01T00:00:00.000+00:00"}
    assert list(bridge.take(beat)) == [Outgoing(topic, b"online", retain=True)]
    clock.now = 90
    assert list(bridge.tick()) == []
    assert list(bridge.take(beat)) == []
    clock.now = 190
    assert list(bridge.tick()) == []
    clock.now = 191
    assert list(bridge.tick()) == [Outgoing(topic, b"offline", retain=True)]
    assert list(bridge.tick()) == []
    assert list(bridge.take(beat)) == [Outgoing(topic, b"online", retain=True)]
    assert list(bridge.take(heartbeat("stopping"))) == [Outgoing(topic, b"offline", retain=True)]


@pytest.mark.parametrize(
    ("said", "seconds"), [({}, 100), ({"heartbeat_seconds": 2}, 16), ({"heartbeat_seconds": 600}, 1810)]
)
def test_a_device_is_missed_after_three_heartbeats(said: dict[str, float], seconds: float) -> None:
    clock = Clock()
    bridge = HomeAssistant("states", presence=Presence(clock=clock))
    list(bridge.take({**heartbeat(), **said}))
    clock.now = seconds
    assert list(bridge.tick()) == []
    clock.now = seconds + 1
    assert list(bridge.tick()) != []


def test_a_device_that_fell_silent_while_the_bridge_was_away_becomes_unavailable() -> None:
    clock = Clock()
    bridge = HomeAssistant("states", presence=Presence(100, clock))
    assert list(bridge.hear("states/line-7/available", b"online", True)) == []
    assert list(bridge.hear("states/line-8/available", b"offline", True)) == []
    clock.now = 101
    assert list(bridge.tick()) == [Outgoing("states/line-7/available", b"offline", retain=True)]


def named(device: str) -> dict[str, Any]:
    return {**heartbeat(), "device": device}


def test_devices_are_bounded_and_one_that_is_heard_is_never_told_offline_for_it() -> None:
    bridge = HomeAssistant("states", presence=Presence(max_devices=20))
    broker = [*bridge.take(frame({"car": "car"})), *bridge.take(heartbeat())]
    for number in range(1000):
        broker += bridge.take(named(f"x{number}"))
        broker += bridge.take(heartbeat()) if number % 10 == 0 else []
    left = retained(broker)
    assert len([topic for topic in left if topic.endswith("/available")]) == 20
    assert {payload for topic, payload in left.items() if topic.endswith("/available")} == {"online"}
    assert "states/line-7/available" in left
    assert CONFIG in left
    for number in range(100):  # and now it is silent
        broker += bridge.take(named(f"y{number}"))
    assert not any("line-7" in topic for topic in retained(broker))
    assert not any("line-7" in one.topic for one in bridge.begin())
    assert not any(one.payload == b"offline" for one in broker)
    broker += [*bridge.take(heartbeat()), *bridge.take(frame({"car": "car"}))]
    assert {"states/line-7/available", CONFIG} <= retained(broker).keys()


def test_who_is_not_there_gives_way_first_whatever_its_last_words_were() -> None:
    clock = Clock()
    some = Presence(clock=clock, max_devices=2)
    assert some.hear("slow", {**heartbeat(), "heartbeat_seconds": 600}) == []
    clock.now = 100
    assert some.hear("fast", {**heartbeat(), "heartbeat_seconds": 1}) == []
    clock.now = 200
    assert some.take_silent() == ["fast"]
    assert some.hear("new", heartbeat()) == ["fast"]
    assert some.hear("stopped", heartbeat("stopping")) == ["stopped"]
    assert some.hear("newer", heartbeat()) == ["slow"]


def test_what_bridges_before_have_left_is_bounded_at_the_broker_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = HomeAssistant("states", presence=Presence(max_devices=20))
    own = [*bridge.take(frame({"car": "car"})), *bridge.take(heartbeat())]
    monkeypatch.setattr(home_assistant, "MAX_DOCUMENTS", 30)
    left = {f"states/x{number}/available": OFFLINE if number % 2 else ONLINE for number in range(100)}
    for number in range(100):
        before = retained(HomeAssistant("states").take(frame({"car": "car"}, device=f"x{number}")))
        left |= {topic: payload.encode() for topic, payload in before.items()}
    broker = [*own, *(Outgoing(topic, payload, retain=True) for topic, payload in left.items())]
    for topic, payload in left.items():
        if topic.endswith(("/available", "/config")):
            broker += bridge.hear(topic, payload, True)
    broker += bridge.take(frame({"car": "car"}, source="new"))
    assert "homeassistant/device/sam3edge_line-7__new/config" in retained(broker)
    assert retained(own).items() <= retained(broker).items()
    assert len([topic for topic in retained(broker) if topic.endswith("/config")]) == 30
    assert len([topic for topic in retained(broker) if topic.endswith("__count")]) == 30
    assert len([topic for topic in retained(broker) if topic.endswith("/available")]) <= 20
    said = retained(bridge.begin())
    del said["states/available"]
    assert said.keys() <= retained(broker).keys()


def test_of_several_states_the_last_one_is_published_and_every_event() -> None:
    given = [Outgoing("a", b"1", True), Outgoing("e", b"1"), Outgoing("b", b"1", True), Outgoing("a", b"2", True)]
    assert latest([*given, Outgoing("e", b"1")]) == [given[1], given[2], given[3], Outgoing("e", b"1")]


def test_states_are_published_when_they_change_and_deleted_when_they_were_there() -> None:
    states = Retained()
    assert list(states.put("a", b"")) == []
    assert list(states.put("a", b"1")) == [Outgoing("a", b"1", retain=True)]
    assert list(states.put("a", b"1")) == []
    assert list(states) == [Outgoing("a", b"1", retain=True)]
    assert list(states.put("a", b"")) == [Outgoing("a", b"", retain=True)]
    assert list(states.delete("a")) == [Outgoing("a", b"", retain=True)]
    assert list(states) == []


class Loopback:
    """In place of a connection: what is published is kept."""

    up, connections = True, 0

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    def publish(self, messages: Iterable[Outgoing], timeout: float | None = None) -> bool:
        self.published += messages
        return True

    def start(self) -> None:
        """Nothing has to be started."""

    check = start


def test_what_came_before_a_message_that_cannot_be_translated_is_published() -> None:
    """The translator takes it for published, and would not say it again."""
    connection = Loopback()
    bridge = Bridge(Frigate(), lambda topics, take, will: connection)  # type: ignore[arg-type,return-value]
    with pytest.raises(KeyError):
        bridge.write([frame({"car": "car"}), {"message_type": "event"}])
    assert "frigate/line-7__folder/car" in counted(connection.published)
