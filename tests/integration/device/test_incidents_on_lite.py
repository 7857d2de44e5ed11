"""Nucleus lite's daemons restart, the link dies without a word: everything arrives, hardly anything twice, and the
device never ends for good. An hour, in which lite counts failures, is half a minute here."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from sam3edge_simulator.profiles import LITE, Profile
from sam3edge_simulator.states import State
from support.device_rig import PATIENCE, SEGMENTER, Rig

pytestmark = pytest.mark.long

HOUR = 30.0
QUICK_LITE = replace(LITE, failure_memory=HOUR)


def deploy(make_rig: Callable[[Profile], Rig]) -> Rig:
    rig = make_rig(QUICK_LITE)
    [recipe] = (rig.build / "recipes").glob(f"{SEGMENTER}-*")
    text = recipe.read_text()
    assert "--in-flight-bytes 14000" in text
    recipe.write_text(text.replace("--in-flight-bytes 14000", f"--in-flight-bytes 14000 --failure-window {HOUR}"))
    rig.deploy_model()
    rig.deploy_segmenter()
    return rig


def sends(rig: Rig) -> float:
    """How often a message about a frame arrived, on average."""
    ids = [message["id"] for message in rig.consumer.on("detections")]
    return sum(rig.consumer.times[i] for i in ids) / len(ids)


def finish(rig: Rig, names: list[str], patience: float) -> None:
    rig.wait(lambda: len(rig.consumer.names()) == len(names), patience)
    assert rig.consumer.names() == dict.fromkeys(names, 1)
    assert rig.nucleus.component(SEGMENTER).state != State.BROKEN
    assert sends(rig) <= 2.0


@pytest.mark.timeout(600)
def test_the_ipc_daemon_restarts_five_times_in_an_hour(make_quick_rig: Callable[[Profile], Rig]) -> None:
    rig = deploy(make_quick_rig)
    wanted = [f"{i:04d}.png" for i in range(300)]
    for restart in range(5):
        rig.put(*wanted[60 * restart : 60 * restart + 60])
        rig.wait(lambda least=60 * restart + 10: len(rig.consumer.names()) >= least)  # type: ignore[misc]
        rig.nucleus.restart_ipc()
    finish(rig, wanted, 4 * HOUR + PATIENCE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("together", [False, True])
def test_the_link_is_a_black_hole_for_a_minute(make_rig: Callable[[Profile], Rig], together: bool) -> None:
    rig = deploy(make_rig)
    wanted = [f"{i:04d}.png" for i in range(300)]
    rig.put(*wanted[:100])
    rig.wait(lambda: len(rig.consumer.names()) >= 50)
    rig.cable.swallow()
    rig.put(*wanted[100:200])
    time.sleep(8 if together else 60)
    if together:
        rig.nucleus.restart_ipc()
        time.sleep(2)
        rig.nucleus.restart_ipc()
    rig.cable.cut()
    time.sleep(2)
    rig.cable.plug()
    rig.put(*wanted[200:])
    finish(rig, wanted, 3 * HOUR + PATIENCE)


@pytest.mark.timeout(300)
def test_what_no_longer_fits_is_divided_and_arrives(make_rig: Callable[[Profile], Rig]) -> None:
    """Half of lite's buffer stays taken after a cut: a full message never fits until the daemon restarts."""
    rig = deploy(make_rig)
    nucleus = rig.nucleus
    nucleus.cloud._stuck_bytes = 9_500  # more than a cut leaves behind here
    for seed in range(8):
        rig.put_scene(f"scene-{seed}.png", seed)
    nucleus.set_configuration(SEGMENTER, merge={"Prompts": ["metal tag", "scratch", "dent", "hole"], "Threshold": 0.0})
    rig.put_scene("many.png", 99)

    rig.wait(lambda: rig.consumer.names()["many.png"] == 1, 3 * PATIENCE)
    assert any("piece" in m["part"] for m in rig.consumer.on("detections"))
    # said with a heartbeat, which may come after what it is about
    rig.wait(lambda: any(s["delivery"]["split"] >= 1 for s in rig.consumer.on("status")), PATIENCE)


@pytest.mark.timeout(300)
def test_a_denied_topic_holds_nobody_up_and_loses_nothing(make_quick_rig: Callable[[Profile], Rig]) -> None:
    rig = deploy(make_quick_rig)
    access = rig.nucleus.configuration.read(SEGMENTER)["accessControl"]
    policies = access["aws.greengrass.ipc.mqttproxy"]
    [name] = [n for n, policy in policies.items() if "aws.greengrass#PublishToIoTCore" in policy["operations"]]
    allowed = policies[name]["resources"]
    denied = [topic for topic in allowed if not topic.endswith("/detections")]
    assert len(denied) == len(allowed) - 1

    def allow(resources: list[str]) -> None:
        rule = {"aws.greengrass.ipc.mqttproxy": {name: {**policies[name], "resources": resources}}}
        rig.nucleus.set_configuration(SEGMENTER, merge={"accessControl": rule})

    allow(denied)
    rig.put("a.png", "b.png")
    rig.wait(lambda: rig.consumer.status().get("delivery", {}).get("rejected") == 2)
    assert rig.consumer.was_told("denies PublishToIoTCore on sam3edge/line-7/detections")
    assert rig.consumer.status()["delivery"]["queued"] <= 1  # they wait in nobody's way
    allow(allowed)
    rig.put("c.png")
    rig.wait(lambda: len(rig.consumer.names()) == 3)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_whatever_happens_in_whichever_order_nothing_is_lost(
    make_quick_rig: Callable[[Profile], Rig], seed: int
) -> None:
    """Cuts, black holes, daemons, changed configurations, and one kill, in an order that the seed chooses."""
    rig, dice = deploy(make_quick_rig), random.Random(seed)
    wanted: list[str] = []
    kills = 1

    def put() -> None:
        fresh = [f"{len(wanted) + i:04d}.png" for i in range(dice.randrange(5, 25))]
        wanted.extend(fresh)
        rig.put(*fresh)

    def cut() -> None:
        rig.cable.cut()
        time.sleep(dice.uniform(0, 3))
        rig.cable.plug()

    def black_hole() -> None:
        rig.cable.swallow()
        time.sleep(dice.uniform(1, 4))
        cut()

    def kill() -> None:
        nonlocal kills
        pid = rig.nucleus.component(SEGMENTER).pid
        if kills and pid is not None:
            kills -= 1
            os.kill(pid, signal.SIGKILL)

    def configure() -> None:
        rig.nucleus.set_configuration(SEGMENTER, merge={"Threshold": round(dice.uniform(0.3, 0.7), 2)})

    actions = (put, cut, black_hole, rig.nucleus.restart_ipc, rig.nucleus.cloud.restart_daemon, kill, configure)
    put()
    for _ in range(14):
        dice.choice(actions)()
        time.sleep(dice.uniform(0, 2))
        put()
    rig.wait(lambda: len(rig.consumer.names()) == len(wanted), 4 * HOUR + PATIENCE)
    assert rig.consumer.names() == dict.fromkeys(wanted, 1)
    assert rig.nucleus.component(SEGMENTER).state != State.BROKEN
    assert sends(rig) <= 3.0
