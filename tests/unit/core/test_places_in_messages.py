"""Places in detections messages: whole, coarser, as hulls, divided; never too large."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.messages.detections import divide, encode
from sam3edge.core.types import Detection, Place
from support.samples import answer, detection, wobbly

DEGREES = 1e-5
"""Of a pixel of the samples."""


def placed(outline: shapely.Polygon, longitude: float = 13.4, outside: float = 0.0, **properties: Any) -> Detection:
    """On a plain grid of degrees, pixel 160 at this longitude, divided at the antimeridian."""
    flat = shapely.transform(outline, lambda at: (at - [160, 120]) * [DEGREES, -DEGREES] + [longitude, 52.5])
    pieces = [
        shapely.transform(
            shapely.intersection(flat, shapely.box(-180 + t, -90, 180 + t, 90)), lambda at, t=t: at - [t, 0]
        )
        for t in (-360.0, 0.0, 360.0)
    ]
    area = shapely.orient_polygons(shapely.union_all([p for p in pieces if not p.is_empty]))
    centre = (flat.centroid.x, flat.centroid.y)
    place = Place(area, centre, centre, 123.456, 1.234, DEGREES * 111_320, outside)
    return replace(detection(outline), place=place, properties=properties)


def bodies(detections: tuple[Detection, ...], max_bytes: int) -> list[dict[str, Any]]:
    messages = encode(answer(detections), "t", max_bytes, 4.0)
    assert all(len(m.payload) <= max_bytes for m in messages)
    read = [json.loads(m.payload) for m in messages]
    for body in read:
        jsonschema.Draft202012Validator(detections_schema()).validate(body)
    return read


def test_a_place_is_written_with_all_that_is_known_of_it() -> None:
    [body] = bodies((placed(shapely.box(100, 80, 160, 140), outside=0.25),), 100_000)
    [feature] = body["features"]
    assert shape(feature["geometry"]).bounds == pytest.approx((13.3994, 52.4998, 13.4, 52.5004))
    assert feature["bbox"] == pytest.approx([13.3994, 52.4998, 13.4, 52.5004])
    properties = feature["properties"]
    assert (properties["area_m2"], properties["accuracy_m"], properties["outside"]) == (123.46, 1.23, 0.25)
    assert properties["centroid"] == properties["position"] == pytest.approx([13.3997, 52.5001])


def test_without_a_place_nothing_is_said_of_one() -> None:
    [body] = bodies((detection(shapely.box(100, 80, 160, 140)),), 100_000)
    [feature] = body["features"]
    assert feature["geometry"] is None
    assert "bbox" not in feature
    assert not {"area_m2", "centroid", "position", "accuracy_m", "outside"} & feature["properties"].keys()


def test_no_share_outside_is_not_written() -> None:
    [body] = bodies((placed(shapely.box(100, 80, 160, 140)),), 100_000)
    assert "outside" not in body["features"][0]["properties"]


def test_a_stage_may_not_write_what_a_place_has() -> None:
    with pytest.raises(ValueError, match="a name of its own, got area_m2"):
        bodies((placed(shapely.box(100, 80, 160, 140), area_m2=1.0),), 100_000)


def test_a_coarser_outline_has_a_coarser_place_that_is_still_the_same() -> None:
    one = placed(shapely.Point(160, 120).buffer(100, 500))
    whole = len(json.dumps(bodies((one,), 1_000_000)))
    [body] = bodies((one,), whole // 2)
    [feature] = body["features"]
    assert feature["properties"]["geometry_quality"] == "coarse"
    assert one.place is not None
    coarse = shape(feature["geometry"])
    assert coarse.is_valid
    assert shapely.get_num_coordinates(coarse) < shapely.get_num_coordinates(one.place.geometry)
    assert coarse.hausdorff_distance(one.place.geometry) <= 4.0 * DEGREES * 1.01


@pytest.mark.parametrize("longitude", [13.4, 180.0, -179.9999])
def test_what_fits_nowhere_has_a_hull_on_earth_too(longitude: float) -> None:
    one = placed(wobbly(4000, 100, 160, 120), longitude)
    [body] = bodies((one,), MIN_PAYLOAD)
    [feature] = body["features"]
    assert feature["properties"]["geometry_quality"] == "hull"
    hull = shape(feature["geometry"])
    assert one.place is not None
    assert hull.is_valid
    assert hull.area == pytest.approx(np.pi * 125**2 * DEGREES**2, rel=0.1)
    assert (hull.bounds[2] - hull.bounds[0] > 359.99) == (longitude != 13.4)


def test_properties_that_leave_no_room_give_way_and_the_box_stays() -> None:
    one = placed(wobbly(4000, 100, 160, 120), note="x" * 3000)
    [body] = bodies((one,), MIN_PAYLOAD)
    [feature] = body["features"]
    assert feature["properties"]["properties_omitted"] == 1
    assert len(feature["bbox"]) == 4


def test_a_divided_message_has_hulls_on_earth() -> None:
    [message] = encode(answer((placed(wobbly(4000, 100, 160, 120)),)), "t", 1_000_000, 0.0)
    [piece] = divide(message, MIN_PAYLOAD)
    assert len(piece.payload) <= MIN_PAYLOAD
    body = json.loads(piece.payload)
    jsonschema.Draft202012Validator(detections_schema()).validate(body)
    [feature] = body["features"]
    assert shape(feature["geometry"]).area == pytest.approx(np.pi * 125**2 * DEGREES**2, rel=0.1)
