"""Numbers that no frame has led to: a damaged or hostile ``tracks.json``, and extreme frames, end nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam3edge.core.georeference import Points, Stance
from sam3edge.core.types import Box, Detections, Place
from sam3edge.tracking.places import Line, OnEarth, Places, RelativeToFrame, Zone
from sam3edge.tracking.stage import EventChannel, TrackObjects
from sam3edge.tracking.state import Remembered, from_bytes, to_bytes
from sam3edge.tracking.tracker import Scene, TrackingOptions, advance
from support.ground_scenes import FLIGHTS, HOME, street, watch
from support.moving_scenes import HEIGHT, WIDTH, detection_of, found, frame_at

Way = tuple[str | int, ...]
"""Keys and numbers that lead to something in a JSON value."""

MOMENTS = watch(street(3, 8, 12, FLIGHTS["pan"]), FLIGHTS["pan"], [float(t) for t in range(5, 12)], 3)
EAST, NORTH = HOME
PLACES = Places(
    (
        Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), RelativeToFrame(), dwell_seconds=3),
        Zone("yard", ((EAST - 1, NORTH - 1), (EAST + 1, NORTH - 1), (EAST, NORTH + 1)), OnEarth(HOME)),
    ),
    (
        Line("middle", (0.5, 0), (0.5, 1), RelativeToFrame()),
        Line("street", HOME, (EAST, NORTH + 0.1), OnEarth(HOME)),
    ),
)


def remembered() -> dict[str, Any]:
    scene = Scene()
    for moment in MOMENTS[:3]:
        scene = advance(scene, moment.frame, moment.detections, PLACES, TrackingOptions()).scene
    body: dict[str, Any] = json.loads(to_bytes(Remembered(scene)))
    assert body["tracks"]
    assert body["tracks"][0]["ground"]
    return body


def leaves(value: Any, path: Way = ()) -> Iterator[Way]:
    """Ways to everything in a JSON value that holds nothing itself."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


BODY = remembered()
ODD = st.one_of(
    st.sampled_from([0, -1, 1e-308, 1e308, -1e308, 1e12, 1e30, -1e30, 10**400, True, "x", None, []]),
    st.floats(),
    st.integers(),
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(
    changes=st.lists(st.tuples(st.sampled_from(list(leaves(BODY))), ODD), min_size=1, max_size=4), later=st.booleans()
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_device_goes_on_with_whatever_its_file_says(
    changes: list[tuple[Way, Any]], later: bool, tmp_path: Path
) -> None:
    body = json.loads(json.dumps(BODY))
    for path, odd in changes:
        inner = body
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = odd
    (tmp_path / "tracks.json").write_text(json.dumps(body))
    stage = TrackObjects(EventChannel("line-7", "t", 8000), tmp_path / "tracks.json", TrackingOptions(), lambda: PLACES)
    for moment in MOMENTS[3 if later else 2 :]:
        stage.wants_look(moment.frame)
        stage(moment.frame, moment.detections)
    last = MOMENTS[-1].frame
    stage(replace(last, id="later", captured_at=last.captured_at + timedelta(seconds=500)), found())


@dataclass(frozen=True)
class Crooked:
    """A georeference of one scale, one shear and one fault.

    Attributes:
        fault: what it gives for pixels that it cannot know; None where it knows all.
    """

    origin: tuple[float, float]
    degrees: tuple[float, float, float, float]
    fault: float | None
    size: tuple[int, int] = (WIDTH, HEIGHT)
    stance: Stance = "side"

    def to_world(self, pixels: Points) -> Points:
        world = pixels @ np.reshape(self.degrees, (2, 2)) + self.origin
        return np.stack([(world[:, 0] + 180) % 360 - 180, np.clip(world[:, 1], -90, 90)], 1)

    def to_pixels(self, positions: Points) -> Points:
        if self.fault is not None:
            return np.full_like(positions, self.fault)
        return (positions - self.origin) @ np.linalg.pinv(np.reshape(self.degrees, (2, 2)))

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        return np.ones(len(pixels))

    def valid(self, bounds: Box) -> shapely.Polygon:
        return shapely.box(*bounds)


SCALE = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 1e-300, 1e-150, 1e-30, 1e-12, 1e-7, -1e-7, 90.0, 1e6]))
CROOKED = st.builds(
    Crooked,
    st.sampled_from([(0.0, 0.0), (180.0, 90.0), (-180.0, -90.0), HOME]),
    st.tuples(SCALE, SCALE, SCALE, SCALE),
    st.sampled_from([None, math.nan, math.inf, 1e300, -1e18, 0.0]),
)
SIDE = st.sampled_from([1e-3, 0.5, 60.0, 1280.0, 1e5])
BOXES = st.lists(st.tuples(st.sampled_from([-100.0, 0.0, 640.0, 1e5]), st.floats(0, 720), SIDE, SIDE), max_size=5)


def at_odd_places(corners: list[tuple[float, float, float, float]], where: Crooked, accuracy: float) -> Detections:
    detections = []
    for x, y, width, height in corners:
        outline = shapely.box(x, y, x + width, y + height)
        position = tuple(map(float, where.to_world(np.array([[x + width / 2, y + height]]))[0]))
        place = Place(outline, position, position, 1.0, accuracy, 1.0)
        detections.append(replace(detection_of(outline), place=place if all(map(math.isfinite, position)) else None))
    return replace(found(*detections), georeference=where)


@FEW
@given(
    looks=st.lists(st.tuples(BOXES, CROOKED, st.floats(0, 1e9)), min_size=2, max_size=5),
    pause=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_device_goes_on_with_whatever_a_georeference_says(
    looks: list[tuple[list[tuple[float, float, float, float]], Crooked, float]], pause: float, tmp_path: Path
) -> None:
    (tmp_path / "tracks.json").unlink(missing_ok=True)
    stage = TrackObjects(
        EventChannel("line-7", "t", 8000), tmp_path / "tracks.json", TrackingOptions(confirm_looks=1), lambda: PLACES
    )
    for number, (corners, where, accuracy) in enumerate(looks):
        frame = replace(frame_at(number * pause), id=str(number))
        result = stage(frame, at_odd_places(corners, where, accuracy))
        json.dumps([dict(d.properties) for d in result.detections], allow_nan=False)
        from_bytes((tmp_path / "tracks.json").read_bytes())


@pytest.mark.parametrize("at", [datetime.min, datetime.max])
def test_an_image_may_be_of_the_first_moment_and_of_the_last(at: datetime, tmp_path: Path) -> None:
    """As EXIF may say."""
    stage = TrackObjects(
        EventChannel("line-7", "t", 8000), tmp_path / "tracks.json", TrackingOptions(confirm_looks=1), lambda: PLACES
    )
    frame = replace(frame_at(0), id="odd", captured_at=at.replace(tzinfo=timezone.utc))
    for one in (frame, frame_at(0)):
        event, *_ = stage(one, found(detection_of(shapely.box(600, 300, 660, 400)))).messages
        assert json.loads(event.payload)["type"] == ("new" if one is frame else "end")
