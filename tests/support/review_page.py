"""The review page in a browser, as a labeler works with it, and what of it is drawn where."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import shapely
from selenium.webdriver.common.keys import Keys

from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.core.types import Frame, MaskPrediction, VisualPrompt
from sam3edge.engines.fake import FakeInteractiveSegmenter
from sam3edge_pipeline.labeling.review.desk import ReviewDesk
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.review.server import ReviewServer
from support.browser import Browser
from support.reviews import objects_of, scene, scratch_of, ticking

OUTLINES = """
[...document.querySelectorAll('#objects > g')].map((group) => {
  const path = group.lastChild, matrix = path.getScreenCTM();
  const rings = path.getAttribute('d').split('Z').filter(Boolean).map((ring) => ring.slice(1).split('L').map((at) => {
    const [x, y] = at.split(' ').map(Number), point = new DOMPoint(x, y).matrixTransform(matrix);
    return [point.x, point.y];
  }));
  return { object: Number(group.dataset.object), verdict: path.getAttribute('class'), rings };
}).sort((one, other) => one.object - other.object)
"""
"""The outlines that are drawn, in CSS pixels of the window."""

IMAGE = "(({ x, y, width, height }) => [x, y, width, height])(document.querySelector('#image').getBoundingClientRect())"
"""Where the browser has put the image's pixels."""


CENTER = """
(({ x, y, width, height }) => [x + width / 2, y + height / 2])(
  document.querySelector(arguments[0]).getBoundingClientRect()
)
"""
"""Of an element."""


@dataclass(frozen=True)
class Shown:
    """An object as the page draws it; the outline is in pixels of the image."""

    verdict: str
    outline: shapely.Geometry


class ReviewPage:
    """The page in a window."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        browser.open(address)
        self.settled()

    def settled(self) -> None:
        """Wait until nothing is in progress any more."""
        self.browser.until("!document.body.hasAttribute('aria-busy')")

    def press(self, *keys: str) -> None:
        """Press keys, each when the one before is done with."""
        for key in keys:
            self.browser.press(key)
            self.settled()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the image is in the window, by where the browser has put the image."""
        left, top, across, down = self.browser.evaluate(IMAGE)
        width, height = self.size
        return left + x / width * across, top + y / height * down

    def click(self, x: float, y: float, **how: Any) -> None:
        """Click at a place of the image."""
        self.browser.click(*self.place(x, y), **how)
        self.settled()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        rows, columns = scene(self.seed).image.shape[:2]
        return columns, rows

    @property
    def seed(self) -> int:
        """Of the scene that is shown."""
        found = re.fullmatch(r"<i>line</i>/scene-(\d+)\.png", self.browser.text("#name"))
        assert found is not None, self.browser.text("#name")
        return int(found[1])

    @property
    def shown(self) -> list[Shown]:
        """What is drawn, by where it is drawn."""
        left, top, across, down = self.browser.evaluate(IMAGE)
        width, height = self.size

        def geometry(rings: Sequence[Sequence[tuple[float, float]]]) -> shapely.Geometry:
            even_odd = functools.reduce(shapely.symmetric_difference, map(shapely.Polygon, rings))
            return shapely.transform(even_odd, lambda at: (at - (left, top)) * (width / across, height / down))

        return [Shown(one["verdict"], geometry(one["rings"])) for one in self.browser.evaluate(OUTLINES)]

    @property
    def verdicts(self) -> list[str]:
        """Of the objects, in order."""
        return [one.verdict for one in self.shown]

    @property
    def current(self) -> int:
        """Index of the object that is marked."""
        return int(self.browser.evaluate("document.querySelector('#objects > .current').dataset.object"))

    def click_on(self, selector: str) -> None:
        """Click on an element."""
        self.browser.click(*self.browser.evaluate(CENTER, selector))
        self.settled()

    def end(self) -> None:
        """Accept all, say that there is no ship, and end the image."""
        self.press("A")
        self.click_on("#phrases li:last-child button")
        self.press("0", Keys.ENTER)

    def text(self, name: str) -> str:
        """What an element says."""
        return self.browser.text(f"#{name}")


class Gated(FakeInteractiveSegmenter):
    """Outlines when it is let."""

    def __init__(self) -> None:
        self.asked, self.let = threading.Event(), threading.Event()

    def predict(self, frame: Frame, prompts: Sequence[VisualPrompt]) -> Sequence[MaskPrediction]:
        self.asked.set()
        assert self.let.wait(30)
        return super().predict(frame, prompts)


@contextmanager
def serving(queue: ReviewQueue, segmenter: InteractiveSegmenter | None = None) -> Iterator[ReviewServer]:
    server = ReviewServer(ReviewDesk(queue, "ann", segmenter or FakeInteractiveSegmenter(), ticking()))
    server.start()
    try:
        yield server
    finally:
        server.close()


def inside(seed: int, index: int) -> tuple[float, float]:
    """A place on an object of a scene."""
    point = objects_of(seed)[index].outline.representative_point()
    return point.x, point.y


def iou(one: shapely.Geometry, other: shapely.Geometry) -> float:
    return float(shapely.intersection(one, other).area / shapely.union(one, other).area)


def same(shown: Sequence[Shown], stored: Sequence[shapely.Geometry]) -> bool:
    """Whether outlines are the same to a twentieth of a pixel, in their order."""
    return len(shown) == len(stored) and all(
        shapely.hausdorff_distance(shapely.boundary(one.outline), shapely.boundary(other)) < 0.05
        for one, other in zip(shown, stored, strict=True)
    )


def outlines(queue: ReviewQueue) -> list[shapely.Geometry]:
    """What is stored of the first image's objects."""
    return [one.outline for one in queue.review(queue.ids[0]).objects]


def verdicts(queue: ReviewQueue) -> list[str]:
    """What is stored of the first image's objects."""
    return [one.verdict for one in queue.review(queue.ids[0]).objects]


def review(page: ReviewPage) -> list[Shown]:
    """Correct one object, reject the one that is none, accept the others, end it; what was shown before that."""
    wrong, count = scratch_of(page.seed), len(page.shown)
    for index in range(count):
        assert page.current == index
        if index == wrong:
            page.click(*inside(page.seed, wrong))
            page.press("n")
        else:
            page.press("x" if index == count - 1 else "a")
    page.click_on("#phrases li:last-child button")
    page.press("0")
    assert "Enter" in page.text("hint")
    shown = page.shown
    page.press(Keys.ENTER)
    return shown
