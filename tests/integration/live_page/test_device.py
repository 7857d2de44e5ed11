"""The demo's device against the page: a laptop nucleus with the packaged segmenter, and Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely
import shapely.geometry

from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import PageServer
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.profiles import CLASSIC, LITE, Profile
from support.browser import Browser
from support.device_rig import Rig
from support.live_page import Card, LivePage

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser"), pytest.mark.long]

PHRASES = ("metal tag", "scratch", "dent", "hole", "ship", "car", "building", "field", "road", "tree")
KEPT = ("/status", "/detections", "/snapshots")


class Scene:
    """The device, the page's server, and the messages that a consumer has got."""

    def __init__(self, root: Path, bundle: Path, profile: Profile) -> None:
        self.server = PageServer()
        broker = Broker(origins=self.server.origins, keeps=lambda topic: topic.endswith(KEPT))
        self.rig = Rig(root, bundle, profile, prompts=PHRASES, broker=broker)
        configuration = PageConfiguration(
            broker.websocket_url, prefixes=("sam3edge/line-7",), pictures=True, picture_seconds=0
        )
        self.serving = self.server.serving(configuration)

    def put(self, name: str, seed: int) -> None:
        self.rig.put_scene(name, seed)

    def message(self, name: str) -> dict[str, Any]:
        """What was found in a frame, as a consumer got it."""
        self.rig.wait(lambda: self.rig.consumer.names()[name] == 1)
        parts = [one for one in self.rig.consumer.on("detections") if one["frame"]["name"] == name]
        parts.sort(key=lambda one: (one["part"]["index"], one["part"].get("piece", 0) / one["part"].get("pieces", 1)))
        return {**parts[0], "features": [feature for part in parts for feature in part["features"]]}


@pytest.fixture(params=[pytest.param(CLASSIC, id="classic"), pytest.param(LITE, id="lite", marks=pytest.mark.slow)])
def scene(request: pytest.FixtureRequest, tmp_path: Path, demo_bundle: Path) -> Iterator[Scene]:
    one = Scene(tmp_path, demo_bundle, request.param)
    with one.serving:
        try:
            one.rig.deploy_model()
            one.rig.deploy_segmenter()
            yield one
        finally:
            one.rig.close()


def on_the_right_objects(card: Card, message: dict[str, Any]) -> bool:
    """Whether the page draws each object where the message says, to a twentieth of a pixel."""
    sent = [shapely.geometry.shape(one["properties"]["imageGeometry"]) for one in message["features"]]
    return len(card.outlines) == len(sent) and all(
        shapely.hausdorff_distance(shapely.boundary(shown), shapely.boundary(one)) < 0.05
        for shown, one in zip(card.outlines, sent, strict=True)
    )


def test_a_device_is_seen_commanded_and_missed(scene: Scene, browser: Browser) -> None:
    page = LivePage(browser, scene.server.address)
    page.until_device("line-7", "online")
    browser.until("document.querySelector('#command-prompts').value === arguments[0]", "\n".join(PHRASES))
    scene.put("first.png", 6)
    found = scene.message("first.png")
    assert len(found["features"]) >= 3
    page.until_frame("first.png")
    [card] = page.cards
    assert on_the_right_objects(card, found)
    labels = {f"{one['properties']['label']} {one['properties']['score']:.2f}" for one in found["features"]}
    assert card.names
    assert set(card.names) <= labels  # those that would lie over others are left out
    browser.until("document.querySelector('#camera-list image') !== null")
    assert page.cards[0].picture == pytest.approx(page.cards[0].frame, abs=0.01)

    browser.reload()
    page.until_device("line-7", "online")
    page.until_frame("first.png")
    browser.until("document.querySelector('#camera-list image') !== null")
    assert on_the_right_objects(page.cards[0], found)

    page.write("#command-prompts", "metal tag")
    page.click("#command-form button[value=set_prompts]")
    browser.until("document.querySelector('#command-list .state')?.textContent.includes('done')")
    scene.rig.wait(lambda: scene.rig.consumer.prompts() == ["metal tag"])
    scene.put("second.png", 6)
    page.until_frame("second.png")
    again = scene.message("second.png")
    assert [one["text"] for one in again["prompts"]] == ["metal tag"]
    assert 0 < len(again["features"]) < len(found["features"])
    assert on_the_right_objects(page.cards[0], again)

    scene.rig.cable.cut()  # nothing of it comes any more, not even a goodbye
    page.until_device("line-7", "offline")
    assert "expected a heartbeat every 1 s" in browser.text("#device-list .quiet")
    scene.rig.cable.plug()
    page.until_device("line-7", "online")
    assert set(browser.foreign_requests()) == {f"{scene.rig.broker.websocket_url}/"}
    assert browser.console() == []
