"""The scene on the disk, with the events that it has led to: written before any of them is said.

A kill at any moment leaves the file as it was before a frame or as it is after it. Before: the frame has led to nothing
yet. After: what it led to is in the file, and is said when the component has started again, whether or not it was said
already; the ids are the same, so it counts once.

The file is bounded: tracks, their outlines, zones, lines, counters and events are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import Polygon

from sam3edge.core.types import Box, Message
from sam3edge.durable import make_folder, write_file
from sam3edge.tracking.counters import MAX_COUNTERS, Totals
from sam3edge.tracking.ground import Ground, Landmark, Standing
from sam3edge.tracking.motion import Motion
from sam3edge.tracking.presence import Anchor, Presence, Stay
from sam3edge.tracking.track import Track, moment
from sam3edge.tracking.tracker import MAX_TRACKS, Scene

logger = logging.getLogger(__name__)

FORMAT = 2
"""Format 1 had nothing on the ground, and motion with one variance for both axes; it is still read."""

MAX_NUMBER = 1e30
"""More than any that a frame leads to, and little enough to be squared again and again."""

ROUNDING = 1e-6
"""Share of the largest variance by which the least may be below zero, as rounding leaves it."""

MAX_EVENTS = 1024
"""That wait in the file: those of the last frame, and of the frame before a start. More can be there only when the
component was killed again and again between writing and storing; then the oldest go."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the file holds.

    Attributes:
        events: messages that may not be in the outbox yet.
    """

    scene: Scene = field(default_factory=Scene)
    events: tuple[Message, ...] = ()


def write(remembered: Remembered, file: Path) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: it could not be written; what was there before is still there.
    """
    make_folder(file.parent)
    write_file(file, to_bytes(remembered))


def read(file: Path) -> Remembered:
    """What was written last; nothing if there is no file, or a damaged one, which is logged."""
    try:
        return from_bytes(file.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.error("%s cannot be read, all tracks begin anew: %s", file, error)
    return Remembered()


def to_bytes(remembered: Remembered) -> bytes:
    """JSON, from which ``from_bytes`` makes an equal one, to the last digit."""
    scene = remembered.scene
    body = {
        "format": FORMAT,
        "source": scene.source,
        "frame": scene.frame_id,
        "size": scene.size,
        "time": scene.time,
        "landmarks": scene.landmarks,
        "tracks": [_track(track) for track in scene.tracks],
        "objects": list(scene.totals.objects.items()),
        "entered": [[*key, count] for key, count in scene.totals.entered.items()],
        "crossed": [[*key, *count] for key, count in scene.totals.crossed.items()],
        "events": [[m.id, m.topic, m.payload.decode()] for m in remembered.events[-MAX_EVENTS:]],
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True).encode()


def from_bytes(data: bytes) -> Remembered:
    """What ``to_bytes`` has written.

    Raises:
        ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError: it was something else, or has
            numbers with which nobody can go on.
    """
    body = json.loads(data, parse_float=_number, parse_int=_whole, parse_constant=_number)
    if body["format"] not in (1, FORMAT):
        raise ValueError(f"expected format 1 or {FORMAT}, got {body['format']!r:.20}")
    width, height = body["size"]
    totals = Totals(
        {str(label): int(count) for label, count in body["objects"][-MAX_COUNTERS:]},
        {(str(zone), str(label)): int(count) for zone, label, count in body["entered"][-MAX_COUNTERS:]},
        {(str(line), str(label)): (int(f), int(b)) for line, label, f, b in body["crossed"][-MAX_COUNTERS:]},
    )
    tracks = tuple(_read_track(entry) for entry in body["tracks"][:MAX_TRACKS])
    marks = tuple(_landmark(*pixel, *position) for pixel, position in body.get("landmarks", ()))
    scene = Scene(
        str(body["source"]), str(body["frame"]), (int(width), int(height)), _time(body["time"]), tracks, totals, marks
    )
    events = (Message(str(id_), str(topic), str(payload).encode()) for id_, topic, payload in body["events"])
    return Remembered(scene, tuple(events))


def _track(track: Track) -> dict[str, Any]:
    ground, presence = track.ground, track.presence
    return {
        "id": track.id,
        "prompt": track.prompt,
        "labels": track.labels,
        "label": track.label,
        "scores": [track.score, track.top_score],
        "box": track.box,
        "area": track.area,
        "outline": shapely.get_coordinates(track.outline.exterior).tolist(),
        "motion": _motion(track.motion),
        "ground": None if ground is None else [_standing(ground.standing), _motion(ground.motion), ground.size],
        "looks": track.looks,
        "times": [track.born, track.seen, track.missing_since],
        "announced": track.announced,
        "rest": [presence.rest_box, presence.rest_since, presence.stationary, _standing(presence.rest_standing)],
        "stays": [[name, s.entries, s.total, s.since, s.outside, s.told] for name, s in presence.stays.items()],
        "anchors": [[name, *anchor.point, *(anchor.origin or ())] for name, anchor in presence.anchors.items()],
        "crossings": [[name, *count] for name, count in presence.crossings.items()],
    }


def _read_track(entry: Mapping[str, Any]) -> Track:
    score, top_score = entry["scores"]
    first, seen, missing = entry["times"]
    rest_box, rest_since, stationary, *rest_standing = entry["rest"]
    return Track(
        id=str(entry["id"]),
        prompt=str(entry["prompt"]),
        labels=tuple(map(str, entry["labels"])),
        label=str(entry["label"]),
        score=float(score),
        top_score=float(top_score),
        box=_box(entry["box"]),
        area=float(entry["area"]),
        outline=_outline(entry["outline"]),
        motion=_read_motion(entry["motion"]),
        ground=_read_ground(entry.get("ground")),
        looks=int(entry["looks"]),
        born=_time(first),
        seen=_time(seen),
        missing_since=None if missing is None else _time(missing),
        announced=bool(entry["announced"]),
        presence=Presence(
            _box(rest_box),
            float(rest_since),
            _read_standing(rest_standing[0]) if rest_standing else None,
            {
                str(name): Stay(int(entries), float(total), _maybe(since), _maybe(outside), bool(told))
                for name, entries, total, since, outside, told in entry["stays"]
            },
            {str(name): _anchor(*map(float, numbers)) for name, *numbers in entry["anchors"]},
            {str(name): (int(forward), int(backward)) for name, forward, backward in entry["crossings"]},
            bool(stationary),
        ),
    )


def _motion(motion: Motion) -> list[float]:
    return [motion.x, motion.y, motion.vx, motion.vy, *motion.covariance]


def _read_motion(numbers: Sequence[Any]) -> Motion:
    x, y, vx, vy, *covariance = map(float, numbers)
    if len(covariance) == 3:  # format 1: of each axis, and nothing between them
        p, between, v = covariance
        covariance = [p, 0.0, between, 0.0, 0.0, p, 0.0, between, between, 0.0, v, 0.0, 0.0, between, 0.0, v]
    if len(covariance) != 16:
        raise ValueError(f"expected a motion of 20 numbers, got {len(numbers)}")
    spread = np.array(covariance).reshape(4, 4)
    least, *_, most = np.linalg.eigvalsh(spread + spread.T)
    if not least >= -ROUNDING * most:
        raise ValueError(f"expected a covariance without negative variances, got {least / 2:g}")
    return Motion(x, y, vx, vy, tuple(covariance))


def _standing(standing: Standing | None) -> list[float] | None:
    return None if standing is None else [*standing.position, *standing.pixel, *standing.scale, standing.tremble]


def _read_standing(numbers: Sequence[Any] | None) -> Standing | None:
    if numbers is None:
        return None
    longitude, latitude, x, y, *scale, tremble = map(float, numbers)
    e_x, e_y, n_x, n_y = scale
    return Standing((longitude, latitude), (x, y), (e_x, e_y, n_x, n_y), tremble)


def _read_ground(entry: Any) -> Ground | None:
    if entry is None:
        return None
    standing, motion, size = entry
    stood = _read_standing(standing)
    return None if stood is None else Ground(stood, _read_motion(motion), float(size))


def _landmark(x: float, y: float, longitude: float, latitude: float) -> Landmark:
    return (float(x), float(y)), (float(longitude), float(latitude))


def _anchor(x: float, y: float, *origin: float) -> Anchor:
    return Anchor((x, y), (origin[0], origin[1]) if origin else None)


def _outline(points: Any) -> Polygon:
    try:
        outline = Polygon(points)
    except ShapelyError as error:
        raise ValueError(f"expected an outline, got none: {error}") from error
    if not outline.is_valid or not outline.area > 0:
        raise ValueError(f"expected a valid outline, got one with {shapely.is_valid_reason(outline)}")
    return outline


def _box(values: Any) -> Box:
    x0, y0, x1, y1 = map(float, values)
    return x0, y0, x1, y1


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) <= MAX_NUMBER:
        raise ValueError(f"expected numbers up to {MAX_NUMBER:g}, got {text:.20}")
    return number


def _whole(text: str) -> int:
    _number(text)
    return int(text)


def _time(value: Any) -> float:
    """Seconds since 1970, not before the calendar."""
    moment(seconds := float(value))
    return seconds


def _maybe(value: Any) -> float | None:
    return None if value is None else float(value)
