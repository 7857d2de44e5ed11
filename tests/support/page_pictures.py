"""The pictures of the live page in the README, from the page itself: ``make page-picture``.

A laptop nucleus with the demo model is given aerial scenes with places, one a second, and Chromium looks on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.transform import from_origin

from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import PageServer
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.profiles import CLASSIC
from support.browser import WEBGL, Browser, empty_window, launched
from support.device_rig import Rig
from support.live_page import LivePage

ROOT = Path(__file__).parents[2]
SCENES = (3, 5, 6, 7, 8, 9, 10, 11, 12, 13)
"""Those of ``assets/scenes`` that are seen from above."""

EAST, NORTH, STEP, METRES = 465_000.0, 5_247_000.0, 230.0, 0.35
"""Where the first scene lies (UTM 32 north), how far the next ones are away, and metres of a pixel."""

COLUMNS = 4
SIZE = 1440, 1180
MOVING_SIZE, MOVING_QUALITY, MILLISECONDS = (960, 787), 65, 300
"""Of the moving picture: CSS pixels, quality of its frames, and how long each is seen."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, required=True, help="JPEG")
    parser.add_argument("--moving", type=Path, required=True, help="animated WebP")
    given = parser.parse_args()
    server = PageServer()
    broker = Broker(origins=server.origins)
    with tempfile.TemporaryDirectory() as folder:
        prompts = ("ship", "car", "building", "field", "road", "tree")
        rig = Rig(Path(folder), ROOT / "assets" / "demo-bundle", CLASSIC, prompts=prompts, broker=broker)
        configuration = PageConfiguration(broker.websocket_url, pictures=True, picture_seconds=0)
        try:
            with server.serving(configuration), launched(WEBGL) as driver, empty_window(driver) as browser:
                rig.deploy_model()
                rig.deploy_segmenter(Georeference={"Type": "raster"})
                browser.look(*SIZE)
                page = LivePage(browser, server.address)
                page.until_device("line-7", "online")
                frames = feed(rig, page)
                cv2.imwrite(str(given.picture), browser.screenshot()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
                write_moving(given.moving, frames)
        finally:
            rig.close()


def feed(rig: Rig, page: LivePage) -> list[npt.NDArray[np.uint8]]:
    """Give the device one scene after the other, and take what is to be seen meanwhile."""
    page.browser.evaluate("document.querySelector('input[name=trail][value=all]').click()")
    taken = []
    for number, scene in enumerate(SCENES):
        rig.put_bytes(f"flight-{scene:02}.tif", located(ROOT / "assets" / "scenes" / f"scene-{scene:02}.jpg", number))
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            taken.append(page.browser.screenshot())
            time.sleep(MILLISECONDS / 1000)
    last = f"flight-{SCENES[-1]:02}.tif"
    page.until_frame(last)
    settle(page.browser)
    return [*taken, *[page.browser.screenshot()] * 6]


def located(path: Path, number: int) -> bytes:
    """The image as a GeoTIFF, in its place of the flight."""
    image = cv2.imread(str(path))
    assert image is not None
    row, column = divmod(number, COLUMNS)
    place = from_origin(EAST + column * STEP, NORTH - row * STEP, METRES, METRES)
    height, width = image.shape[:2]
    shape = {"width": width, "height": height, "count": 3, "dtype": "uint8"}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", crs="EPSG:32632", transform=place, compress="deflate", **shape) as raster:
            raster.write(np.moveaxis(image[..., ::-1], 2, 0))
        return bytes(memory.read())


def settle(browser: Browser) -> None:
    """Until the chart and the map have drawn the last frame."""
    browser.settled("await new Promise((resolve) => setTimeout(resolve, 2500));")


def write_moving(path: Path, frames: list[npt.NDArray[np.uint8]]) -> None:
    """As an animation that goes on for ever."""
    animation = cv2.Animation()
    small = [cv2.resize(frame, MOVING_SIZE, interpolation=cv2.INTER_AREA) for frame in frames]
    animation.frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in small]
    animation.durations = [MILLISECONDS] * len(small)
    cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, MOVING_QUALITY])


if __name__ == "__main__":
    main()
