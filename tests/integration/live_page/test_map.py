"""The map itself: MapLibre in a Chromium with what stands for a GPU."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from support.browser import WEBGL, Browser, empty_window, launched, missing
from support.live_messages import RING, Sender, detection, on_earth, square
from support.live_page import LivePage, Stand, stand

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser")]

WEST, NORTH, DEGREE = 8.5, 47.4, 1e-5
GREEN = (40, 180, 70)

IDLE = """
const map = document.querySelector("#map canvas");
await new Promise((resolve) => setTimeout(resolve, 300));
return map.getBoundingClientRect().toJSON();
"""


@pytest.fixture(scope="module")
def chromium_with_webgl() -> Iterator[Any]:
    if reason := missing():
        pytest.skip(reason)
    with launched(WEBGL) as driver:
        yield driver


@pytest.fixture
def browser(chromium_with_webgl: Any) -> Iterator[Browser]:
    with empty_window(chromium_with_webgl) as window:
        yield window


def shown(page: LivePage) -> npt.NDArray[np.int_]:
    """The map's pixels."""
    box = page.browser.settled(IDLE)
    pixels = page.browser.screenshot()
    top, left = round(box["top"]), round(box["left"])
    return pixels[top : top + round(box["height"]), left : left + round(box["width"])].astype(int)


def tinted(pixels: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """Where there is a colour, and not the ground's grey."""
    return np.asarray(pixels.max(axis=2) - pixels.min(axis=2) > 25)


def until_drawn(page: LivePage) -> npt.NDArray[np.int_]:
    page.browser.until("document.querySelector('#map canvas') !== null")
    for _ in range(100):
        pixels = shown(page)
        if tinted(pixels).mean() > 0.02:
            return pixels
    raise AssertionError("nothing was drawn")


def see(place: Stand, browser: Browser, device: Sender) -> LivePage:
    page = LivePage(browser, place.server.address)
    outlines = [RING, square(400, 300, 80)]
    place.send(*device.detections(*(detection(one, place=on_earth(one, WEST, NORTH, DEGREE)) for one in outlines)))
    browser.until("document.querySelector('#map-count').textContent === '2 objects of 1 frame'")
    browser.evaluate("document.querySelector('#map').scrollIntoView()")
    return page


def test_objects_lie_where_they_are_on_earth(browser: Browser, device: Sender) -> None:
    with stand() as place:
        page = see(place, browser, device)
        drawn = tinted(until_drawn(page))
        assert browser.evaluate("document.querySelector('#map-note').hidden")
        rows, columns = np.nonzero(drawn)
        # from the ring's upper left corner (100, 100) to the square's lower right one (480, 380), north up, in Mercator
        width, height = columns.max() - columns.min(), rows.max() - rows.min()
        stretch = 1 / np.cos(np.radians(NORTH))
        assert width / height == pytest.approx(380 / (280 * stretch), rel=0.05)

        def at(x: float, y: float) -> bool:
            column = columns.min() + (x - 100) / 380 * width
            row = rows.min() + (y - 100) / 280 * height
            return bool(drawn[round(row), round(column)])

        assert [at(125, 180), at(275, 180), at(410, 310)] == [True] * 3  # beside its name
        assert [at(165, 180), at(350, 150), at(150, 330)] == [False] * 3  # in the hole, and beside
        assert not [entry for entry in browser.console() if entry.source != "rendering"]
        assert set(browser.foreign_requests()) == {f"{place.broker.websocket_url}/"}


def test_objects_of_two_towns_are_seen_and_those_of_the_chosen_one_are_looked_at(browser: Browser) -> None:
    """An outline of a few metres on a map of hundreds of kilometres."""
    with stand() as place:
        page = LivePage(browser, place.server.address)
        for name, west, north in (("zurich", 8.5, 47.4), ("munich", 11.6, 48.1)):
            device = Sender(name)
            place.send(*device.detections(detection(RING, name, place=on_earth(RING, west, north, DEGREE))))
        browser.until("document.querySelector('#map-count').textContent === '2 objects of 2 frames'")
        browser.until("document.querySelector('#map canvas') !== null")
        browser.evaluate("document.querySelector('#map').scrollIntoView()")

        def areas() -> list[int]:
            return sorted(cv2.connectedComponentsWithStats(tinted(shown(page)).astype(np.uint8))[2][1:, 4].tolist())

        def until(holds: Callable[[list[int]], bool]) -> None:
            for _ in range(100):
                if holds(found := areas()):
                    return
            raise AssertionError(found)

        until(lambda found: len(found) == 2 and found[0] > 40)
        page.click("#device-list li:last-child button")
        until(lambda found: found[-1:] > [5000])
        page.click("#map-fit")
        until(lambda found: len(found) == 2 and 40 < found[0] < 300)


def test_places_at_the_ends_of_the_earth_cost_nothing_else(browser: Browser, device: Sender) -> None:
    """No polygons, no points, the poles, all of it: with the next frame the map is as it should be."""
    with stand() as place:
        page = LivePage(browser, place.server.address)
        [message] = device.detections(detection(RING, place=on_earth(RING, WEST, NORTH, DEGREE)))
        body = json.loads(message.payload)
        everywhere = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
        geometries = [
            {"type": "MultiPolygon", "coordinates": []},
            {"type": "Polygon", "coordinates": [[]]},
            {"type": "Polygon", "coordinates": [[[0, 90]] * 4]},
            {"type": "Polygon", "coordinates": [everywhere]},
        ]
        for number, geometry in enumerate(geometries):
            feature = {**body["features"][0], "geometry": geometry}
            changed = {**body, "id": f"{number}", "source": f"camera-{number}", "features": [feature]}
            place.publisher.send_bytes(message.topic, json.dumps(changed).encode())
        browser.until("document.querySelector('#map-count').textContent === '2 objects of 2 frames'")
        browser.until("document.querySelector('#map canvas') !== null")
        place.send(*device.detections(detection(RING), frame=device.frame("after.jpg")), device.heartbeat())
        page.until_frame("after.jpg")
        page.until_device("line-7", "online")
        browser.evaluate("document.querySelector('#map-fit').click() ?? true")
        assert page.problems == ""
        assert not [entry for entry in browser.console() if entry.source != "rendering"]


@pytest.mark.parametrize("styled", [False, True])
def test_an_archive_of_tiles_lies_below_them(browser: Browser, device: Sender, tmp_path: Path, styled: bool) -> None:
    archive, style = tmp_path / "ground.pmtiles", tmp_path / "style.json"
    archive.write_bytes(one_tile(np.full((256, 256, 3), GREEN[::-1], np.uint8), "© <b>somebody</b>"))
    source = {"type": "raster", "url": "pmtiles://map.pmtiles", "attribution": "© <b>somebody</b>"}
    layers = [{"id": "a", "type": "raster", "source": "a"}]
    style.write_text(json.dumps({"version": 8, "sources": {"a": source}, "layers": layers}))
    with stand(map_tiles=archive, map_style=style if styled else None) as place:
        page = see(place, browser, device)
        browser.until("document.querySelector('#map-credit').textContent === '© somebody'")
        for _ in range(100):
            pixels = shown(page)
            if np.abs(pixels - GREEN).max(axis=2).min() < 8:
                break
        assert (np.abs(pixels - GREEN).max(axis=2) < 8).mean() > 0.5
        assert not [entry for entry in browser.console() if entry.source != "rendering"]


def test_a_style_that_cannot_be_loaded_is_said(browser: Browser, device: Sender, tmp_path: Path) -> None:
    style = tmp_path / "style.json"
    source = {"type": "raster", "tiles": ["http://tiles.invalid/{z}/{x}/{y}.png"], "tileSize": 256}
    layers = [{"id": "a", "type": "raster", "source": "a"}]
    style.write_text(json.dumps({"version": 8, "sources": {"a": source}, "layers": layers}))
    with stand(map_style=style) as place:
        see(place, browser, device)
        browser.until("document.querySelector('#map-note').textContent.includes('background map cannot be loaded')")


def one_tile(image: npt.NDArray[np.uint8], attribution: str) -> bytes:
    """A PMTiles archive of the whole Earth in one picture (version 3 of its specification)."""
    tile = cv2.imencode(".png", image)[1].tobytes()
    directory = gzip.compress(bytes([1, 0, 1]) + varint(len(tile)) + bytes([1]))
    metadata = gzip.compress(json.dumps({"attribution": attribution}).encode())
    offsets = [127, len(directory), 127 + len(directory), len(metadata)]
    leaves = 127 + len(directory) + len(metadata)
    header = struct.pack(
        "<7sB11QBBBBBB4iB2i", b"PMTiles", 3, *offsets, leaves, 0, leaves, len(tile), 1, 1, 1,
        1, 2, 1, 2, 0, 0, -1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000, 0, 0, 0,
    )  # fmt: skip
    assert len(header) == 127
    return header + directory + metadata + tile


def varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
