"""Zones and lines in world coordinates: whoever stands in them is in them, however the camera looks at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sam3edge.core.georeference import Georeference
from sam3edge.core.types import Detections
from sam3edge.geo.pose import PoseAccuracy, camera_of
from sam3edge.tracking.earth import moved, offset
from sam3edge.tracking.places import Line, OnEarth, Places, RelativeToFrame, Zone, ZoneKind
from sam3edge.tracking.presence import Anchor
from sam3edge.tracking.state import from_bytes, read, to_bytes
from sam3edge.tracking.zone_stage import ApplyZones
from support.moving_scenes import detection_of, ellipse, found, frame_at
from support.places import ELLIPSOID, POSE, located
from unit.tracking.test_events import Camera

SIZE = (1280, 720)
ACCURACY = PoseAccuracy()
FROM_THE_SIDE = camera_of(POSE, SIZE, ACCURACY)
FROM_ABOVE = camera_of(replace(POSE, height=60.0, tilt=90.0, roll=0.0), SIZE, ACCURACY)
HOME = (POSE.longitude, POSE.latitude)


def corners(*metres: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """Longitude and latitude of points so many metres east and north of the camera."""
    return tuple(moved(HOME, east, north) for east, north in metres)


def zone(points: tuple[tuple[float, float], ...], kind: ZoneKind = "watch") -> Zone:
    return Zone("yard", points, OnEarth(points[0]), kind)


def person(camera: Georeference, position: tuple[float, float]) -> Detections | None:
    """Somebody who stands there, as a detector finds him, if the camera sees his feet."""
    [[x, y]] = camera.to_pixels(np.array([position]))
    if not (30 < x < SIZE[0] - 30 and 130 < y < SIZE[1] - 1):
        return None
    return located(camera, found(detection_of(ellipse(x, y - 40, 30, 80))))


def zones_of(places: Places, detections: Detections) -> list[Any]:
    return [d.properties["zones"] for d in ApplyZones(lambda: places)(frame_at(0), detections).detections]


@given(st.floats(0, 360), st.floats(10, 35), st.floats(-0.4, 0.4), st.floats(0, 6.28))
def test_who_stands_in_a_zone_is_in_it(heading: float, distance: float, beside: float, turn: float) -> None:
    """The zone lies around the camera, so most of it is behind it, beside the picture, or below it; its edge is 20 to
    25 metres away."""
    camera = camera_of(replace(POSE, heading=heading, roll=0.0), SIZE, ACCURACY)
    pentagon = corners(*((25 * np.sin(a), 25 * np.cos(a)) for a in turn + np.arange(5) * 2 * np.pi / 5))
    ahead = np.radians(heading) + beside
    position = moved(HOME, distance * np.sin(ahead), distance * np.cos(ahead))
    seen = person(camera, position)
    assert seen is not None
    area, point = shapely.Polygon(pentagon), shapely.Point(position)
    assume(area.exterior.distance(point) > 1e-6)
    assert zones_of(Places((zone(pentagon),)), seen) == [["yard"] if area.contains(point) else []]


def test_a_zone_beyond_the_horizon_or_behind_the_camera_has_nobody_in_it() -> None:
    ahead = np.radians(POSE.heading)
    for distance in (-500.0, -20.0, 5000.0):
        at = np.array([distance * np.sin(ahead), distance * np.cos(ahead)])
        far = zone(corners(*(tuple(at + d) for d in ((-15, -15), (15, -15), (15, 15), (-15, 15)))))
        for y in (200.0, 400.0, 700.0):
            somebody = located(FROM_THE_SIDE, found(detection_of(ellipse(640, y, 30, 30))))
            assert zones_of(Places((far,)), somebody) == [[]]


def test_what_is_in_the_sky_is_in_no_zone_and_outside_of_all_that_are_included() -> None:
    everywhere = corners((-9000, -9000), (9000, -9000), (9000, 9000), (-9000, 9000))
    camera = camera_of(replace(POSE, tilt=5.0), SIZE, ACCURACY)
    bird, walker = detection_of(ellipse(640, 40, 30, 30)), detection_of(ellipse(640, 600, 30, 80))
    detections = located(camera, found(bird, walker))
    assert detections.detections[0].place is None
    assert zones_of(Places((zone(everywhere),)), detections) == [[], ["yard"]]
    assert zones_of(Places((zone(everywhere, "include"),)), detections) == [["yard"]]


def test_from_above_the_middle_counts_and_from_the_side_the_feet() -> None:
    outline = ellipse(640, 360, 60, 300)
    for camera, point in ((FROM_ABOVE, (640, 360)), (FROM_THE_SIDE, (640, 510))):
        [at] = camera.to_world(np.array([point], float))
        small = tuple(moved((at[0], at[1]), e, n) for e, n in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)))
        assert zones_of(Places((zone(small),)), located(camera, found(detection_of(outline)))) == [["yard"]]


@pytest.mark.parametrize("longitude", [-179.9999, 180.0, 179.9999, 13.4])
@pytest.mark.parametrize("beside", [-17.0, -3.0, 3.0, 17.0])
def test_zones_and_lines_do_not_notice_the_antimeridian(longitude: float, beside: float) -> None:
    pose = replace(POSE, longitude=longitude, heading=0.0, roll=0.0)
    camera = camera_of(pose, SIZE, ACCURACY)
    home = (longitude, pose.latitude)
    points = tuple(moved(home, e, n) for e, n in ((-10, 5), (10, 5), (10, 95), (-10, 95)))
    seen = person(camera, moved(home, beside, 35))
    assert seen is not None
    assert zones_of(Places((zone(points),)), seen) == [["yard"] if abs(beside) < 10 else []]


@pytest.mark.parametrize("kind", ["watch", "include", "exclude"])
def test_in_a_frame_without_a_georeference_zones_on_earth_do_nothing(kind: ZoneKind) -> None:
    here = person(FROM_THE_SIDE, corners((20, 30))[0])
    assert here is not None
    square = corners((0, 0), (40, 0), (40, 60), (0, 60))
    other = Zone("hall", ((0, 0), (1, 0), (1, 1), (0, 1)), RelativeToFrame())
    places = Places((zone(square, kind), other))
    lost = found(*(replace(d, place=None) for d in here.detections))
    assert zones_of(places, lost) == [["hall"]]
    assert zones_of(places, here) == {"exclude": []}.get(kind, [["yard", "hall"]])
    only = ApplyZones(lambda: Places((zone(square, kind),)))(frame_at(0), lost).detections
    assert ["zones" in d.properties for d in only] == [False]


class Drone(Camera):
    """Flies over somebody who walks, and looks straight down."""

    camera = FROM_ABOVE

    def flies(self, east: float, north: float) -> None:
        longitude, latitude = corners((east, north))[0]
        pose = replace(POSE, longitude=longitude, latitude=latitude, height=60.0, tilt=90.0, roll=0.0)
        self.camera = camera_of(pose, SIZE, ACCURACY)

    def sees_one_at(self, east: float, north: float) -> None:
        [[x, y]] = self.camera.to_pixels(np.array(corners((east, north))))
        self.shown = located(self.camera, found(detection_of(ellipse(x, y, 60, 60))))
        self.sees(*self.shown.detections, georeference=self.camera)

    def reasons(self) -> list[str]:
        return [reason for _, reasons in self.told() for reason in reasons]


@pytest.fixture
def drone(tmp_path: Path) -> Drone:
    yard = zone(corners((0, -50), (40, -50), (40, 50), (0, 50)))
    start, end = corners((20, -50), (20, 50))
    return Drone(tmp_path / "tracks.json", Places((yard,), (Line("gate", start, end, OnEarth(start)),)))


def test_a_camera_that_moves_over_what_rests_sees_nobody_enter_or_cross(drone: Drone) -> None:
    for step in range(8):
        drone.flies(10 + step, 0)
        drone.sees_one_at(14, 0)
    assert drone.reasons() == ["confirmed", "zone_entered yard"]  # where it was first seen
    assert drone.events[0]["after"]["current_zones"] == ["yard"]


@pytest.mark.parametrize("steps", [range(16, 26, 2), range(24, 14, -2)])
def test_a_line_on_the_map_is_crossed_as_the_map_shows_it(drone: Drone, steps: range) -> None:
    """Drawn northwards, it has the west on its left: forward is from east to west."""
    for east in steps:
        drone.flies(east, 3)  # in the picture he stays where he is
        drone.sees_one_at(east, 0)
    forward = "forward" if steps.step < 0 else "backward"
    assert drone.reasons() == ["confirmed", "zone_entered yard", f"line_crossed gate {forward}"]


def test_frames_without_a_place_change_nothing_about_places_on_earth(drone: Drone) -> None:
    for east in (10, 12, 14):
        drone.flies(east, 0)
        drone.sees_one_at(east, 0)
    for _ in range(3):
        drone.sees(*(replace(d, place=None) for d in drone.shown.detections))
    assert drone.reasons() == ["confirmed", "zone_entered yard"]
    for east in (16, 18, 22):
        drone.flies(east, 0)
        drone.sees_one_at(east, 0)
    assert drone.reasons()[2:] == ["line_crossed gate backward"]
    assert drone.events[-1]["after"]["dwell"]["yard"] == pytest.approx(8.0)


def test_a_line_that_is_drawn_elsewhere_is_not_crossed_by_that(drone: Drone, tmp_path: Path) -> None:
    for east in (10, 11, 12):
        drone.flies(east, 0)
        drone.sees_one_at(east, 0)
    start, end = corners((5, -50), (5, 50))
    drone.places = replace(drone.places, lines=(Line("gate", start, end, OnEarth(start)),))
    drone.sees_one_at(13, 0)
    drone.sees_one_at(13, 0)
    assert "line_crossed gate backward" not in drone.reasons()
    remembered = read(tmp_path / "tracks.json")
    assert from_bytes(to_bytes(remembered)) == remembered
    [track] = remembered.scene.tracks
    assert track.presence.anchors["gate"].origin == start
    flat = replace(track, presence=replace(track.presence, anchors={"gate": Anchor((1.0, 2.0), None)}))
    again = replace(remembered, scene=replace(remembered.scene, tracks=(flat,)))
    assert from_bytes(to_bytes(again)) == again


@settings(max_examples=60)
@given(st.floats(-180, 180), st.floats(-60, 60), st.floats(0, 360), st.floats(1, 10_000))
def test_offsets_are_metres(longitude: float, latitude: float, azimuth: float, distance: float) -> None:
    there = ELLIPSOID.fwd(longitude, latitude, azimuth, distance)[:2]
    east, north = offset((longitude, latitude), [there])[0]
    truth = distance * np.array([np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))])
    assert np.hypot(east - truth[0], north - truth[1]) < 0.003 * distance
    back = moved((longitude, latitude), float(east), float(north))
    assert ELLIPSOID.inv(*back, *there)[2] < 1e-6
