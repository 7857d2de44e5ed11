"""``make demo OPEN=1`` from one end to the other, and the page that a demo leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import shapely
import shapely.geometry

from support.browser import Browser
from support.live_page import LivePage
from support.waiting import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("browser"), pytest.mark.long]

ROOT = Path(__file__).parents[3]
FIGURES = """
[...document.querySelectorAll('figure')].map((figure) => {
  const image = figure.querySelector('image'), box = image.getBoundingClientRect();
  const outline = figure.querySelector('.outline'), matrix = outline.getScreenCTM();
  const point = new DOMPoint(...outline.getAttribute('d').slice(1).split('L')[0].split(' ').map(Number));
  const at = point.matrixTransform(matrix);
  return [figure.querySelector('strong').textContent, [(at.x - box.x) / box.width, (at.y - box.y) / box.height]];
})
"""


def test_it_opens_the_page_and_goes_on_until_it_is_interrupted(tmp_path: Path, browser: Browser) -> None:
    images, out, told = tmp_path / "images", tmp_path / "out", tmp_path / "address"
    images.mkdir()
    for scene in sorted((ROOT / "assets" / "scenes").glob("*.jpg"))[:3]:
        shutil.copy(scene, images)
    opener = tmp_path / "browser"
    opener.write_text(f'#!/bin/sh\necho "$1" > {told}.part && mv {told}.part {told}\n')
    opener.chmod(0o755)
    command = [sys.executable, "-m", "sam3edge_simulator.demo", "--images", str(images), "--out", str(out), "--open"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "BROWSER": f"{opener} %s", "DISPLAY": ":0"}
    output = tmp_path / "output"
    with output.open("wb") as stream:
        demo = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, start_new_session=True)
        try:
            until(told.exists, 120)
            page = LivePage(browser, told.read_text().strip())
            page.until_device("laptop", "online")
            browser.until("document.querySelector('#camera-list figcaption')?.textContent.startsWith('scene-03.jpg')")
            until(lambda: "Ctrl-C ends it" in output.read_text(), 60)
            assert demo.poll() is None
            shutil.copy(images / "scene-01.jpg", out / "watched" / "another.part")
            (out / "watched" / "another.part").rename(out / "watched" / "another.jpg")
            page.until_frame("another.jpg")
            browser.until("document.querySelector('#camera-list image') !== null")
            browser.reload()
            page.until_frame("another.jpg")
            assert page.problems == ""
            page.write("#command-prompts", "ship")
            page.click("#command-form button[value=set_prompts]")
            browser.until("document.querySelector('#command-list .state')?.textContent.includes('done')")
        finally:
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0, output.read_text()
    assert "3 of 3 frames answered" in output.read_text()

    before = len(browser.requests())
    browser.open((out / "index.html").as_uri())
    figures = dict(browser.evaluate(FIGURES))
    assert list(figures) == ["scene-01.jpg", "scene-02.jpg", "scene-03.jpg"]
    for name, (x, y) in figures.items():
        [body] = [json.loads(path.read_text()) for path in (out / "geojson").rglob(f"{name}*.geojson")]
        largest = max(body["features"], key=lambda one: one["properties"]["area"])["properties"]["imageGeometry"]
        first = shapely.Point(x * body["frame"]["width"], y * body["frame"]["height"])
        assert shapely.geometry.shape(largest).boundary.distance(first) < 0.1
    loaded = "[...document.querySelectorAll('image')].map((one) => one.getAttribute('href'))"
    assert all((out / path).is_file() for path in browser.evaluate(loaded))
    assert {address.split(":")[0] for address in browser.requests()[before:]} == {"file"}
    assert not [entry for entry in browser.console() if entry.source == "security"]
