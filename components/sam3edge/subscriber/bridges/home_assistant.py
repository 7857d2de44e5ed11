"""Home Assistant's MQTT discovery: each camera is a device there, with a sensor (how many) and a binary sensor (whether
any) for every label, and for every label in every zone that it has been seen in.

The documents are those of https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery (device discovery), retained.
States have topics of their own and are read without templates, so that no label can be more than a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

import sam3edge
from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.bridges.bridge import Retained
from sam3edge.subscriber.bridges.presence import Presence
from sam3edge.subscriber.bridges.tallies import ROOM, Tallies, Tally
from sam3edge.subscriber.cameras import Camera
from sam3edge.subscriber.connection import Outgoing
from sam3edge.subscriber.names import camera_id, identifier, one_line
from sam3edge.subscriber.reading import DeviceMessage

DISCOVERY_PREFIX = "homeassistant"
MAX_DOCUMENTS = 2 * ROOM.cameras
"""Cameras at the broker; of more, one that is known from a bridge before only gives way."""

ONLINE, OFFLINE = b"online", b"offline"
_MAX_NAME = 100
_OURS = "sam3edge_"
_ENTITY = re.compile(rf"{_OURS}[A-Za-z0-9_-]{{1,300}}")
_PLATFORMS = ("sensor", "binary_sensor")


@dataclass(frozen=True, slots=True)
class Entity:
    """A sensor and its state."""

    config: Mapping[str, Any]
    state: bytes


@dataclass(frozen=True, slots=True)
class _Known:
    """What was published of a camera: its document, and what was in it (the platform by component). The camera itself
    is not known of a document that a bridge before has left."""

    payload: bytes = b""
    platforms: Mapping[str, str] = field(default_factory=dict)
    camera: Camera | None = None


class HomeAssistant:
    """See ``Translator``.

    Args:
        states: topic below which states are published; another one for every bridge.
        discovery_prefix: as it is configured in Home Assistant.
        presence: says by heartbeats which devices are available.
    """

    def __init__(
        self,
        states: str,
        discovery_prefix: str = DISCOVERY_PREFIX,
        presence: Presence | None = None,
    ) -> None:
        self._states = states
        self._discovery = discovery_prefix
        self._tallies = Tallies()
        self._models: dict[Camera, str] = {}
        self._documents: dict[str, _Known] = {}  # by topic
        self._retained = Retained()
        self._presence = presence or Presence()  # by the devices' identifiers

    @property
    def will(self) -> Outgoing:
        """See ``Translator``."""
        return Outgoing(f"{self._states}/available", OFFLINE, retain=True)

    @property
    def subscriptions(self) -> Mapping[str, int]:
        """Home Assistant's birth, and what this bridge left on the broker before it was restarted."""
        return {
            f"{self._discovery}/status": 1,
            f"{self._discovery}/device/+/config": 1,
            f"{self._states}/+/available": 1,
        }

    def begin(self) -> Iterable[Outgoing]:
        """See ``Translator``."""
        yield Outgoing(self.will.topic, ONLINE, retain=True)
        yield from self._again()

    def take(self, message: DeviceMessage) -> Iterable[Outgoing]:
        """See ``Translator``."""
        if message["message_type"] == "status":
            yield from self._heartbeat(message)
        if message["message_type"] == "detections":
            model = message["model"]
            self._models[Camera(message["device"], message["source"])] = f"{model['name']} {model['version']}"
        for camera in self._tallies.take(message):
            yield from self._update(camera)

    def hear(self, topic: str, payload: bytes, retained: bool) -> Iterable[Outgoing]:
        """See ``Translator``."""
        if topic == f"{self._discovery}/status":
            if payload == ONLINE and not retained:
                yield from self._again()
        elif retained and topic.startswith(f"{self._states}/"):
            if self._presence.learn(topic.split("/")[-2], payload == ONLINE):
                self._retained.learn(topic, payload)
            else:
                yield from self._retained.delete(topic)
        elif not payload and topic in self._documents:
            yield from self._forget(topic)
        elif retained and topic.startswith(f"{self._discovery}/device/{_OURS}"):
            left = _Known(payload, _platforms(payload))
            known = self._documents.setdefault(topic, left)
            yield from self._remove(topic, left, known)  # where a device was faster than the broker
            yield from self._make_room()

    def tick(self) -> Iterable[Outgoing]:
        """See ``Translator``."""
        for device in self._presence.take_silent():
            yield from self._retained.put(self._availability(device), OFFLINE)

    def _heartbeat(self, message: DeviceMessage) -> Iterator[Outgoing]:
        device = identifier(message["device"])
        forgotten = self._presence.hear(device, message)
        yield from self._retained.put(self._availability(device), ONLINE if self._presence.is_here(device) else OFFLINE)
        for one in forgotten:  # not "offline": it may be there
            place = f"{self._discovery}/device/{_OURS}{one}__"
            for topic in [topic for topic in self._documents if topic.startswith(place)]:
                yield from self._delete(topic)
            yield from self._retained.delete(self._availability(one))

    def _update(self, camera: Camera) -> Iterator[Outgoing]:
        """What is new about a camera: its document where its entities are others, and states that have changed."""
        name = camera_id(camera.device, camera.source)
        topic = f"{self._discovery}/device/{_OURS}{name}/config"
        wanted = entities(name, self._tallies.of(camera), self._states)
        payload = to_json(self._document(camera, wanted)) if wanted else b""
        before, now = self._documents.get(topic, _Known()), _Known(payload, _platforms(payload), camera)
        if payload != before.payload:
            yield from self._remove(topic, before, now)
            yield Outgoing(topic, payload, retain=True)
        self._documents[topic] = now
        if not wanted:
            del self._documents[topic]
            self._models.pop(camera, None)
        for one in wanted.values():
            yield from self._retained.put(one.config["state_topic"], one.state)
        yield from self._make_room()

    def _make_room(self) -> Iterator[Outgoing]:
        """At the broker, too, where every bridge has left some."""
        if len(self._documents) > MAX_DOCUMENTS:
            yield from self._delete(next(topic for topic, known in self._documents.items() if known.camera is None))

    def _delete(self, topic: str) -> Iterator[Outgoing]:
        yield Outgoing(topic, b"", retain=True)
        yield from self._forget(topic)

    def _remove(self, topic: str, before: _Known, now: _Known) -> Iterator[Outgoing]:
        """Entities are deleted by a document that has nothing of them but their platform, and is not retained."""
        gone = {entity: platform for entity, platform in before.platforms.items() if entity not in now.platforms}
        if gone and now.payload:
            document = from_json(now.payload)
            document["components"] |= {entity: {"platform": platform} for entity, platform in gone.items()}
            yield Outgoing(topic, to_json(document))
        for entity in gone:
            yield from self._retained.delete(f"{self._states}/{entity}")

    def _forget(self, topic: str) -> Iterator[Outgoing]:
        """A camera whose document somebody has deleted: it is as if it had never spoken, and so is its device, unless
        that has another one."""
        known = self._documents.pop(topic)
        for entity in known.platforms:
            yield from self._retained.delete(f"{self._states}/{entity}")
        if known.camera is not None:
            self._tallies.forget(known.camera)
            self._models.pop(known.camera, None)
        place, _, _ = topic.rpartition("__")
        if not any(other.startswith(f"{place}__") for other in self._documents):
            device = place.removeprefix(f"{self._discovery}/device/{_OURS}")
            self._presence.forget(device)
            yield from self._retained.delete(self._availability(device))

    def _document(self, camera: Camera, wanted: Mapping[str, Entity]) -> dict[str, Any]:
        name = camera_id(camera.device, camera.source)
        device = identifier(camera.device)
        return {
            "device": {
                "identifiers": [f"{_OURS}{name}"],
                "name": one_line(f"{camera.device} {camera.source}", _MAX_NAME),
                "manufacturer": "sam3edge",
                "model": one_line(self._models.get(camera, "SAM 3"), _MAX_NAME),
            },
            "origin": {"name": "sam3edge", "sw_version": sam3edge.__version__},
            "availability": [{"topic": self.will.topic}, {"topic": self._availability(device)}],
            "availability_mode": "all",
            "components": {entity: one.config for entity, one in wanted.items()},
            "qos": 1,
        }

    def _again(self) -> Iterator[Outgoing]:
        """Everything that the broker should have."""
        for topic, known in self._documents.items():
            yield Outgoing(topic, known.payload, retain=True)
        yield from self._retained

    def _availability(self, device: str) -> str:
        return f"{self._states}/{device}/available"


def entities(camera: str, tally: Tally, states: str) -> dict[str, Entity]:
    """Of a camera, by identifiers that are the same at every time.

    Args:
        camera: its identifier.
        states: topic below which states are published.
    """
    found: dict[str, Entity] = {}
    for label, count in tally.objects.items():
        found |= _pair(f"{_OURS}{camera}__{identifier(label)}", label, count, states)
    for (zone, label), count in tally.zones.items():
        found |= _pair(f"{_OURS}{camera}__{identifier(zone)}__{identifier(label)}", f"{zone} {label}", count, states)
    return found


def _pair(identity: str, name: str, count: int, states: str) -> dict[str, Entity]:
    counted, occupied = f"{identity}__count", f"{identity}__occupancy"
    sensor = {
        "platform": "sensor",
        "unique_id": counted,
        "name": one_line(f"{name} count", _MAX_NAME),
        "state_topic": f"{states}/{counted}",
        "state_class": "measurement",
        "icon": "mdi:counter",
    }
    binary_sensor = {
        "platform": "binary_sensor",
        "unique_id": occupied,
        "name": one_line(f"{name} occupancy", _MAX_NAME),
        "state_topic": f"{states}/{occupied}",
        "device_class": "occupancy",
    }
    return {
        counted: Entity(sensor, str(count).encode()),
        occupied: Entity(binary_sensor, b"ON" if count else b"OFF"),
    }


def _platforms(payload: bytes) -> dict[str, str]:
    """What a document that this bridge has left says of its entities; nothing where it is not one."""
    try:
        components = from_json(payload)["components"]
        return {n: c["platform"] for n, c in components.items() if _ENTITY.fullmatch(n) and c["platform"] in _PLATFORMS}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
