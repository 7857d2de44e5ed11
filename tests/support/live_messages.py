"""What devices publish, as they write it, for tests of the live page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import cv2
import numpy as np
import shapely

from sam3edge.core.messages import commands, events, snapshots, status
from sam3edge.core.messages.detections import FrameResult, encode
from sam3edge.core.messages.errors import component_error
from sam3edge.core.types import Detection, Frame, JsonValue, Message, ModelInfo, Place, Prompt
from support.samples import MODEL

MAX_BYTES = 131_072
WIDTH, HEIGHT = 640, 480

RING = shapely.Polygon(
    [(100, 100), (300, 100), (300, 260), (100, 260)], [[(150, 140), (250, 140), (250, 220), (150, 220)]]
)
"""An outline with a hole."""

_numbers = itertools.count()


def square(x: float, y: float, side: float = 60) -> shapely.Polygon:
    return shapely.box(x, y, x + side, y + side)


def on_earth(outline: shapely.Polygon, west: float = 8.5, north: float = 47.4, degree: float = 1e-5) -> Place:
    """A place for an outline: a pixel is ``degree`` in both directions."""
    area = shapely.transform(outline, lambda at: np.stack([west + at[:, 0] * degree, north - at[:, 1] * degree], 1))
    area = shapely.orient_polygons(shapely.set_precision(area, 1e-7))
    middle = area.centroid.x, area.centroid.y
    return Place(area, middle, middle, outline.area, 0.5, 1.0)


def detection(
    outline: shapely.Polygon,
    label: str = "scratch",
    score: float = 0.9,
    place: Place | None = None,
    **properties: JsonValue,
) -> Detection:
    return Detection(Prompt(label), score, outline.bounds, outline.area, outline, properties, place)


@dataclass(frozen=True)
class Sender:
    """A device, and one camera of it."""

    device: str = "line-7"
    source: str = "camera"

    @property
    def prefix(self) -> str:
        return f"sam3edge/{self.device}"

    def frame(self, name: str = "", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Frame:
        number = next(_numbers)
        image = np.zeros((1, 1, 3), np.uint8)
        taken = datetime.now(timezone.utc)
        return Frame(f"{number:032x}", self.source, name or f"{number}.jpg", image, taken, "sha256:0", size=size)

    def detections(
        self, *found: Detection, frame: Frame | None = None, max_bytes: int = MAX_BYTES, **timing: float
    ) -> list[Message]:
        result = FrameResult(
            self.device, frame or self.frame(), MODEL, (Prompt("scratch"),), found, timing or {"vision": 10.0}, {}
        )
        return encode(result, f"{self.prefix}/detections", max_bytes, 0.0)

    def heartbeat(
        self,
        state: status.State = "running",
        interval: float = 30.0,
        prompts: Sequence[Prompt] = (Prompt("scratch"), Prompt("dent", 0.4, label="Delle")),
        model: ModelInfo | None = MODEL,
        **members: Any,
    ) -> Message:
        delivery = {**dict.fromkeys(status.DeliveryMember.__annotations__, 0), "last_error": ""}
        counters: status.Counters = {
            "uptime_s": 3661.0,
            "counts": {"frames": 120, "instances": 340, "messages": 120, "rejected": 1, "unchanged": 4},
            "frames_per_second": 2.0,
            "last_error": "",
        }
        beat = status.Heartbeat(
            state, model, prompts, counters, delivery, {"backlog": 0, "unfinished": 0}, interval, **members
        )
        return status.status(self.device, f"{self.prefix}/status", beat, MAX_BYTES)

    def event(
        self, kind: events.Lifecycle, label: str, reasons: Sequence[events.EventReason], zones: Sequence[str] = ()
    ) -> Message:
        now = datetime.now(timezone.utc)
        frame = self.frame()
        view = events.TrackView(
            f"track-{label}", label, label, 0.9, 0.95, (0, 0, 9, 9), 81.0, now - timedelta(seconds=9), now, None, False,
            tuple(zones), dict.fromkeys(zones, 1.0), {},
        )  # fmt: skip
        noticed = events.Noticed(self.device, self.source, frame.id, frame.name, now)
        return events.track_event(f"{self.prefix}/events", noticed, kind, reasons, view, view, MAX_BYTES)

    def counts(self, **labels: int) -> Message:
        frame = self.frame()
        noticed = events.Noticed(self.device, self.source, frame.id, frame.name, datetime.now(timezone.utc))
        objects: list[events.ObjectCountMember] = [
            {"label": label, "current": count, "total": 10 * count} for label, count in labels.items()
        ]
        zones: list[events.ZoneCountMember] = [{"zone": "dock", "label": "car", "current": 1, "entered": 7}]
        lines: list[events.LineCountMember] = [{"line": "gate", "label": "car", "forward": 5, "backward": 2}]
        return events.counts(f"{self.prefix}/events", noticed, objects, zones, lines, MAX_BYTES)

    def error(self, reason: str) -> Message:
        return component_error(self.device, RuntimeError(reason), f"{self.prefix}/errors")

    def succeeded(self, command: str, name: str) -> Message:
        return commands.succeeded(self.device, f"{self.prefix}/commands/response", command, name, {})

    def rejected(self, command: str, name: str, reason: str) -> Message:
        topic = f"{self.prefix}/commands/response"
        return commands.not_done(self.device, topic, command, name, "REJECTED", reason)

    def snapshot(self, frame: Frame, request: str = "somebody", color: tuple[int, int, int] = (90, 160, 60)) -> Message:
        picture = np.full((frame.height // 2, frame.width // 2, 3), color, np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        width, height = frame.width // 2, frame.height // 2
        return snapshots.snapshot(self.device, f"{self.prefix}/snapshots", request, frame, jpeg, width, height)
