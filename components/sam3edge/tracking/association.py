"""Which detection is which track: by the overlap of outlines, and by where the track should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from shapely.affinity import translate
from shapely.geometry import Polygon

from sam3edge.core.matching import outline_iou, pair_best_first
from sam3edge.core.types import Detection
from sam3edge.tracking.track import Track, compact, size_of

MAX_DEVIATIONS = 3.0
"""A centre that is farther from where it should be is another object's, unless the outlines overlap: 99 % of
two-dimensional normal deviations are less."""

ENOUGH_IOU = 0.3
"""With so much overlap, whatever its centre did: an object that is half hidden has another centre."""

LEAST_AREA_RATIO = 0.2
"""An object does not become five times as large or small between two looks without overlap."""

OVERLAP, NEARNESS, ALIKE = 0.5, 0.35, 0.15
"""Weights of intersection over union, of nearness to the predicted centre, and of the ratio of areas."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One detection as tracks are compared with it: its number in the frame, its prompt's text, its outline with its
    centre and size in pixels."""

    number: int
    prompt: str
    outline: Polygon
    center: tuple[float, float]
    size: float

    @classmethod
    def of(cls, number: int, detection: Detection) -> Seen:
        """What is needed of a detection."""
        outline = compact(detection.geometry)
        center = outline.centroid
        return cls(number, detection.prompt.text, outline, (center.x, center.y), size_of(outline))


def associate(tracks: Sequence[Track], detections: Sequence[Seen], at: float) -> dict[int, int]:
    """Track to detection, by their numbers, one to one.

    Tracks choose in two turns: first those that were seen last time, then those that were missed and those that nobody
    is sure of yet. So what reappears, or has appeared once, never takes a detection from what is plainly there.

    Args:
        at: when the detections were seen, seconds since 1970.
    """
    turns: tuple[list[int], list[int]] = [], []
    for number, track in enumerate(tracks):
        turns[0 if track.announced and track.missing_since is None else 1].append(number)
    pairs: dict[int, int] = {}
    free = list(detections)
    for turn in turns:
        chosen = _turn([tracks[number] for number in turn], free, at)
        pairs.update((turn[row], free[column].number) for row, column in chosen)
        taken = {free[column].number for _, column in chosen}
        free = [seen for seen in free if seen.number not in taken]
    return pairs


def _turn(tracks: Sequence[Track], detections: Sequence[Seen], at: float) -> list[tuple[int, int]]:
    if not tracks or not detections:
        return []
    expected = [track.predicted(at) for track in tracks]
    moved = [
        translate(track.outline, to.x - track.motion.x, to.y - track.motion.y)
        for track, to in zip(tracks, expected, strict=True)
    ]
    overlaps = outline_iou(moved, [seen.outline for seen in detections])
    likeness = np.zeros_like(overlaps)
    for row, (track, motion) in enumerate(zip(tracks, expected, strict=True)):
        size = track.size
        for column, seen in enumerate(detections):
            if seen.prompt != track.prompt:
                continue
            overlap, far, ratio = overlaps[row, column], motion.deviations(*seen.center, size), _ratio(size, seen.size)
            if overlap >= ENOUGH_IOU or (far <= MAX_DEVIATIONS and ratio >= LEAST_AREA_RATIO):
                likeness[row, column] = OVERLAP * overlap + NEARNESS * np.exp(-(far**2) / 2) + ALIKE * ratio
    return pair_best_first(likeness)


def _ratio(a: float, b: float) -> float:
    """Of the smaller area to the larger one, from two sizes."""
    return (min(a, b) / max(a, b)) ** 2
