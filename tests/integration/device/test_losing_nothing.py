"""Killed, cut off, and out of room: every image's message is delivered, and by id exactly once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from sam3edge_simulator.states import State
from support.device_rig import PATIENCE, SEGMENTER, Rig

pytestmark = pytest.mark.long

IMAGES = 200
OUTAGE_SECONDS = 60.0


def names(count: int) -> list[str]:
    return [f"{i:04d}.png" for i in range(count)]


@pytest.mark.timeout(400)
def test_killed_at_random_twice_during_200_images(make_quick_rig: Callable[[Profile], Rig]) -> None:
    rig = make_quick_rig(CLASSIC)
    rig.deploy_model()
    rig.deploy_segmenter()
    wanted = names(IMAGES)
    waiting = wanted[IMAGES // 2 :]
    rig.put(*wanted[: IMAGES // 2])
    kills = (
        random.randrange(5, IMAGES // 2 - 5),
        random.randrange(IMAGES // 2, IMAGES - 20),
    )  # the third failure would be BROKEN
    for after in kills:
        rig.wait(lambda n=after: len(rig.consumer.names()) >= n)  # type: ignore[misc]
        time.sleep(random.uniform(0, 0.3))
        pid = rig.nucleus.component(SEGMENTER).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        rig.put(*waiting)  # what arrives while nobody is there
        waiting = []
    rig.wait(lambda: len(rig.consumer.names()) == IMAGES, 3 * PATIENCE)
    time.sleep(1)
    assert rig.consumer.names() == dict.fromkeys(wanted, 1)
    assert rig.nucleus.component(SEGMENTER).state == State.RUNNING


@pytest.mark.timeout(400)
def test_the_broker_gone_for_a_minute_with_an_outbox_too_small_for_what_comes(
    make_rig: Callable[[Profile], Rig],
) -> None:
    rig = make_rig(LITE)  # no spooler: whatever is not in the outbox would be lost
    rig.deploy_model()
    rig.deploy_segmenter(Outbox={"MaxBytes": 30_000})
    wanted = names(60)
    rig.put(*wanted[:10])
    rig.wait(lambda: len(rig.consumer.names()) == 10)
    rig.broker.stop()
    rig.put(*wanted[10:])
    time.sleep(OUTAGE_SECONDS)
    assert len(rig.consumer.names()) == 10
    assert rig.nucleus.component(SEGMENTER).state == State.RUNNING
    rig.broker.start()
    rig.wait(lambda: len(rig.consumer.names()) == len(wanted), 2 * PATIENCE)
    assert rig.consumer.names() == dict.fromkeys(wanted, 1)
    rig.wait(lambda: rig.consumer.on("status")[-1]["delivery"]["queued"] <= 1)
    assert max(s["delivery"]["evicted"] for s in rig.consumer.on("status")) == 0
