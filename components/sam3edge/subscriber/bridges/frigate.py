"""Topics and events as Frigate publishes them (https://docs.frigate.video/integrations/mqtt), from tracks and counts.

    frigate/available                   online, offline; retained, and the will
    frigate/<camera>/<label>            how many there are now, and under the label "all" in sum; retained
    frigate/<zone>/<label>              likewise in a zone, over all cameras that have a zone of this name
    frigate/events                      new, update and end of an object, with what was known before and after

What Frigate counts and a device's events do not say is a lower bound: ``motionless_count`` is 1 for what is stationary,
``position_changes`` is 1 in the event in which something that was stationary moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sam3edge.core.messages.envelope import to_json
from sam3edge.subscriber.bridges.bridge import Retained
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
    """

    subscriptions: Mapping[str, int] = {}

    def __init__(self, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self._tallies = Tallies()
        self._cameras: dict[Camera, Tally] = {}
        self._zone_labels: dict[str, tuple[str, ...]] = {}
        self._states = Retained()

    @property
    def will(self) -> Outgoing:
        """See ``Translator``."""
        return Outgoing(f"{self._prefix}/available", b"offline", retain=True)

    def begin(self) -> Iterable[Outgoing]:
        """See ``Translator``."""
        yield Outgoing(self.will.topic, b"online", retain=True)
        yield from self._states

    def take(self, message: DeviceMessage) -> Iterable[Outgoing]:
        """See ``Translator``."""
        if message["message_type"] == "event":
            yield Outgoing(f"{self._prefix}/events", to_json(event(message)))
        zones: set[str] = set()
        for camera in self._tallies.take(message):
            before, after = self._cameras.pop(camera, NOTHING), self._tallies.of(camera)
            if after != NOTHING:
                self._cameras[camera] = after
            yield from self._counts(camera_id(camera.device, camera.source), before.objects, after.objects)
            zones |= {zone for tally in (before, after) for zone, _ in tally.zones}
        for zone in sorted(zones):
            yield from self._zone(zone)

    def hear(self, topic: str, payload: bytes, retained: bool) -> Iterable[Outgoing]:
        """Nothing is subscribed to."""
        return ()

    def tick(self) -> Iterable[Outgoing]:
        """Time changes nothing."""
        return ()

    def _counts(self, name: str, before: Iterable[str], now: Mapping[str, int]) -> Iterator[Outgoing]:
        """Of a camera or zone: by label and in sum; what is not counted any more is deleted."""
        payloads = {label: str(count).encode() for label, count in now.items()}
        if now:
            payloads[ALL] = str(sum(now.values())).encode()  # so what is called "all" is counted with the others only
        for label in [*before, ALL]:
            payloads.setdefault(label, b"")
        for label, payload in payloads.items():
            yield from self._states.put(f"{self._prefix}/{name}/{topic_level(label)}", payload)

    def _zone(self, zone: str) -> Iterator[Outgoing]:
        """A zone of several cameras is one, as in Frigate."""
        now: Counter[str] = Counter()
        for tally in self._cameras.values():
            for (name, label), count in tally.zones.items():
                if name == zone:
                    now[label] += count
        name = identifier(zone) if "__" in zone else topic_level(zone)  # a camera's has "__"
        before = self._zone_labels.pop(zone, ())
        if now:
            self._zone_labels[zone] = tuple(now)
        yield from self._counts(name, before, now)


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
