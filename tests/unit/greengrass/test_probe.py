from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.greengrass.probe import CloudProbe, ProbeOptions

OPTIONS = ProbeOptions(interval=0.02, patience=0.05)


@pytest.fixture
def nucleus() -> Iterator[FakeNucleus]:
    nucleus = FakeNucleus()
    yield nucleus
    nucleus.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_nothing_is_renewed_while_probes_come_back(nucleus: FakeNucleus) -> None:
    commands = nucleus.subscribe("commands", lambda topic, payload: None)
    probe = CloudProbe(nucleus, "thing", "thing/ping", [commands], ProbeOptions(interval=0.02, patience=60))
    probe.start()
    eventually(lambda: len(nucleus.published) > 3)
    probe.close()
    assert probe.missed == 0
    assert {topic for topic, _ in nucleus.published} == {"thing/ping"}
    bodies = [json.loads(payload) for _, payload in nucleus.published]
    assert all((body["message_type"], body["device"]) == ("ping", "thing") for body in bodies)
    assert len({body["id"] for body in bodies}) == len(bodies)


def test_deaf_subscriptions_are_renewed(nucleus: FakeNucleus) -> None:
    commands = nucleus.subscribe("commands", lambda topic, payload: None)
    probe = CloudProbe(nucleus, "thing", "thing/ping", [commands], OPTIONS)
    probe.start()
    nucleus.deafen()
    assert nucleus.subscriptions == ()
    eventually(lambda: nucleus.subscriptions == ("commands", "thing/ping"))
    assert probe.missed >= 1
    before = len(nucleus.published) - probe.missed
    eventually(lambda: len(nucleus.published) - probe.missed > before + 1)  # they come back again
    probe.close()


def test_what_others_send_to_the_topic_is_no_answer(nucleus: FakeNucleus) -> None:
    probe = CloudProbe(nucleus, "thing", "thing/ping", [], ProbeOptions(interval=0.02, patience=0.3))
    nucleus.deafen()
    probe.start()
    eventually(lambda: len(nucleus.published) == 1)
    probe._hear("thing/ping", b"another")
    eventually(lambda: probe.missed == 1)
    probe.close()


def test_an_outage_tells_nothing_of_subscriptions(nucleus: FakeNucleus) -> None:
    probe = CloudProbe(nucleus, "thing", "thing/ping", [], OPTIONS)
    nucleus.deafen()
    nucleus.outage = PublishError("offline")
    probe.start()
    time.sleep(0.2)
    assert probe.missed == 0
    nucleus.outage = None
    eventually(lambda: nucleus.subscriptions == ("thing/ping",))
    probe.close()


def test_a_lost_connection_ends_the_probing(nucleus: FakeNucleus) -> None:
    probe = CloudProbe(nucleus, "thing", "thing/ping", [], OPTIONS)
    nucleus.outage = ConnectionLost("gone")
    probe.start()
    eventually(lambda: not probe._thread.is_alive())
    probe.close()


def test_closing_does_not_wait_for_the_interval(nucleus: FakeNucleus) -> None:
    probe = CloudProbe(nucleus, "thing", "thing/ping", [], ProbeOptions(interval=60, patience=60))
    probe.start()
    begin = time.monotonic()
    probe.close()
    probe.close()
    assert time.monotonic() - begin < 30  # of the 60 of the interval
    assert nucleus.subscriptions == ()


def test_a_probe_that_was_never_started_can_be_closed(nucleus: FakeNucleus) -> None:
    CloudProbe(nucleus, "thing", "thing/ping", []).close()


def test_senseless_times_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        ProbeOptions(interval=0)
