"""Topics and events as Frigate publishes them (https://docs.frigate.video/integrations/mqtt), from tracks and counts.

    frigate/available                   online, offline; retained, and the will
    frigate/<camera>/<label>            how many there are now, and under the label "all" in sum
    frigate/<zone>/<label>              likewise in a zone, over all cameras that have a zone of this name
    frigate/events                      new, update and end of an object, with what was known before and after

Counts are not retained, as Frigate's are not: nobody would correct them after this bridge is gone. Of a device that
stops, or is not heard of any more, they become 0.

What Frigate counts and a device's events do not say is a lower bound: ``motionless_count`` is 1 for what is stationary,
``position_changes`` is 1 in the event in which something that was stationary moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.bridges.presence import Presence
from sam3edge.subscriber.bridges.tallies import NOTHING, Tallies, Tally
from sam3edge.subscriber.cameras import Camera
from sam3edge.subscriber.connection import Outgoing
from sam3edge.subscriber.names import camera_id, identifier, topic_level
from sam3edge.subscriber.reading import DeviceMessage, moment

PREFIX = "frigate"
ALL = "all"


class Frigate:
    """See ``Translator``.

    Args:
        prefix: topic levels.
        presence: says which devices are heard of.
    """

    subscriptions: Mapping[str, int] = {}

    def __init__(self, prefix: str = PREFIX, presence: Presence | None = None) -> None:
        self._prefix = prefix
        self._presence = presence or Presence()
        self._tallies = Tallies()
        self._cameras: dict[Camera, Tally] = {}
        self._zone_labels: dict[str, tuple[str, ...]] = {}
        self._counted: dict[str, int] = {}  # by topic

    @property
    def will(self) -> Outgoing:
        """See ``Translator``."""
        return Outgoing(f"{self._prefix}/available", b"offline", retain=True)

    def begin(self) -> Iterable[Outgoing]:
        """See ``Translator``."""
        yield Outgoing(self.will.topic, b"online", retain=True)
        yield from (self._count(topic, count) for topic, count in self._counted.items())

    def take(self, message: DeviceMessage) -> Iterable[Outgoing]:
        """See ``Translator``."""
        if message["message_type"] == "event":
            yield Outgoing(f"{self._prefix}/events", to_json(event(message)))
        device = message["device"]
        gone = self._presence.hear(device, message)
        yield from self._update(self._tallies.take(message))
        yield from self._leave(gone if self._presence.is_here(device) else [*gone, device])

    def hear(self, topic: str, payload: bytes, retained: bool) -> Iterable[Outgoing]:
        """Nothing is subscribed to."""
        return ()

    def tick(self) -> Iterable[Outgoing]:
        """See ``Translator``."""
        return self._leave(self._presence.take_silent())

    def _leave(self, devices: Iterable[str]) -> Iterator[Outgoing]:
        for device in devices:
            yield from self._update(self._tallies.leave(device))

    def _update(self, cameras: Iterable[Camera]) -> Iterator[Outgoing]:
        """What is new about cameras, and the zones that they see."""
        zones: set[str] = set()
        for camera in cameras:
            before, after = self._cameras.pop(camera, NOTHING), self._tallies.of(camera)
            if after != NOTHING:
                self._cameras[camera] = after
            yield from self._counts(camera_id(camera.device, camera.source), before.objects, after.objects)
            zones |= {zone for tally in (before, after) for zone, _ in tally.zones}
        yield from self._zones(zones)

    def _counts(self, name: str, before: Iterable[str], now: Mapping[str, int]) -> Iterator[Outgoing]:
        """Of a camera or zone, by label and in sum, where they have changed; what is not counted any more is 0."""
        labels = {**dict.fromkeys(before, 0), **now, ALL: sum(now.values())}
        for label, count in labels.items():
            topic = f"{self._prefix}/{name}/{topic_level(label)}"
            known = self._counted.pop(topic, None)
            if label in now or (label == ALL and now):
                self._counted[topic] = count
            elif known is None:
                continue
            if count != known:
                yield self._count(topic, count)

    def _count(self, topic: str, count: int) -> Outgoing:
        return Outgoing(topic, str(count).encode())

    def _zones(self, zones: Iterable[str]) -> Iterator[Outgoing]:
        """A zone of several cameras is one, as in Frigate."""
        now: dict[str, Counter[str]] = {zone: Counter() for zone in sorted(zones)}
        if not now:
            return
        for tally in self._cameras.values():
            for (zone, label), count in tally.zones.items():
                if zone in now:
                    now[zone][label] += count
        for zone, counts in now.items():
            name = identifier(zone) if "__" in zone else topic_level(zone)  # a camera's has "__"
            before = self._zone_labels.pop(zone, ())
            if counts:
                self._zone_labels[zone] = tuple(counts)
            yield from self._counts(name, before, counts)


def event(message: DeviceMessage) -> dict[str, Any]:
    """A device's event as Frigate writes it."""
    camera = camera_id(message["device"], message["source"])
    after = message["after"]
    moved = any(reason["kind"] == "active" for reason in message["reasons"])
    return {
        "type": message["type"],
        "before": _object(camera, message.get("before", after), unsure=message["type"] == "new"),
        "after": _object(camera, after, moved=moved),
    }


def _object(camera: str, track: Mapping[str, Any], *, unsure: bool = False, moved: bool = False) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(value) for value in track["box"])
    return {
        "id": track["id"],
        "camera": camera,
        "frame_time": _seconds(track["frame_time"]),
        "snapshot": None,
        "label": track["label"],
        "sub_label": None,
        "top_score": track["top_score"],
        "false_positive": unsure,
        "start_time": _seconds(track["start_time"]),
        "end_time": None if track["end_time"] is None else _seconds(track["end_time"]),
        "score": track["score"],
        "box": [x0, y0, x1, y1],
        "area": round(track["area"]),
        "ratio": round((x1 - x0) / max(1, y1 - y0), 6),
        "region": [x0, y0, x1, y1],
        "active": not track["stationary"],
        "stationary": track["stationary"],
        "motionless_count": int(track["stationary"]),
        "position_changes": int(moved),
        "current_zones": track["current_zones"],
        "entered_zones": track["entered_zones"],
        "has_clip": False,
        "has_snapshot": False,
        "attributes": {},
        "current_attributes": [],
        "thumbnail": None,
    }


def _seconds(time: str) -> float:
    """Since 1970."""
    return moment(time).timestamp()
