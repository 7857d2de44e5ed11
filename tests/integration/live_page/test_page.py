"""The live page in a browser: what a person sees of devices, and does with them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
import pytest
import shapely
from amqtt.broker import Broker as AmqttBroker
from amqtt.contexts import Action
from paho.mqtt.enums import CallbackAPIVersion
from selenium.webdriver.common.keys import Keys

from sam3edge.core.messages.detections import divide
from sam3edge.core.messages.events import EventReason
from sam3edge.core.types import Prompt
from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import PageServer
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from support.browser import Browser
from support.live_messages import RING, Sender, detection, on_earth, square
from support.live_page import LivePage, Publisher, Stand, publishing, stand
from support.mosquitto import free_port, needs_mosquitto, running
from support.samples import wobbly

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]


def same(shown: shapely.Geometry, sent: shapely.Geometry) -> bool:
    """Whether outlines are the same to a twentieth of a pixel; messages have one decimal."""
    return float(shapely.hausdorff_distance(shapely.boundary(shown), shapely.boundary(sent))) < 0.06


class Listener:
    """What the page sends to devices."""

    def __init__(self, port: int) -> None:
        self.received: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._take(message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("sam3edge/+/commands", qos=1)
        assert subscribed.wait(30)

    def wait(self, count: int = 1) -> dict[str, Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count, 60)
        return self.received[count - 1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, payload: bytes) -> None:
        with self.changed:
            self.received.append(json.loads(payload))
            self.changed.notify_all()


@pytest.fixture
def listener(place: Stand) -> Iterator[Listener]:
    one = Listener(place.broker.port)
    yield one
    one.close()


class TestCameras:
    def test_outlines_lie_where_the_message_says(self, place: Stand, page: LivePage, device: Sender) -> None:
        found = [
            detection(RING, "metal tag", 0.97),
            detection(square(400, 50.5), "dent", 0.61, zones=["dock"], track_id="0123456789abcdef"),
            detection(shapely.MultiPolygon([square(10, 400, 20), square(60, 420, 30)]), "hole", 0.5),  # type: ignore[arg-type]
        ]
        place.send(*device.detections(*found, frame=device.frame("tag.jpg")))
        page.until_frame("tag.jpg")
        [card] = page.cards
        assert card.title == "line-7 · camera"
        assert all(same(shown, one.geometry) for shown, one in zip(card.outlines, found, strict=True))
        assert not card.outlines[0].contains(shapely.Point(200, 180))  # the hole
        assert sorted(card.names) == ["dent 0.61 · #cdef · dock", "hole 0.50", "metal tag 0.97"]
        assert "3 objects" in card.caption
        left, top, right, bottom = card.frame
        assert (right - left) / (bottom - top) == pytest.approx(640 / 480, rel=1e-6)

    def test_a_frame_in_parts_and_pieces_is_one_frame(self, place: Stand, page: LivePage, device: Sender) -> None:
        found = [detection(wobbly(40, 20, 30 + 3 * i), score=0.9 - i / 100) for i in range(12)]
        [whole] = device.detections(*found, frame=device.frame("pieces.jpg"))
        first, *rest = divide(whole, len(whole.payload) // 2)
        other = Sender(device.device, "other")
        place.send(first, *other.detections(frame=other.frame("between.jpg")))
        page.until_frame("between.jpg")
        place.send(*rest, *rest)
        page.until_frame("pieces.jpg")
        assert len(page.cards[0].outlines) == 12
        assert page.problems == ""

    def test_a_picture_is_shown_with_the_outlines_of_its_own_frame(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        pictured, later = device.frame("pictured.jpg"), device.frame("later.jpg")
        place.send(*device.detections(detection(RING), frame=pictured), device.snapshot(pictured, color=(40, 200, 60)))
        page.browser.until("document.querySelector('#camera-list image') !== null")
        place.send(*device.detections(detection(square(400, 300)), frame=later))
        page.browser.until("document.querySelector('#camera-list figcaption').textContent.includes('newer frames')")
        [card] = page.cards
        assert "pictured.jpg" in card.caption
        assert same(card.outlines[0], RING)
        assert card.picture == pytest.approx(card.frame, abs=0.01)
        pixels, (left, top, right, bottom) = page.browser.screenshot(), card.frame

        def color(x: float, y: float) -> np.ndarray:
            across, down = left + x / 640 * (right - left), top + y / 480 * (bottom - top)
            return pixels[round(down), round(across)].astype(int)

        assert np.abs(color(200, 180) - (60, 200, 40)).max() < 12  # in the hole there is the picture alone
        assert np.abs(color(500, 400) - (60, 200, 40)).max() < 12
        assert np.abs(color(120, 180) - (60, 200, 40)).max() > 12  # the object is tinted
        page.click("#camera-list .row button:last-child")
        page.until_frame("later.jpg")
        [card] = page.cards
        assert same(card.outlines[0], square(400, 300))
        assert card.picture is None

    def test_a_picture_gives_way_to_newer_frames_after_a_while(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        pictured, later = device.frame("pictured.jpg"), device.frame("later.jpg")
        place.send(*device.detections(detection(RING), frame=pictured), device.snapshot(pictured))
        page.browser.until("document.querySelector('#camera-list image') !== null")
        page.browser.evaluate("(Date.now = ((now) => () => now() + 3_600_000)(Date.now)) !== null")
        page.browser.until("document.querySelector('#camera-list figcaption').textContent.includes('60 min ago')")
        assert page.cards[0].picture is not None
        place.send(*device.detections(frame=later))
        page.until_frame("later.jpg")
        assert page.cards[0].picture is None
        page.click("#camera-list .row button:last-child")
        page.until_frame("pictured.jpg")

    def test_a_picture_that_cannot_be_decoded_is_said_and_outlines_are_shown(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        frame = device.frame("broken.jpg")
        message = device.snapshot(frame)
        start = base64.b64decode(json.loads(message.payload)["image"])[:200]  # its size, and none of its pixels
        broken = base64.b64encode(start + bytes(200)).decode()
        body = json.dumps({**json.loads(message.payload), "image": broken}).encode()
        place.send(*device.detections(detection(RING), frame=frame))
        place.publisher.send_bytes(message.topic, body)
        page.until_problem("1 picture not shown")
        page.browser.until("document.querySelector('#camera-list rect.blank') !== null")
        [card] = page.cards
        assert same(card.outlines[0], RING)
        assert card.picture is None
        later = device.frame("whole.jpg")
        place.send(*device.detections(detection(RING), frame=later), device.snapshot(later))
        page.browser.until("document.querySelector('#camera-list image') !== null")

    @pytest.mark.parametrize("width", [360, 1280])
    def test_names_can_be_read_and_lie_over_no_other(
        self, place: Stand, page: LivePage, device: Sender, width: int
    ) -> None:
        page.browser.look(width, 800)
        crowd = [detection(square(100 + 7 * i, 100 + 2 * i), f"label-{i}", (20 - i) / 20) for i in range(20)]
        found = [*crowd, detection(square(400, 400), "apart", 0.01)]
        place.send(*device.detections(*found, frame=device.frame("crowd.jpg", size=(640, 480))))
        page.until_frame("crowd.jpg")
        heights = """[...document.querySelectorAll('#camera-list text')].map(
          (one) => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a)"""
        page.browser.until(f"{heights}.every((one) => one >= 10.99)")
        boxes = page.browser.evaluate(
            "[...document.querySelectorAll('#camera-list text')].map((one) => one.getBoundingClientRect().toJSON())"
        )
        assert "label-0 1.00" in page.cards[0].names
        assert "apart 0.01" in page.cards[0].names
        assert 2 < len(boxes) < 21
        areas = [shapely.box(one["left"], one["top"] + 2, one["right"], one["bottom"] - 2) for one in boxes]
        assert not any(shapely.overlaps(area, other) for i, area in enumerate(areas) for other in areas[:i])

    def test_objects_are_listed_for_those_who_do_not_see_outlines(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        place.send(*device.detections(detection(RING, "car", 0.9), detection(square(1, 1), "car", 0.8, zones=["gate"])))
        page.browser.until(
            "document.querySelector('#camera-list svg')?.getAttribute('aria-label')?.includes('2 × car')"
        )
        page.click("#camera-list summary")
        page.browser.until("document.querySelectorAll('#camera-list tbody tr').length === 2")
        cells = "[...document.querySelectorAll('#camera-list tbody tr')].map((row) => row.textContent)"
        assert page.browser.evaluate(cells) == ["car0.90", "car0.80gate"]

    def test_pictures_stay_on_the_device_unless_the_operator_lets_them_leave(
        self, browser: Browser, device: Sender
    ) -> None:
        with stand() as place:
            page = LivePage(browser, place.server.address)
            frame = device.frame("kept.jpg")
            place.send(*device.detections(detection(RING), frame=frame))
            page.until_frame("kept.jpg")
            place.send(device.snapshot(frame), *device.detections(frame=device.frame("after.jpg")))
            page.until_frame("after.jpg")
            assert "pictures stay on the device" in page.cards[0].caption
            buttons = (
                "[...document.querySelectorAll('button')].filter((one) => !one.hidden).map((one) => one.textContent)"
            )
            assert not [text for text in browser.evaluate(buttons) if "icture" in text]
            assert browser.evaluate("document.querySelector('#camera-list image')") is None


class TestDevices:
    def test_a_device_that_falls_silent_turns_offline(self, place: Stand, page: LivePage) -> None:
        place.send(Sender("quick").heartbeat(interval=1), Sender("slow").heartbeat(interval=3600))
        page.until_device("slow", "online")
        page.until_device("quick", "offline")
        assert page.devices["slow"] == "online"
        assert "quick is offline" in page.browser.text("#announcements")

    def test_a_device_that_calls_itself_as_another_is_refused(self, place: Stand, page: LivePage) -> None:
        device = Sender("line-7")
        for message in (device.heartbeat(), *device.detections(detection(RING)), device.error("e")):
            place.publisher.send_bytes(message.topic.replace("line-7", "intruder"), message.payload)
        page.until_problem("3 messages refused, not written as our devices do; the last on sam3edge/intruder/errors")
        place.send(device.heartbeat())
        page.until_device("line-7", "online")
        assert list(page.devices) == ["line-7"]
        assert page.cards == []
        assert page.browser.text("#errors ol") == ""

    def test_below_other_topics_it_is_seen_to_do_so_everywhere(self, browser: Browser) -> None:
        with stand(prefixes=("yard/+",)) as place:
            page = LivePage(browser, place.server.address)
            device = Sender("line-7")
            frame = device.frame("a.jpg")
            for below in ("line-7", "intruder"):
                messages = [device.heartbeat(), *device.detections(detection(RING), frame=frame)]
                for message in (*messages, device.error("e"), device.event("end", "car", [])):
                    body = json.dumps({**json.loads(message.payload), "id": f"{below} {message.topic}"}).encode()
                    place.publisher.send_bytes(message.topic.replace("sam3edge/line-7", f"yard/{below}"), body)
            page.until_device("line-7 (yard/intruder)", "online")
            browser.until("document.querySelectorAll('#events li').length === 2")
            browser.until("document.querySelectorAll('#errors li').length === 2")
            browser.until("document.querySelectorAll('#counts-camera option').length === 2")
            shown = """[...document.querySelectorAll(arguments[0])].map((one) => one.textContent).sort()"""
            both = ["line-7", "line-7 (yard/intruder)"]
            for names in ("#device-list .name", "#events strong", "#errors strong", "#command-device option"):
                assert browser.evaluate(shown, names) == both
            for cameras in ("#camera-list h3", "#counts-camera option"):
                assert browser.evaluate(shown, cameras) == sorted(f"{name} · camera" for name in both)

    def test_a_last_will_is_heard_and_a_reload_loses_nothing_that_is_retained(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        will = (f"{device.prefix}/availability", "offline")
        dying = Publisher(place.broker.port, will)
        dying.send_bytes(will[0], b"online", retain=True)
        dying.send(device.heartbeat(interval=3600), retain=True)
        dying.send(*device.detections(detection(RING, "dent"), frame=device.frame("last.jpg")), retain=True)
        page.until_frame("last.jpg")
        page.until_device("line-7", "online")
        page.browser.reload()
        page.until_frame("last.jpg")
        page.until_device("line-7", "online")
        assert same(page.cards[0].outlines[0], RING)
        dying.client._sock_close()  # as a cable that is pulled: no DISCONNECT
        page.until_device("line-7", "offline")
        page.browser.reload()
        page.until_frame("last.jpg")
        page.until_device("line-7", "offline")

    def test_what_the_chosen_device_says_of_itself(self, place: Stand, page: LivePage) -> None:
        place.send(Sender("one").heartbeat(), Sender("two").heartbeat("waiting for a model", model=None))
        place.send(*Sender("one").detections(detection(RING)), *Sender("two").detections(detection(RING)))
        page.browser.until("document.querySelectorAll('#camera-list > li').length === 2")
        page.browser.evaluate(
            "[...document.querySelectorAll('#device-list button')].find((at) => at.textContent.includes('one')).focus()"
        )
        page.browser.press(Keys.ENTER)
        page.browser.until("document.querySelectorAll('#camera-list > li').length === 1")
        details = page.browser.text("#device-details")
        for words in ("demo 1.2.3", "scratch > 0.5", "dent (Delle) > 0.4", "120, with 340 objects", "sam3edge/one"):
            assert words in details
        assert (
            page.browser.evaluate("document.querySelector('#command-device').selectedOptions[0].textContent") == "one"
        )
        page.browser.press(Keys.ENTER)
        page.browser.until("document.querySelectorAll('#camera-list > li').length === 2")

    def test_events_errors_counts_and_map_follow_the_choice(self, place: Stand, page: LivePage) -> None:
        for name, west in (("munich", 11.6), ("zurich", 8.5)):
            device = Sender(name)
            found = [detection(square(90 * i, 10), place=on_earth(square(90 * i, 10), west, 47.4)) for i in range(3)]
            place.send(*device.detections(*found), device.error("e"), device.event("end", "car", []))
        page.browser.until("document.querySelectorAll('#map [data-object]').length === 6")
        shown = """['#events', '#errors', '#counts-camera'].map(
          (one) => [...document.querySelectorAll(`${one} strong, ${one} option`)].map((at) => at.textContent))"""
        both, cameras = ["zurich", "munich"], ["munich · camera", "zurich · camera"]
        page.browser.until(f"JSON.stringify({shown}) === JSON.stringify(arguments[0])", [both, both, cameras])
        spots = "document.querySelectorAll('#map circle').length"
        assert page.browser.evaluate(spots) == 6
        page.click("#device-list li:last-child button")
        wanted = [["zurich"], ["zurich"], ["zurich · camera"]]
        page.browser.until(f"JSON.stringify({shown}) === JSON.stringify(arguments[0])", wanted)
        inside = """(({ left, right }) => [...document.querySelectorAll('#map [data-object]')].map(
          (one) => one.getBoundingClientRect()).filter((one) => one.left >= left && one.right <= right).length)(
          document.querySelector('#map').getBoundingClientRect())"""
        assert (page.browser.evaluate(spots), page.browser.evaluate(inside)) == (0, 3)  # large enough again
        page.click("#map-fit")
        place.send(*Sender("munich").detections(detection(RING, place=on_earth(RING, 11.6, 47.4))))
        page.browser.until("document.querySelectorAll('#map [data-object]').length === 4")
        assert page.browser.evaluate(inside) == 4
        page.click("#device-list li:last-child button")
        page.browser.until(f"JSON.stringify({shown}) === JSON.stringify(arguments[0])", [both, both, cameras])

    def test_a_device_that_is_expected_is_there_before_it_is_heard(self, browser: Browser) -> None:
        with stand(prefixes=("sam3edge/line-9",)) as place:
            page = LivePage(browser, place.server.address)
            page.until_device("line-9", "unknown")
            place.send(Sender("line-9").heartbeat())
            page.until_device("line-9", "online")
            assert list(page.devices) == ["line-9"]

    def test_events_counts_and_errors(self, place: Stand, page: LivePage, device: Sender) -> None:
        place.send(*device.detections(detection(RING, "car")), device.counts(car=3))
        place.send(device.event("update", "car", [EventReason("line_crossed", "gate", "forward")], ["dock"]))
        place.send(device.error("expected a camera, rtsp://cam refuses; look at its password"))
        page.browser.until("document.querySelectorAll('#errors li').length === 1")
        page.browser.until("document.querySelector('#counts-tables table') !== null")
        assert "car #-car changed" in page.browser.text("#events ol")
        assert "line crossed gate forward" in page.browser.text("#events ol")
        assert "expected a camera" in page.browser.text("#errors ol")
        assert re.fullmatch(r"Last frame, of \d+:\d+:\d+ [AP]M: 1 × car\.", page.browser.text("#counts-summary"))
        assert "car330" in page.browser.text("#counts-tables")
        assert page.browser.evaluate("document.querySelector('#chart canvas') !== null")

    def test_the_chart_ends_now_and_its_legend_has_its_lines(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        """Of one frame half a minute ago."""
        [message] = device.detections(detection(RING, "car"), detection(RING, "tree"), detection(RING, "tree"))
        body = json.loads(message.payload)
        time = datetime.fromisoformat(body["time"]) - timedelta(seconds=30)
        place.publisher.send_bytes(message.topic, json.dumps({**body, "time": time.isoformat()}).encode())
        page.browser.evaluate("(document.querySelector('#counts-span').value = '60') !== null")
        page.browser.until("document.querySelector('#chart canvas') !== null")
        entries = "[...document.querySelectorAll('#chart-legend li')].map((one) => one.textContent)"
        page.browser.until(f"{entries}.length === 3")
        last, *counts = page.browser.evaluate(entries)
        assert re.match(r"last, at \d+:\d+", last)
        assert counts == [" car 1.0", " tree 2.0"]
        lines = """[...document.querySelectorAll('#chart-legend line')].map(
          (one) => [one.getAttribute('stroke'), one.getAttribute('stroke-dasharray')])"""
        [[color, dash], [other, other_dash]] = page.browser.evaluate(lines)
        assert color != other
        assert (dash, other_dash) == ("", "8 4")
        inked = page.browser.settled(
            """
            await new Promise((drawn) => setTimeout(drawn, 1200));
            const canvas = document.querySelector("#chart canvas"), { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, 0.7 * height).data, columns = new Set();
            for (let at = 0; at < data.length; at += 4) {
              const rgb = data.slice(at, at + 3), coloured = Math.max(...rgb) - Math.min(...rgb) > 60;
              if (data[at + 3] > 200 && coloured) columns.add((at / 4) % width);
            }
            return [...columns].map((one) => one / width);
            """
        )
        assert inked
        assert 0.3 < min(inked) < max(inked) < 0.65
        page.browser.evaluate("(Date.now = ((now) => () => now() + 600_000)(Date.now)) !== null")
        page.browser.until("document.querySelector('#chart-legend').textContent === 'no frame in this time'")
        assert page.browser.console() == []

    def test_late_and_early_times_are_said_as_they_are(self, place: Stand, page: LivePage, device: Sender) -> None:
        for message in (device.event("new", "car", []), *device.detections(frame=device.frame("late.jpg"))):
            body = json.loads(message.payload)
            yesterday = (datetime.fromisoformat(body["time"]) - timedelta(days=1)).isoformat()
            body |= {"event_time": yesterday, "frame": {**body["frame"], "captured_at": yesterday}}
            place.publisher.send_bytes(message.topic, json.dumps(body).encode())
        page.until_frame("late.jpg")
        page.browser.until("document.querySelectorAll('#events li').length === 1")
        day = str((datetime.now().astimezone() - timedelta(days=1)).year)
        assert day in page.browser.text("#events time")
        assert re.search(rf"captured .*{day}.* 24 h ago", page.cards[0].caption)


class TestCommands:
    def submit(self, page: LivePage, name: str) -> None:
        page.click(f"#command-form button[value={name}]")

    def until_state(self, page: LivePage, words: str) -> None:
        page.browser.until("document.querySelector('#command-list .state')?.textContent.includes(arguments[0])", words)

    def test_prompts_are_set_and_the_response_is_shown(
        self, place: Stand, page: LivePage, listener: Listener, device: Sender
    ) -> None:
        prompts = [Prompt("scratch"), Prompt("dent", 0.4, label="Delle"), Prompt("hole", min_area=20.0)]
        place.send(device.heartbeat(prompts=prompts))
        page.browser.until("document.querySelector('#command-prompts').value !== ''")
        assert page.browser.evaluate("document.querySelector('#command-prompts').value") == (
            "scratch | | 0.5 | 0\ndent | Delle | 0.4 | 0\nhole | | 0.5 | 20"
        )
        page.write("#command-prompts", "rust\ndent | Delle | 0.4\n  \nhole | Loch | | 20")
        place.send(device.heartbeat(prompts=[Prompt("other")]))
        self.submit(page, "set_prompts")
        sent = listener.wait()
        assert sent["command"] == "set_prompts"
        assert sent["arguments"] == {
            "prompts": [
                "rust",
                {"Text": "dent", "Label": "Delle", "Threshold": 0.4},
                {"Text": "hole", "Label": "Loch", "MinArea": 20},
            ]
        }
        self.until_state(page, "waiting")
        place.send(device.succeeded("somebody else's", "set_prompts"), device.succeeded(sent["id"], "set_prompts"))
        self.until_state(page, "done")
        assert len(page.commands) == 1
        assert "succeeded" in page.browser.text("#announcements")

    def test_what_a_device_refuses_is_said_with_its_reason(
        self, place: Stand, page: LivePage, listener: Listener, device: Sender
    ) -> None:
        place.send(device.heartbeat())
        page.browser.until("!document.querySelector('#command-form').hidden")
        page.browser.evaluate("document.querySelector('#command-threshold').value = '0.25'")
        self.submit(page, "set_threshold")
        sent = listener.wait()
        assert (sent["command"], sent["arguments"]) == ("set_threshold", {"threshold": 0.25})
        place.send(device.rejected(sent["id"], "set_threshold", "expected <b>another</b> number"))
        self.until_state(page, "refused")
        assert page.commands == [("✕ refused", "expected <b>another</b> number")]

    @pytest.mark.parametrize(
        ("prompts", "words"),
        [
            ("\n \n", "Expected a phrase"),
            ("a | b | 2", "threshold from 0 to 1"),
            ("a | b | 0.5 | wide", "an area"),
            ("a | b | 0.5 | 20 | e", "phrase | label"),
        ],
    )
    def test_what_cannot_be_meant_is_not_sent(
        self, place: Stand, page: LivePage, device: Sender, prompts: str, words: str
    ) -> None:
        place.send(device.heartbeat())
        page.browser.until("document.querySelector('#command-prompts').value !== ''")
        page.browser.evaluate("document.querySelector('#command-prompts').value = arguments[0]", prompts)
        self.submit(page, "set_prompts")
        assert words in page.browser.text("#command-error")
        assert page.commands == []

    def test_pictures_are_asked_for_by_the_page_where_the_operator_said_so(
        self, browser: Browser, device: Sender
    ) -> None:
        with stand(pictures=True, picture_seconds=0) as place:
            listener = Listener(place.broker.port)
            page = LivePage(browser, place.server.address)
            place.send(device.heartbeat())
            first = listener.wait()
            assert (first["command"], first["arguments"]) == ("snapshot", {})
            frame = device.frame("asked.jpg")
            place.send(device.snapshot(frame, first["id"]), *device.detections(detection(RING), frame=frame))
            page.browser.until("document.querySelector('#camera-list image') !== null")
            assert listener.wait(2)["id"] != first["id"]
            assert page.commands == []
            listener.close()

    def test_a_page_without_commands_has_none(self, browser: Browser, device: Sender) -> None:
        with stand(commands=False, pictures=True, picture_seconds=0) as place:
            listener = Listener(place.broker.port)
            page = LivePage(browser, place.server.address)
            place.send(device.heartbeat(), *device.detections(detection(RING), frame=device.frame("a.jpg")))
            page.until_frame("a.jpg")
            assert browser.evaluate("document.querySelector('#command-form').hidden")
            assert "--read-only" in browser.text("#no-commands")
            assert listener.received == []
            listener.close()


class TestConnection:
    def test_without_a_broker_the_page_says_so_and_comes_back(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        place.send(*device.detections(detection(RING), frame=device.frame("before.jpg")))
        page.until_frame("before.jpg")
        place.publisher.close()
        place.broker.stop()
        page.until_problem("Next attempt in")
        page.until_problem("is not reached")
        # the first attempt may be over before the loss is drawn, so what is announced is either
        said = page.browser.text("#announcements")
        assert "connection to the broker was lost" in said or "is not reached" in said
        page.until_device("line-7", "unknown")
        assert len(page.cards) == 1
        place.broker.start()
        page.connected()
        with publishing(place.broker.port) as publisher:
            publisher.send(*device.detections(detection(RING), frame=device.frame("after.jpg")))
            page.until_frame("after.jpg")
        assert page.problems == ""
        kinds = {entry.source for entry in page.browser.console()}
        assert kinds <= {"network", "javascript"}  # the browser's own words about connections that failed
        assert all("WebSocket" in entry.text for entry in page.browser.console())

    def test_a_command_that_the_broker_never_confirmed_is_said_and_not_sent_again(
        self, browser: Browser, device: Sender
    ) -> None:
        """A connection that is closed upon a command: what AWS IoT Core does where the right is missing."""
        server = PageServer()
        with (
            Broker(origins=server.origins) as broker,
            TcpProxy(f"mqtt://127.0.0.1:{broker.websocket_port}") as network,
            server.serving(PageConfiguration(network.url.replace("mqtt", "ws"))),
            publishing(broker.port) as publisher,
        ):
            listener = Listener(broker.port)
            page = LivePage(browser, server.address)
            publisher.send(device.heartbeat())
            page.browser.until("document.querySelector('#command-prompts').value !== ''")
            network.swallow()
            page.click("#command-form button[value=set_prompts]")
            network.cut()
            page.browser.until("document.querySelector('#command-list .state')?.textContent.includes('not confirmed')")
            assert "right to publish to sam3edge/line-7/commands" in page.commands[0][1]
            network.plug()
            page.connected()
            publisher.send(*device.detections(frame=device.frame("later.jpg")))
            page.until_frame("later.jpg")
            assert listener.received == []
            listener.close()

    def test_pages_of_others_cannot_use_the_broker(self, browser: Browser) -> None:
        """The browser says where a page is from, and the broker listens to its own page only."""
        with stand() as place:
            other = PageServer()
            with other.serving(PageConfiguration(place.broker.websocket_url)):
                page = LivePage(browser, other.address, connected=False)
                page.until_problem("is not reached")
            own = LivePage(browser, place.server.address)
            assert own.problems == ""

    def test_what_cannot_be_drawn_costs_no_other_part(self, place: Stand, page: LivePage, device: Sender) -> None:
        """By a fault of the page's own, such as an element that is gone."""
        page.browser.evaluate("document.querySelector('#no-devices').remove()")
        page.until_problem("A part of the page failed: devices")
        place.send(device.heartbeat(), *device.detections(detection(RING), frame=device.frame("drawn.jpg")))
        page.until_frame("drawn.jpg")
        page.browser.until("document.querySelector('#command-prompts').value !== ''")
        assert len([entry for entry in page.browser.console() if entry.source == "javascript"]) == 1

    def test_a_message_that_cannot_be_taken_costs_no_other_one(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        """Where a browser has no room for another picture, say."""
        page.browser.evaluate("(URL.createObjectURL = () => { throw new Error('no room'); }) !== null")
        frame = device.frame("before.jpg")
        place.send(*device.detections(detection(RING), frame=frame), device.snapshot(frame))
        page.until_problem("A part of the page failed: messages")
        place.send(*device.detections(detection(RING), frame=device.frame("after.jpg")), device.heartbeat())
        page.until_frame("after.jpg")
        page.until_device("line-7", "online")

    def test_messages_that_are_not_ours_are_counted_and_cost_nothing_else(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        place.publisher.send_bytes("sam3edge/<i>x/detections", b"<img src=x onerror=alert(1)>")
        place.publisher.send_bytes("sam3edge/y/status", b"1" * 600_000)
        page.until_problem("2 messages refused, not written as our devices do")
        label = "<img src=x onerror=\"document.title='broken'\">"
        evil = Sender("__proto__", "<script>document.title='broken'</script>")
        place.send(evil.heartbeat(), *evil.detections(detection(RING, label), frame=evil.frame("<b>x</b>.jpg")))
        place.send(*device.detections(detection(RING), frame=device.frame("good.jpg")), device.heartbeat())
        page.until_frame("good.jpg")
        page.until_device("__proto__", "online")
        assert f"{label[:60]}" in " ".join(name for card in page.cards for name in card.names)
        assert page.browser.evaluate("document.title") == "sam3edge"
        assert page.browser.evaluate("document.querySelectorAll('img, b, script:not([src])').length") == 0
        assert page.browser.console() == []

    def test_it_talks_to_its_server_and_broker_and_to_nobody_else(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        frame = device.frame("all.jpg")
        place.send(device.heartbeat(), *device.detections(detection(RING, place=on_earth(RING)), frame=frame))
        place.send(device.snapshot(frame), device.counts(car=1))
        page.browser.until("document.querySelector('#camera-list image') !== null")
        page.browser.until("document.querySelector('#map svg') !== null")
        assert {*page.browser.foreign_requests()} == {f"{place.broker.websocket_url}/"}
        assert page.browser.console() == []
        blocked = page.browser.settled(
            """
            const refused = [];
            document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
            const attempts = [() => fetch("http://127.0.0.1:9/"), () => new WebSocket("ws://127.0.0.1:9/"),
              () => { document.body.innerHTML = "<p>"; }, () => new Worker("js/limits.js")];
            for (const attempt of attempts) try { await attempt(); } catch { /* is what is wanted */ }
            await new Promise((resolve) => setTimeout(resolve, 100));
            return [...new Set(refused)].sort();
            """
        )
        assert blocked == ["connect-src", "require-trusted-types-for"]


class TestRights:
    def test_what_is_not_granted_is_named(
        self, monkeypatch: pytest.MonkeyPatch, browser: Browser, device: Sender
    ) -> None:
        async def granted(broker: AmqttBroker, session: object, topic: str, action: Action) -> bool:
            return not (action is Action.SUBSCRIBE and topic.endswith(("/errors", "/snapshots")))

        monkeypatch.setattr(AmqttBroker, "_topic_filtering", granted)
        with stand(pictures=True) as place:
            page = LivePage(browser, place.server.address)
            page.until_problem("does not grant sam3edge/+/errors, sam3edge/+/snapshots:")
            place.send(*device.detections(frame=device.frame("granted.jpg")))
            page.until_frame("granted.jpg")

    @needs_mosquitto
    def test_signing_in(self, tmp_path: Path, browser: Browser, device: Sender) -> None:
        plain, pages, users = free_port(), free_port(), tmp_path / "users"
        users.write_text(password_line("ann", "secret"))
        configuration = (
            f"listener {plain} 127.0.0.1\n"  # without one, Debian's ends at once
            f"listener {pages} 127.0.0.1\nprotocol websockets\nallow_anonymous false\npassword_file {users}"
        )
        server = PageServer()
        with (
            running(tmp_path, configuration, pages),
            server.serving(PageConfiguration(f"ws://127.0.0.1:{pages}", sign_in="password")),
        ):
            page = LivePage(browser, server.address, connected=False)
            self.sign_in(page, "ann", "wrong")
            page.until_problem("Sign in again")
            self.sign_in(page, "ann", "secret")
            page.connected()
            browser.until("document.querySelectorAll('#problems > li').length === 0")
            assert browser.evaluate("document.querySelector('#sign-in').hidden")
            kept = "[localStorage.length, sessionStorage.length, document.cookie]"
            assert browser.evaluate(kept) == [0, 0, ""]
            assert not browser.evaluate("document.body.innerHTML.includes('secret')")
            browser.reload()
            browser.until("!document.querySelector('#sign-in').hidden")
            assert browser.evaluate("document.querySelector('#sign-in input[name=password]').value") == ""

    def test_what_was_typed_can_be_typed_again_where_the_broker_does_not_say_why_it_refuses(
        self, browser: Browser
    ) -> None:
        """AWS IoT Core answers wrong credentials with an HTTP status, which browsers keep to themselves."""
        server = PageServer()
        with server.serving(PageConfiguration(f"ws://127.0.0.1:{free_port()}", sign_in="aws", region="eu-central-1")):
            page = LivePage(browser, server.address, connected=False)
            for name in ("accessKeyId", "secretAccessKey", "sessionToken"):
                page.write(f"#sign-in input[name={name}]", "wrong")
            browser.press(Keys.ENTER)
            page.until_problem("is not reached")
            assert not browser.evaluate("document.querySelector('#sign-in').hidden")
            page.write("#sign-in input[name=accessKeyId]", "right")
            page.until_problem("Next attempt in")
            assert browser.evaluate("document.activeElement.value") == "right"
            [address, *_] = browser.foreign_requests()
            assert "X-Amz-Credential=wrong%2F" in address
            assert "X-Amz-Security-Token=wrong" in address

    def sign_in(self, page: LivePage, user: str, password: str) -> None:
        page.browser.until("!document.querySelector('#sign-in').hidden")
        page.write("#sign-in input[name=username]", user)
        page.write("#sign-in input[name=password]", password)
        page.browser.press(Keys.ENTER)


class TestPlaces:
    def test_without_webgl_places_are_drawn_plainly_and_the_page_says_so(
        self, place: Stand, page: LivePage, device: Sender
    ) -> None:
        assert "Georeference" in page.browser.text("#no-map")
        outlines = [RING, square(400, 300), square(20, 20, 10)]
        found = [detection(one, place=on_earth(one)) for one in outlines]
        place.send(*device.detections(*found, detection(square(0, 0))))
        page.browser.until("document.querySelectorAll('#map path[data-object]').length === 3")
        assert "no WebGL" in page.browser.text("#map-note")
        assert page.browser.text("#map-count") == "3 objects of 1 frame"
        boxes = page.browser.evaluate(
            "[...document.querySelectorAll('#map path[data-object]')].map((one) => one.getBoundingClientRect())"
            ".map(({ x, y, width, height }) => [x + width / 2, y + height / 2])"
        )
        # 1 px is 1e-5 degrees both ways: longitudes are shortened by the latitude, and north is up
        centers = np.array(
            [[g.envelope.centroid.x * np.cos(np.radians(47.398)), g.envelope.centroid.y] for g in outlines]
        )
        drawn = np.array(boxes)
        scale = np.linalg.norm(drawn[1] - drawn[0]) / np.linalg.norm(centers[1] - centers[0])
        assert drawn - drawn[0] == pytest.approx((centers - centers[0]) * scale, abs=1)
        corners = "(({ x, y, right, bottom }) => [x, y, right, bottom])"
        box = page.browser.evaluate(f"{corners}(document.querySelector('#map').getBoundingClientRect())")
        assert (drawn >= box[:2]).all()
        assert (drawn <= box[2:]).all()
        page.browser.evaluate(
            "document.querySelector('#map path').dispatchEvent(new MouseEvent('click', { bubbles: true }))"
        )
        assert "scratch 0.90" in page.browser.text("#map-object")
        assert "right to 0.50 m" in page.browser.text("#map-object")

    def test_all_frames_so_far(self, place: Stand, page: LivePage, device: Sender) -> None:
        for number in range(3):
            outline = square(50 * number, 10)
            place.send(*device.detections(detection(outline, place=on_earth(outline))))
        page.browser.until("document.querySelector('#map-count').textContent === '1 object of 1 frame'")
        page.click("input[name=trail][value=all]")
        page.browser.until("document.querySelectorAll('#map path[data-object]').length === 3")


class TestPeople:
    """Keyboard, phone, dark."""

    def test_it_is_used_by_the_keyboard_alone(self, place: Stand, page: LivePage, listener: Listener) -> None:
        place.send(
            Sender("one").heartbeat(), *Sender("one").detections(detection(RING), frame=Sender("one").frame("a.jpg"))
        )
        page.until_frame("a.jpg")
        page.browser.until("document.querySelector('#command-prompts').value !== ''")
        reached = []
        for _ in range(40):
            page.browser.press(Keys.TAB)
            at = page.browser.evaluate(
                "((at) => [at.id || at.textContent.trim().slice(0, 20), getComputedStyle(at).outlineStyle,"
                " at.getBoundingClientRect().top >= 0])(document.activeElement)"
            )
            reached.append(at[0])
            assert at[1] != "none" or at[0] == "cameras", at
            assert at[2], at
            if at[0] == "Set threshold":
                break
        assert reached[0] == "Skip to the cameras"
        assert "command-prompts" in reached
        page.browser.press(Keys.SHIFT + Keys.TAB + Keys.SHIFT, "0.3", Keys.ENTER)
        page.browser.until("document.querySelectorAll('#command-list li').length === 1")

    def test_the_skip_link_leads_to_the_cameras(self, page: LivePage) -> None:
        page.browser.press(Keys.TAB, Keys.ENTER)
        assert page.browser.evaluate("document.activeElement.id") == "cameras"

    @pytest.mark.parametrize("width", [360, 768, 1280])
    def test_nothing_is_wider_than_the_screen(self, place: Stand, page: LivePage, width: int) -> None:
        long = Sender("device-" + "x" * 90, "camera-" + "y" * 90)
        place.send(long.heartbeat(), *long.detections(detection(RING, "z" * 150), frame=long.frame("w" * 150 + ".jpg")))
        place.send(long.error("v" * 400), long.counts(car=1))
        page.browser.look(width, 800)
        page.browser.until("document.querySelectorAll('#camera-list > li').length === 1")
        page.browser.until("document.querySelector('#counts-tables table') !== null")
        assert page.browser.evaluate("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("width", [390, 1280])
    def test_links_lead_to_their_sections_however_many_cameras_there_are(
        self, place: Stand, page: LivePage, width: int
    ) -> None:
        page.browser.look(width, 800)
        for number in range(24):
            camera = Sender(f"line-{number // 12}", f"camera-{number}")
            place.send(*camera.detections(detection(RING), frame=camera.frame("a.jpg", size=(480, 640))))
        place.send(Sender("line-0").heartbeat())
        page.browser.until("document.querySelectorAll('#camera-list > li').length === 24")
        page.browser.until("document.querySelector('#command-prompts').value !== ''")
        page.click("nav a[href='#map-section']")
        page.browser.settled(
            "let at; do { at = scrollY; await new Promise((go) => setTimeout(go, 500)); } while (at !== scrollY);"
        )
        top = page.browser.evaluate("document.querySelector('#map-section').getBoundingClientRect().top")
        at_end = page.browser.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
        assert 0 <= top <= (800 if at_end else 200)

    @pytest.mark.parametrize("width", [360, 1280])
    def test_what_stands_below_the_chart_is_not_cut_off(
        self, place: Stand, page: LivePage, device: Sender, width: int
    ) -> None:
        page.browser.look(width, 800)
        [message] = device.detections(detection(RING, "car"))
        body = json.loads(message.payload)
        for second in range(9):  # the first of its marks stands at the chart's left end
            time = datetime.fromisoformat(body["time"]) - timedelta(seconds=second)
            changed = {
                **body,
                "id": f"{second}",
                "frame": {**body["frame"], "id": f"{second}"},
                "time": time.isoformat(),
            }
            place.publisher.send_bytes(message.topic, json.dumps(changed).encode())
        page.browser.until("document.querySelector('#chart canvas') !== null")
        inked = page.browser.settled(
            """
            await new Promise((drawn) => setTimeout(drawn, 2500));
            const canvas = document.querySelector("#chart canvas"), { width, height } = canvas;
            const ink = (x, across) => canvas.getContext("2d").getImageData(x, 0, across, height).data.some(Boolean);
            return [ink(0, 2), ink(width - 2, 2), ink(0, width)];
            """
        )
        assert inked == [False, False, True]

    def test_light_and_dark(self, page: LivePage) -> None:
        light = page.browser.screenshot().mean()
        page.browser.look(1280, 800, "dark")
        dark = page.browser.screenshot().mean()
        assert light > 180
        assert dark < 80

    def test_every_field_and_picture_has_a_name(self, place: Stand, page: LivePage, device: Sender) -> None:
        place.send(
            device.heartbeat(), *device.detections(detection(RING, place=on_earth(RING)), frame=device.frame("a.jpg"))
        )
        page.until_frame("a.jpg")
        page.browser.until("document.querySelector('#map svg') !== null")
        unnamed = page.browser.evaluate(
            """
            [...document.querySelectorAll('button, input, select, textarea, svg[role=img], a')].filter((one) =>
              !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label') || one.title)
            ).map((one) => one.outerHTML.slice(0, 80))
            """
        )
        assert unnamed == []
        assert len(re.findall(r"<h1", page.browser.evaluate("document.body.innerHTML"))) == 1


def password_line(user: str, password: str) -> str:
    """As mosquitto_passwd writes it: rounds, salt, PBKDF2 with SHA-512."""
    salt, rounds = b"twelve bytes", 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"{user}:$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"
