"""Zones and derived labels, before anything is tracked."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from sam3edge.core.types import Detection, Detections, Prompt
from sam3edge.tracking.complements import DerivedLabel, DeriveLabels
from sam3edge.tracking.places import (
    Line,
    PixelsOfFrame,
    Places,
    RelativeToFrame,
    Zone,
    bottom_center,
    centroid,
    crossing,
    side_of,
)
from sam3edge.tracking.zone_stage import ApplyZones
from support.moving_scenes import PERSON, detection_of, found, frame_at

CAR, HELMET = Prompt("car"), Prompt("helmet")
LEFT = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), RelativeToFrame())


def box(x0: float, y0: float, x1: float, y1: float, prompt: Prompt = PERSON) -> Detection:
    return detection_of(shapely.box(x0, y0, x1, y1), prompt)


def applied(places: Places, *detections: Detection) -> tuple[Detection, ...]:
    return ApplyZones(lambda: places)(frame_at(0), found(*detections)).detections


def zones_of(places: Places, detection: Detection) -> object:
    [marked] = applied(places, detection)
    return marked.properties["zones"]


def test_a_detection_is_where_its_test_point_is() -> None:
    leaning = detection_of(shapely.Polygon([(600, 100), (700, 100), (700, 400), (500, 400)]))  # centroid right of it
    assert (bottom_center(leaning), centroid(leaning)[0] > 620) == ((600, 400), True)
    below = Zone("below", ((550, 390), (610, 390), (610, 410), (550, 410)), PixelsOfFrame())
    assert zones_of(Places((below,), test_point=bottom_center), leaning) == ["below"]
    assert zones_of(Places((below,), test_point=centroid), leaning) == []


def test_relative_coordinates_are_shares_of_the_frame_and_pixels_are_pixels() -> None:
    pixels = Zone("pixels", ((0, 0), (640, 0), (640, 720), (0, 720)), PixelsOfFrame())
    for x, names in ((600, ["left", "pixels"]), (660, [])):
        assert zones_of(Places((LEFT, pixels)), box(x - 10, 100, x + 10, 200)) == names


def test_an_edge_belongs_to_the_zone() -> None:
    assert zones_of(Places((LEFT,)), box(630, 100, 650, 720)) == ["left"]


@pytest.mark.parametrize(
    ("kinds", "left", "right"),
    [
        (("watch", "watch"), True, True),
        (("include", "watch"), True, False),
        (("exclude", "watch"), False, True),
        (("include", "exclude"), False, False),
    ],
)
def test_what_is_dropped(kinds: tuple[str, str], left: bool, right: bool) -> None:
    places = Places(tuple(Zone(f"z{i}", LEFT.points, LEFT.coordinates, kind) for i, kind in enumerate(kinds)))  # type: ignore[arg-type]
    assert len(applied(places, box(100, 100, 200, 200))) == left
    assert len(applied(places, box(1100, 100, 1200, 200))) == right


def test_a_zone_is_for_its_prompts_only() -> None:
    only_cars = Zone("left", LEFT.points, LEFT.coordinates, "include", frozenset({"car"}))
    kept = applied(
        Places((only_cars,)), box(1100, 100, 1200, 200), box(1100, 100, 1200, 200, CAR), box(0, 0, 9, 9, CAR)
    )
    assert [d.prompt.text for d in kept] == ["person", "car"]
    assert ["zones" in d.properties for d in kept] == [False, True]


def test_without_zones_nothing_changes() -> None:
    detections = found(box(0, 0, 9, 9))
    assert ApplyZones(Places)(frame_at(0), detections) is detections


NUMBERS = st.floats(-500, 500, allow_nan=False).map(lambda value: round(value, 1))
POINTS = st.tuples(NUMBERS, NUMBERS)


@given(POINTS, POINTS, POINTS, POINTS)
def test_a_crossing_is_what_shapely_says_and_turns_with_the_direction(
    before: tuple[float, float], now: tuple[float, float], start: tuple[float, float], end: tuple[float, float]
) -> None:
    step, line = shapely.LineString([before, now]), shapely.LineString([start, end])
    ends = min(shapely.distance(step, shapely.Point(start)), shapely.distance(step, shapely.Point(end)))
    assume(start != end and ends > 1e-6)  # what ends on the line, or meets its end, may be taken either way
    assume(min(abs(side_of(before, start, end)), abs(side_of(now, start, end))) > 1e-6)
    said = crossing(before, now, start, end)
    assert (said is not None) == step.crosses(line)
    opposite = {"forward": "backward", "backward": "forward", None: None}
    assert crossing(now, before, start, end) == opposite[said]
    assert crossing(before, now, end, start) == opposite[said]


def test_upwards_over_a_line_from_left_to_right_is_forward() -> None:
    line = Line("gate", (0, 0.5), (1, 0.5), RelativeToFrame())
    [(_, start, end)] = Places((), (line,)).within(frame_at(0), None).lines
    assert (start, end) == ((0, 360), (1280, 360))
    assert crossing((600, 400), (600, 300), start, end) == "forward"


# -- derived labels ---------------------------------------------------------------------------------------------------

BARE = DerivedLabel("person without helmet", "person", "helmet", "without")
SAFE = DerivedLabel("person with helmet", "person", "helmet", "with")


def labels(rules: tuple[DerivedLabel, ...], detections: Detections, *asked: Prompt) -> list[str]:
    derived = DeriveLabels(lambda: rules, lambda: asked or (PERSON, HELMET))(frame_at(0), detections)
    return [d.prompt.name for d in derived.detections]


def test_who_has_no_helmet_on_is_called_so() -> None:
    both = found(box(100, 100, 200, 400), box(300, 100, 400, 400), box(130, 100, 170, 140, HELMET))
    assert labels((BARE,), both) == ["person", "person without helmet", "helmet"]
    assert labels((SAFE,), both) == ["person with helmet", "person", "helmet"]
    assert labels((SAFE, BARE), both) == ["person with helmet", "person without helmet", "helmet"]


def test_the_prompt_stays_what_found_it() -> None:
    [renamed] = DeriveLabels(lambda: (BARE,), lambda: (PERSON, HELMET))(frame_at(0), found(box(0, 0, 9, 9))).detections
    assert (renamed.prompt.text, renamed.prompt.threshold) == (PERSON.text, PERSON.threshold)


def test_a_helmet_is_on_one_person_only() -> None:
    """Two who stand in front of each other: the helmet is in both boxes, and in one outline."""
    near = detection_of(shapely.Polygon([(150, 150), (250, 150), (250, 400), (150, 400)]))
    far = detection_of(shapely.Polygon([(200, 100), (300, 100), (300, 400), (260, 400), (260, 140), (200, 140)]))
    helmet = box(205, 102, 245, 139, HELMET)
    wide = detection_of(shapely.Polygon([(100, 90), (150, 90), (150, 400), (260, 400), (260, 410), (100, 410)]))
    assert labels((BARE,), found(near, far, helmet)) == ["person without helmet", "person", "helmet"]
    assert labels((BARE,), found(wide, far, helmet)) == ["person without helmet", "person", "helmet"]


def test_a_helmet_beside_somebody_is_not_on_him() -> None:
    beside = found(box(100, 100, 200, 400), box(190, 100, 230, 140, HELMET))
    assert labels((BARE,), beside) == ["person without helmet", "helmet"]


@pytest.mark.parametrize("why", ["not asked", "unsupported"])
def test_where_nobody_looked_for_helmets_nobody_is_without_one(why: str) -> None:
    if why == "not asked":
        assert labels((BARE,), found(box(0, 0, 9, 9)), PERSON) == ["person"]
    else:
        deaf = Detections(found().model, (box(0, 0, 9, 9),), {}, {"helmet": "not in the vocabulary"})
        assert labels((BARE,), deaf) == ["person"]
