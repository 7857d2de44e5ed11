"""What Frigate's users are told, and when."""

from __future__ import annotations

import json

import pytest

from sam3edge.subscriber.bridges.frigate import Frigate
from sam3edge.subscriber.bridges.presence import Presence
from sam3edge.subscriber.connection import Outgoing
from support.bridges import Clock, counted, frame
from support.smart_home import AT, event, heartbeat


def test_frigate_counts_in_cameras_and_zones() -> None:
    bridge = Frigate()
    broker = counted(
        bridge.take(frame({"car": "car", "all": "all"}, [("car", ["yard"]), ("car", []), ("all", ["yard"])]))
    )
    assert broker == {
        "frigate/line-7__folder/car": "2",
        "frigate/line-7__folder/all": "3",
        "frigate/yard/car": "1",
        "frigate/yard/all": "2",
    }
    other = counted(bridge.take(frame({"car": "car"}, [("car", ["yard"])] * 4, device="line-8")))
    assert other["frigate/yard/car"] == "5"  # one zone that two cameras see
    assert other["frigate/line-8__folder/car"] == "4"
    same_name = counted(bridge.take(frame({"car": "car"}, [("car", ["line-7__folder"])], source="x")))
    assert "frigate/line-7__folder/car" not in same_name
    assert list(bridge.take(frame({"car": "car"}, [("car", ["line-7__folder"])], source="x"))) == []
    assert list(bridge.take(frame({}, source="empty"))) == []
    assert counted(bridge.begin()).keys() >= broker.keys() | {"frigate/available"}


def test_frigate_counts_become_0_with_their_prompts() -> None:
    bridge = Frigate()
    published = list(bridge.take(frame({"car": "car", "dog": "dog"}, [("dog", ["yard"]), ("car", ["yard"])])))
    published += bridge.take(frame({"car": "car"}, [("car", [])]))
    assert counted(published) == {
        "frigate/line-7__folder/car": "1",
        "frigate/line-7__folder/dog": "0",
        "frigate/line-7__folder/all": "1",
        "frigate/yard/car": "0",
        "frigate/yard/dog": "0",
        "frigate/yard/all": "0",
    }
    published += bridge.take(frame({}))
    assert set(counted(published).values()) == {"0"}
    assert list(bridge.begin()) == [Outgoing("frigate/available", b"online", retain=True)]


@pytest.mark.parametrize("how", ["stops", "falls silent"])
def test_frigate_counts_of_a_device_that_is_gone_become_0(how: str) -> None:
    clock = Clock()
    bridge = Frigate(presence=Presence(clock=clock))
    said = counted(bridge.take(frame({"car": "car"}, [("car", ["yard"])])))
    list(bridge.take(frame({"car": "car"}, [("car", ["yard"])], device="line-8")))
    clock.now = 100
    assert list(bridge.tick()) == []
    list(bridge.take(frame({"car": "car"}, [("car", ["yard"])] * 2, device="line-8")))
    clock.now += 1
    gone = counted(bridge.take(heartbeat("stopping")) if how == "stops" else bridge.tick())
    assert gone.keys() == said.keys()
    assert {topic: count for topic, count in gone.items() if count != "0"} == {
        "frigate/yard/car": "2",
        "frigate/yard/all": "2",
    }
    assert list(bridge.tick()) == []
    again = counted(bridge.take(frame({"car": "car"}, [("car", ["yard"])])))
    assert again["frigate/line-7__folder/car"] == "1"
    assert again["frigate/yard/car"] == "3"


def test_frigate_events_say_what_was_known_before_and_after() -> None:
    [new] = [json.loads(one.payload) for one in Frigate().take(event("new", "confirmed")) if "events" in one.topic]
    assert new["type"] == "new"
    assert (new["before"]["false_positive"], new["after"]["false_positive"]) == (True, False)
    assert (new["before"]["current_zones"], new["after"]["current_zones"]) == ([], ["driveway"])
    assert new["after"]["camera"] == "line-7__gate"
    assert new["after"]["start_time"] == AT.timestamp()
    assert new["after"]["box"] == [10, 21, 110, 80]
    assert new["after"]["ratio"] == round(100 / 59, 6)
    assert new["after"]["end_time"] is None
    [moved] = [json.loads(one.payload) for one in Frigate().take(event("update", "active")) if "events" in one.topic]
    assert (moved["before"]["position_changes"], moved["after"]["position_changes"]) == (0, 1)
    resting = event("update", "stationary", stationary=True)
    [rests] = [json.loads(one.payload) for one in Frigate().take(resting) if "events" in one.topic]
    assert (rests["after"]["stationary"], rests["after"]["active"], rests["after"]["motionless_count"]) == (
        True,
        False,
        1,
    )
