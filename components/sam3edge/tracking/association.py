"""Which detection is which track: by the overlap of outlines, and by where the track should be.

Of each pair it is asked how much more likely the detection is as this track than as something that nobody knows of yet
(Blackman and Popoli, Design and Analysis of Modern Tracking Systems, 6.2), and pairs are made so that all of them
together are most likely. Which track is missed or not yet sure of makes no difference: how far it may have moved does.

Where both have a place on Earth, nearness and sizes are compared there, in metres, and the outlines are those that this
frame should show: so nothing depends on how the camera has moved. Else all is compared in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from shapely.affinity import affine_transform, translate
from shapely.geometry import Polygon

from sam3edge.core.georeference import Georeference
from sam3edge.core.matching import outline_iou, pair_for_most
from sam3edge.tracking.earth import moved, offset
from sam3edge.tracking.ground import carried, shown
from sam3edge.tracking.motion import Motion, measured
from sam3edge.tracking.track import Seen, Track

MAX_DEVIATIONS = 3.0
"""A centre that is farther from where it should be is another object's, unless the outlines overlap: 99 % of
two-dimensional normal deviations are less."""

ENOUGH_IOU = 0.3
"""With so much overlap, whatever its centre did: an object that is half hidden has another centre."""

HALF_HIDDEN = 2.0
"""Deviations that then count at most."""

UNKNOWN = 0.01
"""Things that nobody knows of yet, and false ones, on an area of the object's size squared."""

MAX_AREA = 60.0
"""Sizes squared: over a larger area a place says nothing. Whoever was seen once, seconds ago, may be anywhere, and is
still rather himself than somebody new: frames that are far apart mostly show what the one before has shown."""

RESIZED = 0.3
"""Standard deviation of the logarithm of the size between two looks."""

OVERLAP = 2.0
"""By how much an intersection over union of 1 makes a pair more likely, as a logarithm."""


Numbers: TypeAlias = npt.NDArray[np.float64]
"""float64 [n]"""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where a track should be in a frame.

    Attributes:
        outline: in pixels of this frame; None where it does not show the place.
        before: pixel of this frame that shows where it was seen last; NaN where none does.
        picture: pixels.
        ground: metres, around where it stood; None where it is not known where that was.
    """

    outline: Polygon | None
    before: tuple[float, float]
    picture: Motion
    ground: Motion | None


def expectations(tracks: Sequence[Track], at: float, georeference: Georeference | None) -> list[Expectation]:
    """Where tracks should be.

    Args:
        at: when the frame was captured, seconds since 1970.
        georeference: the frame's.
    """
    expected = []
    for track in tracks:
        to = track.predicted(at)
        outline = translate(track.outline, to.x - track.motion.x, to.y - track.motion.y)
        expected.append(Expectation(outline, (track.motion.x, track.motion.y), to, None))
    if georeference is not None:
        standing = [(row, track.ground) for row, track in enumerate(tracks) if track.ground is not None]
        motions = [tracks[row].predicted_on(ground, at) for row, ground in standing]
        then = [ground.standing for _, ground in standing]
        now = [moved(one.position, motion.x, motion.y) for one, motion in zip(then, motions, strict=True)]
        pixels = shown([one.position for one in then], georeference)
        turns = carried(then, now, georeference)
        for (row, _), motion, turn, before in zip(standing, motions, turns, pixels, strict=True):
            there = None if turn is None else affine_transform(tracks[row].outline, turn)
            expected[row] = Expectation(there, before, expected[row].picture, motion)
    return expected


def associate(tracks: Sequence[Track], expected: Sequence[Expectation], detections: Sequence[Seen]) -> dict[int, int]:
    """Track to detection, by their numbers, one to one.

    Args:
        expected: where each track should be.
    """
    pairs = pair_for_most(_likeness(tracks, expected, detections))
    return {row: detections[column].number for row, column in pairs}


def _likeness(
    tracks: Sequence[Track], expected: Sequence[Expectation], detections: Sequence[Seen]
) -> npt.NDArray[np.float64]:
    """[tracks, detections], logarithms of likelihood ratios; negative infinity where they cannot be the same."""
    likeness = np.full((len(tracks), len(detections)), -np.inf)
    if not likeness.size:
        return likeness
    outlines = [Polygon() if to.outline is None else to.outline for to in expected]
    overlaps = outline_iou(outlines, [seen.outline for seen in detections])
    prompts = np.array([seen.detection.prompt.text for seen in detections])
    field = _Field.of(detections)
    for row, (track, to) in enumerate(zip(tracks, expected, strict=True)):
        far, area, resized = field.compared(track, to)
        overlap = overlaps[row]
        alike = ((overlap >= ENOUGH_IOU) | (far <= MAX_DEVIATIONS)) & (prompts == track.prompt)
        far = np.where(overlap >= ENOUGH_IOU, np.minimum(far, HALF_HIDDEN), far)
        known = -np.log(UNKNOWN * np.minimum(area, MAX_AREA))
        score = known - (far**2) / 2 - (resized / RESIZED) ** 2 / 2 + OVERLAP * overlap
        alike &= np.isfinite(score)
        likeness[row, alike] = score[alike]
    return likeness


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """Detections side by side.

    Attributes:
        centers: [n, 2] pixels, and sizes [n].
        placed: numbers of the m that have a place.
        positions: [m, 2], with noises [m, 2, 2] and sizes [m] in metres.
    """

    centers: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    placed: npt.NDArray[np.intp]
    positions: npt.NDArray[np.float64]
    noises: npt.NDArray[np.float64]
    metres: npt.NDArray[np.float64]

    @classmethod
    def of(cls, detections: Sequence[Seen]) -> _Field:
        placed = [(column, seen.standing, seen.size) for column, seen in enumerate(detections) if seen.standing]
        return cls(
            np.array([seen.center for seen in detections]),
            np.array([seen.size for seen in detections]),
            np.array([column for column, _, _ in placed], np.intp),
            np.array([standing.position for _, standing, _ in placed]).reshape(-1, 2),
            np.array([standing.noise(size) for _, standing, size in placed]).reshape(-1, 2, 2),
            np.array([standing.metres(size) for _, standing, size in placed]),
        )

    def compared(self, track: Track, to: Expectation) -> tuple[Numbers, Numbers, Numbers]:
        """Of each: standard deviations from where a track should be, the area over which that is spread, in sizes
        squared, and the logarithm of how much larger it is."""
        far, area = to.picture.compared(self.centers, measured(track.size))
        area, resized = area / track.size**2, np.log(self.sizes / track.size)
        if to.ground is not None and track.ground is not None:
            away = offset(track.ground.standing.position, self.positions)
            far[self.placed], spread = to.ground.compared(away, self.noises)
            area[self.placed] = spread / track.ground.extent**2
            resized[self.placed] = np.log(self.metres / track.ground.size)
        return far, area, resized
