"""How many objects of which label every camera has now, in all and in zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sam3edge.subscriber.cameras import Camera, Cameras, Room
from sam3edge.subscriber.reading import DeviceMessage

ROOM = Room(cameras=500)

MAX_LABELS, MAX_PAIRS = 100, 200
"""Labels of a camera, and zones times labels; further ones are left out."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Objects that are there now.

    Attributes:
        objects: by label; every label that is looked for, none of it or not.
        zones: by zone and label; those that have been seen together once.
    """

    objects: Mapping[str, int]
    zones: Mapping[tuple[str, str], int]


NOTHING = Tally({}, {})


@dataclass(slots=True)
class _State:
    """What is known of a camera: the labels that its prompts may lead to (with the prompt's text), and two sources of
    counts, of which tracks are the better one: they do not flicker."""

    labels: dict[str, str] = field(default_factory=dict)
    pairs: dict[tuple[str, str], None] = field(default_factory=dict)
    in_frame: Tally = NOTHING
    tracked: Tally | None = None


class Tallies:
    """See the module. Takes detections, counts, events and heartbeats in the order in which they come."""

    def __init__(self, room: Room = ROOM) -> None:
        self._cameras: Cameras[_State] = Cameras(room)

    def take(self, message: DeviceMessage) -> list[Camera]:
        """Take a message; returns the cameras whose tally may be another now; it is empty of one that was forgotten."""
        kind, device = message["message_type"], message["device"]
        if kind == "status" and "tracking" not in message:
            stale = [one for one in self._cameras.items() if one[0].device == device and one[1].tracked is not None]
            for _, state in stale:
                state.tracked = None
            return [camera for camera, _ in stale]
        if kind not in ("detections", "event", "counts"):
            return []
        camera = Camera(device, message["source"])
        state = self._cameras.get(camera) or _State()
        if kind == "detections":
            self._look(state, message)
        elif kind == "event":
            self._learn(state, {message["after"]["label"]: message["after"]["prompt"]})
        else:
            state.tracked = _counted(message)
            self._meet(state, ((one["zone"], one["label"]) for one in message["zones"]))
        return [camera, *self._cameras.put(camera, state)]

    def of(self, camera: Camera) -> Tally:
        """The tally of a camera."""
        state = self._cameras.get(camera) or _State()
        now = state.in_frame if state.tracked is None else state.tracked
        return Tally(
            {label: now.objects.get(label, 0) for label in state.labels},
            {pair: now.zones.get(pair, 0) for pair in state.pairs if pair[1] in state.labels},
        )

    def forget(self, camera: Camera) -> None:
        """As if it had never spoken."""
        self._cameras.forget(camera)

    def leave(self, device: str) -> list[Camera]:
        """Forget what a device has; returns its cameras."""
        gone = [camera for camera, _ in self._cameras.items() if camera.device == device]
        for camera in gone:
            self._cameras.forget(camera)
        return gone

    def _look(self, state: _State, message: DeviceMessage) -> None:
        properties = [feature["properties"] for feature in message["features"]]
        prompts = {p["text"]: p["label"] for p in message["prompts"] if p["text"] not in message["unsupported_prompts"]}
        if not message.get("prompts_omitted"):
            state.labels = {label: text for label, text in state.labels.items() if text in prompts}
        self._learn(state, {label: text for text, label in prompts.items()})
        self._learn(state, {p["label"]: p["prompt"] for p in properties})
        pairs = [(zone, p["label"]) for p in properties for zone in p.get("zones", ())]
        state.pairs = {pair: None for pair in state.pairs if pair[1] in state.labels}
        self._meet(state, pairs)
        state.in_frame = Tally(Counter(p["label"] for p in properties), Counter(pairs))

    def _learn(self, state: _State, labels: Mapping[str, str]) -> None:
        for label, text in labels.items():
            if len(state.labels) < MAX_LABELS:
                state.labels.setdefault(label, text)

    def _meet(self, state: _State, pairs: Iterable[tuple[str, str]]) -> None:
        for zone, label in pairs:
            if len(state.pairs) < MAX_PAIRS:
                state.pairs[zone, label] = None


def _counted(message: DeviceMessage) -> Tally:
    return Tally(
        {one["label"]: one["current"] for one in message["objects"]},
        {(one["zone"], one["label"]): one["current"] for one in message["zones"]},
    )
