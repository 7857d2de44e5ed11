"""The page of a finished demo."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np
import shapely

from sam3edge_serving.live_map.finished import FinishedFrame, write_finished_page
from support.live_messages import RING, Sender, detection, square

EVIL = "<script>alert('&')</script>"


def written(tmp_path: Path) -> tuple[Path, str]:
    image = tmp_path / "in" / "a.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), np.full((480, 640, 3), (40, 80, 120), np.uint8))
    [message] = Sender().detections(detection(RING, EVIL, 0.9), detection(square(0, 0), "dent", 0.5))
    frames = [
        FinishedFrame(f"{EVIL}.png", image, json.loads(message.payload)["features"], {"vision": 12.3}),
        FinishedFrame("b.png", tmp_path / "gone.png", json.loads(message.payload)["features"]),
        FinishedFrame("c.png", image, reason=f"expected an image {EVIL}"),
    ]
    page = write_finished_page(tmp_path / "out", f"the demo {EVIL}", {"looked for": EVIL}, frames, [EVIL, "dent"])
    return page, page.read_text()


def test_it_is_one_folder_without_a_script_or_an_address(tmp_path: Path) -> None:
    page, text = written(tmp_path)
    assert "<script" not in text
    assert not re.search(r"https?://|src=", text)
    pictures = re.findall(r'href="([^"]+)"', text)
    assert pictures == ["page/00000.jpg"]
    assert cv2.imread(str(page.parent / pictures[0])).shape == (480, 640, 3)


def test_folders_beside_it_are_linked(tmp_path: Path) -> None:
    facts: dict[str, str | dict[str, str]] = {"in this folder": {"overlays": "over lays", EVIL: EVIL}, "a": "b"}
    text = write_finished_page(tmp_path, "the demo", facts, [], []).read_text()
    links = dict(re.findall(r'<a href="([^"]+)">([^<]+)</a>', text))
    assert {unquote(path): unescape(words) for path, words in links.items()} == {"over lays": "overlays", EVIL: EVIL}
    assert "<dd>b</dd>" in text
    assert "<script" not in text


def test_a_name_that_turns_itself_around_turns_nothing_else(tmp_path: Path) -> None:
    name, reason = "\u202egpj.exe", "expected an image, got \u2067x"
    text = write_finished_page(tmp_path, "the demo", {}, [FinishedFrame(name, tmp_path, reason=reason)], []).read_text()
    isolated = re.findall(r"<bdi[^>]*>([^<]*)</bdi>", text)
    assert isolated == [name, reason]
    assert not set("\u202e\u2067") & set(re.sub(r"<bdi[^>]*>[^<]*</bdi>", "", text))


def test_its_policy_allows_its_own_style_and_pictures_only(tmp_path: Path) -> None:
    _, text = written(tmp_path)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert " ".join(policy[1].split()).startswith(
        f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{digest}';"
    )


def test_outlines_are_those_of_the_message_with_their_holes(tmp_path: Path) -> None:
    _, text = written(tmp_path)
    [drawing] = re.findall(r"<svg.*?</svg>", text)
    svg = ElementTree.fromstring(drawing)
    assert svg.get("viewBox") == "0 0 640 480"
    outlines = [path.get("d") or "" for path in svg.iter("path") if path.get("class") == "outline"]
    assert [d.count("M") for d in outlines] == [2, 1]  # the ring with its hole, the largest first
    points = {tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", outlines[0])}
    assert points == {(x, y) for ring in (RING.exterior, *RING.interiors) for x, y in ring.coords}
    assert [text.text for text in svg.iter("text")] == [f"{EVIL} 0.90", "dent 0.50"]
    assert "expected an image &lt;script&gt;" in text


def test_names_are_large_enough_and_lie_over_no_other(tmp_path: Path) -> None:
    """A drawing is at least 320 CSS pixels wide."""
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((480, 640, 3), np.uint8))
    crowd = [detection(square(100 + 7 * i, 100 + 2 * i), f"label-{i}", (20 - i) / 20) for i in range(20)]
    [message] = Sender().detections(*crowd, detection(square(400, 400), "apart", 0.01))
    frame = FinishedFrame("a.png", image, json.loads(message.payload)["features"])
    text = write_finished_page(tmp_path / "out", "the demo", {}, [frame], ["apart"]).read_text()
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="([\d.]+)"[^>]*>([^<]*)', text)
    assert names[0][3] == "label-0 1.00"
    assert "apart 0.01" in [words for _, _, _, words in names]
    assert 2 < len(names) < 21
    assert all(float(size) * 320 / 640 >= 11 for _, _, size, _ in names)
    boxes = [(float(x), float(y), float(x) + 0.6 * float(size) * len(words), float(y) + float(size))
             for x, y, size, words in names]  # fmt: skip
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[:number]:
            assert left >= other[2] or other[0] >= right or top >= other[3] or other[1] >= bottom


def test_the_name_of_a_slanted_object_stays_at_it(tmp_path: Path) -> None:
    """The upper left corner of its box may be far from it, on another object."""
    image, road = tmp_path / "a.png", shapely.Polygon([(0, 400), (640, 80), (640, 130), (0, 450)])
    cv2.imwrite(str(image), np.zeros((480, 640, 3), np.uint8))
    [message] = Sender().detections(detection(road, "road", 0.97))
    frame = FinishedFrame("a.png", image, json.loads(message.payload)["features"])
    text = write_finished_page(tmp_path / "out", "the demo", {}, [frame], ["road"]).read_text()
    [(x, y, size)] = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="([\d.]+)"', text)
    assert float(x) == 0
    below = shapely.box(0, float(y), len("road 0.97") * 0.6 * float(size), float(y) + float(size))
    assert below.intersects(road)
    assert float(y) > 250
