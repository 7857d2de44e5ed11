"""An hour of twenty devices at five messages a second, as fast as the page takes them: its memory stays flat.

The figures are those of the messages' number, not of the hour: the page is driven several times faster.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
import pytest
import shapely

from sam3edge.core.messages.envelope import timestamp
from sam3edge.core.messages.events import EventReason
from sam3edge.core.types import Message
from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import PageServer
from support.browser import Browser
from support.firehose import Firehose
from support.live_messages import Sender, detection, on_earth
from support.live_page import LivePage

pytestmark = pytest.mark.xdist_group("browser")

DEVICES, PER_SECOND, HOUR = 20, 5, 3600

LABELS = ("car", "person", "tree", "ship", "building", "road", "dent", "scratch", "hole", "field")


def traffic(seed: int) -> Iterator[Message]:
    """What twenty devices say, one after the other, without end: mostly frames, each tenth message something else."""
    random = np.random.default_rng(seed)
    senders = [Sender(f"device-{number:02}", f"camera-{number % 3}") for number in range(DEVICES)]
    patterns = [_written(sender, random) for sender in senders]
    number = 0
    while True:
        for frames in patterns:
            number += 1
            yield _another(frames[number % len(frames)], f"{number:012}")
        number += 1
        sender = senders[number % DEVICES]
        frame = sender.frame()
        yield sender.heartbeat()
        yield sender.counts(**{label: int(random.integers(9)) for label in LABELS[:3]})
        yield sender.event("update", "car", [EventReason("zone_entered", "dock")], ["dock"])
        yield sender.error(f"expected a frame, got nothing for the {number}th time")
        yield from sender.detections(detection(_outline(random)), frame=frame)
        yield sender.snapshot(frame)


def _outline(random: np.random.Generator) -> shapely.Polygon:
    x, y, radius = random.uniform(60, 580), random.uniform(60, 420), random.uniform(8, 60)
    return shapely.Point(x, y).buffer(radius, quad_segs=10)


def _written(sender: Sender, random: np.random.Generator) -> list[Message]:
    """Ten frames of one device, of about eight objects with 40 vertices each."""
    frames = []
    for _ in range(10):
        outlines = [_outline(random) for _ in range(int(random.integers(4, 13)))]
        found = [
            detection(one, str(random.choice(LABELS)), float(random.uniform(0.5, 1)), on_earth(one)) for one in outlines
        ]
        [message] = sender.detections(*found)
        body = json.loads(message.payload)
        frame = {**body["frame"], "id": "@number@", "name": "@number@.jpg", "captured_at": "@time@"}
        body |= {"id": "message @number@", "time": "@time@", "frame": frame}
        frames.append(Message("", message.topic, json.dumps(body).encode()))
    return frames


def _another(pattern: Message, number: str) -> Message:
    """The same objects in a frame of its own."""
    now = timestamp(datetime.now(timezone.utc)).encode()
    return replace(pattern, payload=pattern.payload.replace(b"@number@", number.encode()).replace(b"@time@", now))


@dataclass(frozen=True)
class Drive:
    """The page, and what feeds it."""

    page: LivePage
    firehose: Firehose

    def to(self, count: int) -> None:
        """Until the page has got so many messages, and says so."""
        self.firehose.to(count, 300)
        self.page.browser.until(f"document.querySelector('#rate').textContent.includes(' {count} messages ')")


@pytest.fixture
def drive(browser: Browser) -> Iterator[Drive]:
    server = PageServer()
    browser.driver.execute_cdp_cmd("Network.disable", {})  # else each message is logged, too
    with (
        Firehose(traffic(5)).running() as firehose,
        server.serving(PageConfiguration(firehose.url, pictures=True)),
    ):
        yield Drive(LivePage(browser, server.address), firehose)


def nodes(browser: Browser) -> int:
    return int(browser.evaluate("document.querySelectorAll('*').length"))


@pytest.mark.timeout(300)
def test_what_is_drawn_is_bounded(drive: Drive, browser: Browser) -> None:
    """When every list of the page is full, more messages make no more elements."""
    drive.to(6000)
    browser.until("document.querySelectorAll('#errors li').length === 200")
    browser.until("document.querySelectorAll('#camera-list > li').length === arguments[0]", DEVICES)
    full = nodes(browser)
    drive.to(10_000)
    assert nodes(browser) < 1.2 * full
    assert browser.evaluate("document.querySelectorAll('#errors li').length") == 200
    assert browser.evaluate("document.querySelectorAll('#events li').length") == 200
    assert browser.evaluate("document.querySelectorAll('#camera-list > li').length") == DEVICES


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_an_hour_of_twenty_devices_leaves_memory_flat(
    drive: Drive, browser: Browser, figure: Callable[[str], None]
) -> None:
    total, begun, megabytes = DEVICES * PER_SECOND * HOUR, time.monotonic(), []
    for tenth in range(1, 11):
        drive.to(total * tenth // 10)
        megabytes.append(browser.heap() / 2**20)
    spent = time.monotonic() - begun
    heap = ", ".join(f"{one:.1f}" for one in megabytes)
    figure(
        f"the live page, {total:,} messages of {DEVICES} devices at {total / spent:,.0f} a second: "
        f"JavaScript's heap after each tenth {heap} MiB"
    )
    early = max(megabytes[1:3])
    assert max(megabytes[3:]) < 1.15 * early
    assert browser.console() == []
