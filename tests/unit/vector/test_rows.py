"""Features as rows: of devices, of OversightML's tools, of anybody."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import mapping

from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.messages.detections import encode
from sam3edge.core.types import Detection, Place
from sam3edge.vector.rows import COLUMNS, FeatureRefused, features_of, row_of
from support.samples import answer, wobbly
from support.vector_files import FIELD, SQUARE, feature, message, placed, utc

OSML = {
    "type": "Feature",
    "id": "7",
    "geometry": None,
    "properties": {
        "imageGeometry": {"type": "Point", "coordinates": [5, 6]},
        "imageBBox": [4, 5, 6, 7],
        "featureClasses": [{"iri": "tank", "score": 0.2}, {"iri": "truck", "score": 0.7}],
        "modelMetadata": {"modelName": "sam3", "ontologyName": "vehicle", "ontologyVersion": "2"},
        "image_id": "tile-3",
        "inferenceMetadata": {"jobId": "j", "inferenceDT": "2026-01-01T00:00:00Z"},
    },
}


def test_oversightml_features_have_label_score_and_frame() -> None:
    row = row_of(OSML)
    assert row.place is None
    assert row.outline == shapely.Point(5, 6)
    other = json.loads(str(row.values["other"]))
    assert {name: value for name, value in row.values.items() if name != "other"} == {
        "id": "7",
        "label": "truck",
        "prompt": "vehicle",
        "score": 0.7,
        "x_min": 4,
        "y_min": 5,
        "x_max": 6,
        "y_max": 7,
        "frame": "tile-3",
        "model": "sam3",
        "model_version": "2",
    }
    assert other == {
        "inferenceMetadata": {"jobId": "j", "inferenceDT": "2026-01-01T00:00:00Z"},
        "featureClasses": OSML["properties"]["featureClasses"],  # type: ignore[index]
    }


def test_what_a_column_cannot_hold_is_kept_beside() -> None:
    odd = {"score": "high", "frame_width": 2.5, "captured_at": "yesterday", "track_id": {"a": 1}, "label": True}
    one = feature("a", **odd)
    one.pop("frame")
    row = row_of(one)
    assert not odd.keys() & row.values.keys()
    assert json.loads(str(row.values["other"])) == odd


def test_a_property_that_says_otherwise_than_the_message_is_kept() -> None:
    row = row_of(feature("a", id="mine", device="line-7", frame="b.png"))
    assert (row.values["id"], row.values["frame"]) == ("a", "a.png")
    assert json.loads(str(row.values["other"])) == {"id": "mine", "frame": "b.png"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("2026-01-02T03:04:05Z", utc("2026-01-02T03:04:05+00:00")),
        ("2026-01-02T03:04:05.5+02:00", utc("2026-01-02T01:04:05.500+00:00")),
        ("2026-01-02T03:04:05", None),  # of which time zone?
        ("0001-01-01T00:00:00+02:00", None),
        (7, None),
    ],
)
def test_times_are_utc_or_not_known(said: Any, expected: Any) -> None:
    one = feature("a", captured_at=said)
    one.pop("frame")
    assert row_of(one).values.get("captured_at") == expected


def test_a_message_that_had_room_for_a_box_only_has_a_place() -> None:
    """As ``encode`` writes what is too large for any message."""
    outline = wobbly(4000, 100)
    area = shapely.MultiPolygon([shapely.box(179.9, -17, 180, -16), shapely.box(-180, -17, -179.9, -16)])
    notes = {"note": "x" * 2900}
    place = Place(area, (180, -16.5), (180, -16.5), 1.0, 1.0, 1.0)
    found = Detection(placed().prompt, 0.5, outline.bounds, outline.area, outline, notes, place)
    [written] = encode(answer((found,)), "t", MIN_PAYLOAD, 4.0)
    [one] = features_of(json.loads(written.payload))
    row = row_of({**one, "geometry": None})
    assert row.place is not None
    assert row.place.equals(area)
    assert row.values["geometry_quality"] == "box"


def test_features_know_what_their_message_says() -> None:
    body = message(placed())
    [one] = features_of(body)
    assert (one["device"], one["source"], one["frame"], one["message_id"]) == (
        body["device"],
        body["source"],
        body["frame"],
        body["id"],
    )
    [plain] = features_of({"type": "FeatureCollection", "features": [OSML]})
    assert plain == OSML


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "feature",
        {"type": "Polygon"},
        {"type": "Feature", "properties": 5},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0]]]}, "properties": {}},
        {"type": "Feature", "geometry": {"type": "Polygon"}, "properties": {}},
        {"type": "Feature", "geometry": 5, "properties": {}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [math.nan, 0]}, "properties": {}},
        {"type": "Feature", "geometry": None, "properties": {"note": math.inf}},
        {"type": "Feature", "geometry": None, "properties": {"note": object()}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [391_000, 5_820_000]}, "properties": {}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1e300, 0]}, "properties": {}},
        {"type": "Feature", "geometry": None, "properties": {"imageGeometry": {"type": "Polygon", "coordinates": 1}}},
    ],
)
def test_what_is_no_feature_is_refused_in_words(bad: Any) -> None:
    with pytest.raises(FeatureRefused):
        row_of(bad)


def test_projected_coordinates_are_refused_with_the_way_out() -> None:
    with pytest.raises(FeatureRefused, match=r"391000\.\.391000 and 5\.82e\+06\.\.5\.82e\+06; reproject it to WGS 84"):
        row_of({"type": "Feature", "geometry": {"type": "Point", "coordinates": [391_000, 5_820_000]}})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*COLUMNS, "featureClasses", "modelMetadata", "position", "imageBBox", "image_id", "x"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, json_values, max_size=6), json_values, json_values)
def test_no_feature_does_worse_than_being_refused(properties: dict[str, Any], frame: Any, box: Any) -> None:
    one = {"type": "Feature", "geometry": None, "properties": properties, "frame": frame, "bbox": box}
    one["properties"] = {**properties, "imageGeometry": mapping(SQUARE)}
    try:
        row = row_of(one)
    except FeatureRefused:
        return
    for name, value in row.values.items():
        kinds = {"text": str, "number": float, "whole": int, "time": type(utc("2026-01-01T00:00:00+00:00"))}
        assert isinstance(value, kinds[COLUMNS[name]])


def test_heights_stay() -> None:
    high = shapely.Polygon([(13, 52, 7.5), (14, 52, 8), (14, 53, 9)])
    place = row_of(feature("a", high)).place
    assert place is not None
    assert shapely.get_coordinates(place, include_z=True)[:, 2].max() == 9
    assert row_of(feature("a", FIELD)).place == shapely.from_geojson(json.dumps(mapping(FIELD)))
