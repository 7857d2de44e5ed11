"""The live page in a window, with a broker and what publishes to it; and what of it is drawn where."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
import shapely
from paho.mqtt.enums import CallbackAPIVersion

from sam3edge.core.types import Message
from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import PageServer
from sam3edge_simulator.mqtt.broker import Broker
from support.browser import Browser

OUTLINES = """
[...document.querySelectorAll('#camera-list > li')].map((card) => {
  const svg = card.querySelector('svg'), box = svg.viewBox.baseVal, matrix = svg.getScreenCTM();
  const corner = (x, y) => { const at = new DOMPoint(x, y).matrixTransform(matrix); return [at.x, at.y]; };
  const picture = svg.querySelector('image');
  return {
    title: card.querySelector('h3').textContent,
    caption: card.querySelector('figcaption').textContent,
    frame: [...corner(0, 0), ...corner(box.width, box.height)],
    size: [box.width, box.height],
    picture: picture && (({ x, y, width, height }) => [x, y, x + width, y + height])(picture.getBoundingClientRect()),
    objects: [...svg.querySelectorAll('g')].sort((a, b) => a.dataset.object - b.dataset.object).map((group) => {
      const path = group.lastChild, own = path.getScreenCTM();
      return path.getAttribute('d').split('Z').filter(Boolean).map((ring) => ring.slice(1).split('L').map((pair) => {
        const [x, y] = pair.split(' ').map(Number), at = new DOMPoint(x, y).matrixTransform(own);
        return [at.x, at.y];
      }));
    }),
    names: [...svg.querySelectorAll('text')].map((text) => text.textContent),
  };
})
"""
"""The cards of cameras, in CSS pixels of the window."""

DEVICES = """
Object.fromEntries([...document.querySelectorAll('#device-list > li')].map(
  (row) => [row.querySelector('.name').textContent, row.querySelector('.word').textContent]))
"""

COMMANDS = """
[...document.querySelectorAll('#command-list > li')].map((row) => [row.querySelector('.state').textContent,
  row.lastElementChild.textContent])
"""


@dataclass(frozen=True)
class Card:
    """A camera as the page draws it; outlines are in pixels of the frame, by where they are in the window."""

    title: str
    caption: str
    frame: tuple[float, float, float, float]
    picture: tuple[float, float, float, float] | None
    outlines: list[shapely.Geometry]
    names: list[str]


class LivePage:
    """The page in a window; it has connected, and what it subscribes to is granted."""

    def __init__(self, browser: Browser, address: str, connected: bool = True) -> None:
        self.browser = browser
        browser.open(address)
        if connected:
            self.connected()

    def connected(self) -> None:
        """Wait until it has a connection."""
        self.browser.until("document.querySelector('#connection').dataset.phase === 'connected'")

    @property
    def devices(self) -> dict[str, str]:
        """What each device is said to be: online, offline ..."""
        return dict(self.browser.evaluate(DEVICES))

    @property
    def cards(self) -> list[Card]:
        return [_card(one) for one in self.browser.evaluate(OUTLINES)]

    @property
    def problems(self) -> str:
        return "\n".join(
            self.browser.evaluate("[...document.querySelectorAll('#problems > li')].map((one) => one.textContent)")
        )

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Commands of the page, the newest first: what became of each, and why."""
        return [(state, text) for state, text in self.browser.evaluate(COMMANDS)]

    def until_device(self, name: str, word: str) -> None:
        self.browser.until(f"({DEVICES.strip()})[arguments[0]] === arguments[1]", name, word)

    def until_frame(self, name: str) -> None:
        """Wait until a frame of this name is drawn, in some camera."""
        self.browser.until(
            "[...document.querySelectorAll('#camera-list > li')].some((card) => "
            "card.querySelector('svg').getAttribute('aria-label')?.startsWith(`${arguments[0]}: `))",
            name,
        )

    def until_problem(self, words: str) -> None:
        self.browser.until("document.querySelector('#problems').textContent.includes(arguments[0])", words)

    def click(self, selector: str) -> None:
        self.browser.evaluate("document.querySelector(arguments[0]).click()", selector)

    def write(self, selector: str, text: str) -> None:
        """Replace what a field holds, as somebody who types would."""
        self.browser.evaluate("document.querySelector(arguments[0]).select()", selector)
        self.browser.evaluate("document.querySelector(arguments[0]).focus()", selector)
        self.browser.press(*text.split("\n")[:1])
        for line in text.split("\n")[1:]:
            self.browser.press("\ue007", line)


def _card(one: dict[str, Any]) -> Card:
    left, top, right, bottom = one["frame"]
    width, height = one["size"]

    def geometry(rings: Sequence[Sequence[tuple[float, float]]]) -> shapely.Geometry:
        even_odd = functools.reduce(shapely.symmetric_difference, map(shapely.Polygon, rings))
        scale = width / (right - left), height / (bottom - top)
        return shapely.transform(even_odd, lambda at: (at - (left, top)) * scale)

    picture = None if one["picture"] is None else tuple(one["picture"])
    return Card(
        one["title"], one["caption"], tuple(one["frame"]), picture, list(map(geometry, one["objects"])), one["names"]
    )  # type: ignore[arg-type]


class Publisher:
    """Publishes as devices do, at QoS 1."""

    def __init__(self, port: int, will: tuple[str, str] | None = None, **connect: Any) -> None:
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if will is not None:
            self.client.will_set(will[0], will[1], qos=1, retain=True)
        self.client.connect("127.0.0.1", port, **connect)
        self.client.loop_start()

    def send(self, *messages: Message, retain: bool = False) -> None:
        for one in messages:
            self.send_bytes(one.topic, one.payload, retain)

    def send_bytes(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(30)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def publishing(port: int) -> Iterator[Publisher]:
    publisher = Publisher(port)
    try:
        yield publisher
    finally:
        publisher.close()


@dataclass(frozen=True)
class Stand:
    """A broker, the page's server, and somebody who publishes."""

    broker: Broker
    server: PageServer
    publisher: Publisher

    @property
    def send(self) -> Any:
        return self.publisher.send


@contextmanager
def stand(**configuration: Any) -> Iterator[Stand]:
    """All of it, for a page that is configured so."""
    server = PageServer()
    with (
        Broker(origins=server.origins) as broker,
        server.serving(PageConfiguration(broker.websocket_url, **configuration)),
        publishing(broker.port) as publisher,
    ):
        yield Stand(broker, server, publisher)
