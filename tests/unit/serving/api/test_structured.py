"""Answers by a client's own schema, as pydantic writes them for OpenAI's clients."""

from __future__ import annotations

import contextlib
import enum
import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from sam3edge_serving.api.structured.findings import Findings, Found, read_findings
from sam3edge_serving.api.structured.mapping import understand
from sam3edge_serving.http.errors import BadRequest, Unanswerable
from support.api_rig import GEOJSON

PHRASES = ("scratch", "metal tag")


def found(number: int, label: str, score: float, box: tuple[float, float, float, float]) -> Found:
    x0, y0, x1, y1 = box
    ring = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    return Found(number, f"id-{number}", label, score, box, (x1 - x0) * (y1 - y0), (ring,))


FINDINGS = Findings(
    PHRASES,
    (
        found(0, "scratch", 0.9, (10.0, 20.5, 30.0, 40.0)),
        found(1, "metal tag", 0.8, (100.0, 0.0, 200.0, 50.0)),
        found(2, "scratch", 0.7, (1.0, 2.0, 3.0, 4.0)),
    ),
    "yard.jpg",
    200,
    100,
)


def answer(model: type[BaseModel], findings: Findings = FINDINGS) -> Any:
    """What a client's model gets, as the client reads it."""
    schema = to_strict_json_schema(model)
    written = json.loads(json.dumps(understand(schema, findings.phrases, "s")(findings)))
    jsonschema.validate(written, schema)
    return model.model_validate(written)


def refusal(schema: type[BaseModel] | dict[str, Any], phrases: tuple[str, ...] = PHRASES) -> BadRequest:
    """Why a schema is not possible."""
    given_schema = schema if isinstance(schema, dict) else to_strict_json_schema(schema)
    with pytest.raises(BadRequest) as raised:
        understand(given_schema, phrases, "s")
    assert raised.value.code in ("unsupported_value", "invalid_request")
    return raised.value


class Box(BaseModel):
    x_min: float
    y_min: float
    x_max: float
    y_max: float


class Kind(str, enum.Enum):
    SCRATCH = "Scratch"
    METAL_TAG = "METAL_TAG"
    OTHER = "other"


class Detection(BaseModel):
    label: str
    confidence: float
    bounding_box: Box


class Report(BaseModel):
    detections: list[Detection]


def test_objects_with_label_score_and_box() -> None:
    first, second, third = answer(Report).detections
    assert (first.label, first.confidence) == ("scratch", 0.9)
    assert first.bounding_box == Box(x_min=10, y_min=20.5, x_max=30, y_max=40)
    assert (second.label, third.label) == ("metal tag", "scratch")


def test_every_way_to_write_a_box() -> None:
    class BySize(BaseModel):
        x: int
        y: int
        width: int
        height: int

    class Sides(BaseModel):
        left: float
        top: float
        right: float
        bottom: float

    class Numbered(BaseModel):
        x1: float
        y1: float
        x2: float
        y2: float

    class Zeroed(BaseModel):
        x0: float
        y0: float
        x1: float
        y1: float

    class Middle(BaseModel):
        x: float
        y: float

    class Item(BaseModel):
        name: str
        box: BySize
        rect: Sides
        region: Numbered
        location: Zeroed
        center: Middle
        bbox: list[int]
        xywh: list[float]
        centroid: list[float]
        boundingBox: Sides  # noqa: N815
        index: int
        id: str
        area: float

    class Items(BaseModel):
        items: list[Item]

    item = answer(Items).items[0]
    assert item.box == BySize(x=10, y=20, width=20, height=20)
    assert item.rect == Sides(left=10, top=20.5, right=30, bottom=40)
    assert item.region == Numbered(x1=10, y1=20.5, x2=30, y2=40)
    assert item.location == Zeroed(x0=10, y0=20.5, x1=30, y1=40)
    assert item.center == Middle(x=20, y=30.25)
    assert (item.bbox, item.xywh, item.centroid) == ([10, 20, 30, 40], [10, 20.5, 20, 19.5], [20, 30.25])
    assert item.boundingBox == item.rect
    assert (item.index, item.id, item.area) == (0, "id-0", 390)


def test_coordinates_beside_the_label() -> None:
    class Flat(BaseModel):
        object_class: str
        x: float
        y: float
        w: float
        h: float
        cx: float

    class Items(BaseModel):
        objects: list[Flat]

    assert answer(Items).objects[1] == Flat(object_class="metal tag", x=100, y=0, w=100, h=50, cx=150)


def test_shares_of_the_image() -> None:
    class Item(BaseModel):
        box: list[Annotated[float, Field(ge=0, le=1)]]
        x_min: Annotated[float, Field(ge=0, le=1)]
        bottom: Annotated[float, Field(ge=0, le=1)]
        polygon: list[list[Annotated[float, Field(ge=0, le=1)]]]

    class Items(BaseModel):
        items: list[Item]

    item = answer(Items).items[1]
    assert item.box == [0.5, 0, 1, 0.5]
    assert (item.x_min, item.bottom) == (0.5, 0.5)
    assert item.polygon[:3] == [[0.5, 0], [1, 0], [1, 0.5]]


def test_outlines() -> None:
    class Point(BaseModel):
        x: int
        y: int

    class Item(BaseModel):
        polygon: list[list[float]]
        outline: list[Point]
        segmentation: list[list[list[int]]]

    class Items(BaseModel):
        items: list[Item]

    item = answer(Items).items[1]
    assert item.polygon == [[100, 0], [200, 0], [200, 50], [100, 50], [100, 0]]
    assert item.outline[1] == Point(x=200, y=0)
    assert item.segmentation == [[[100, 0], [200, 0], [200, 50], [100, 50], [100, 0]]]


def test_what_is_said_of_the_whole_image() -> None:
    class Whole(BaseModel):
        count: int
        found: bool
        labels: list[str]
        scores: list[float]
        boxes: list[list[float]]
        summary: str
        image_name: str
        image_width: int
        height: int
        kind: Literal["detections"]

    whole = answer(Whole)
    assert (whole.count, whole.found) == (3, True)
    assert whole.labels == ["scratch", "metal tag", "scratch"]  # one for each of scores and boxes
    assert (whole.scores, whole.boxes[2]) == ([0.9, 0.8, 0.7], [1, 2, 3, 4])
    assert whole.summary == "2 scratch, 1 metal tag"
    assert (whole.image_name, whole.image_width, whole.height, whole.kind) == ("yard.jpg", 200, 100, "detections")


def test_members_that_are_about_one_phrase() -> None:
    class OnlyBox(BaseModel):
        box: list[float]

    class Scratches(BaseModel):
        count: int
        boxes: list[list[int]]

    class ByPhrase(BaseModel):
        scratches: list[OnlyBox]
        metalTags: list[list[float]]  # noqa: N815
        scratch_count: int
        num_metal_tags: int
        has_scratches: bool
        metal_tag_present: bool
        scratch: Scratches

    got = answer(ByPhrase)
    assert [one.box for one in got.scratches] == [[10, 20.5, 30, 40], [1, 2, 3, 4]]
    assert got.metalTags == [[100, 0, 200, 50]]
    assert (got.scratch_count, got.num_metal_tags, got.has_scratches, got.metal_tag_present) == (2, 1, True, True)
    assert got.scratch == Scratches(count=2, boxes=[[10, 20, 30, 40], [1, 2, 3, 4]])
    nothing = answer(ByPhrase, Findings(PHRASES, (), "", 10, 10))
    assert (nothing.scratches, nothing.scratch_count, nothing.has_scratches) == ([], 0, False)


def test_a_list_about_the_phrases() -> None:
    class Class(BaseModel):
        name: Kind
        count: int
        boxes: list[list[float]]

    class Classes(BaseModel):
        classes: list[Class]

    scratch, tag = answer(Classes).classes
    assert (scratch.name, scratch.count, tag.name, tag.count) == (Kind.SCRATCH, 2, Kind.METAL_TAG, 1)
    assert tag.boxes == [[100, 0, 200, 50]]


def test_labels_are_spelled_as_an_enum_has_them() -> None:
    class Item(BaseModel):
        category: Kind

    class Items(BaseModel):
        items: list[Item]
        labels: list[Kind]

    got = answer(Items)
    assert [one.category for one in got.items] == [Kind.SCRATCH, Kind.METAL_TAG, Kind.SCRATCH]
    assert got.labels == [Kind.SCRATCH, Kind.METAL_TAG]
    assert "'dent'" in str(refusal(Items, (*PHRASES, "dent")))


def test_what_may_be_null_is_null_where_it_means_nothing() -> None:
    class Item(BaseModel):
        label: str | None
        severity: str | None
        repair_cost: float | None

    class Items(BaseModel):
        items: list[Item]
        verdict: str | None

    got = answer(Items)
    assert got.items[0] == Item(label="scratch", severity=None, repair_cost=None)
    assert got.verdict is None


def test_what_is_not_required_is_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}, "mood": {"type": "string"}},
        "required": ["count"],
    }
    assert understand(schema, PHRASES, "s")(FINDINGS) == {"count": 3}
    assert refusal({**schema, "required": ["count", "mood"]}).param == "s.properties.mood"


@pytest.mark.parametrize(
    ("member", "kind", "param"),
    [
        ("severity", str, "s.properties.items.items.properties.severity"),
        ("score", int, "s.properties.items.items.properties.score"),
        ("score", str, "s.properties.items.items.properties.score"),
        ("is_dangerous", bool, "s.properties.items.items.properties.is_dangerous"),
        ("tags", list[str], "s.properties.items.items.properties.tags"),
        ("anything", list[float], "s.properties.items.items.properties.anything"),
    ],
)
def test_a_member_that_is_not_possible_is_named(member: str, kind: Any, param: str) -> None:
    item = type("Item", (BaseModel,), {"__annotations__": {"label": str, member: kind}})
    items = type("Items", (BaseModel,), {"__annotations__": {"items": list[item]}})
    error = refusal(items)
    assert error.param == param
    assert param in str(error)


def test_what_belongs_to_one_object_is_refused_beside_the_array() -> None:
    class One(BaseModel):
        label: str
        box: list[float]

    assert "array of objects" in str(refusal(One))


def test_bounds() -> None:
    class Item(BaseModel):
        score: float = Field(ge=0.75)

    class Best(BaseModel):
        items: Annotated[list[Detection], Field(max_length=1)]

    class Enough(BaseModel):
        items: Annotated[list[Detection], Field(min_length=4)]

    class Scored(BaseModel):
        items: list[Item]

    assert [one.confidence for one in answer(Best).items] == [0.9]
    with pytest.raises(Unanswerable, match=r"s\.properties\.items: expected minItems 4"):
        answer(Enough)
    with pytest.raises(Unanswerable, match=r"score: expected minimum 0\.75"):
        answer(Scored)


def test_labels_alone_are_each_named_once() -> None:
    class Labels(BaseModel):
        labels: list[str]
        count: int

    assert answer(Labels) == Labels(labels=["scratch", "metal tag"], count=3)


def test_corners_are_corners() -> None:
    class Point(BaseModel):
        x: float
        y: float

    class Size(BaseModel):
        width: float
        height: float

    class Half(BaseModel):
        x: float
        y: float
        x2: float
        y2: float

    class Item(BaseModel):
        top_left: Point
        bottomRight: Point  # noqa: N815
        origin: Point
        size: Size
        upper_right: list[float]
        box: Half

    class Items(BaseModel):
        items: list[Item]

    item = answer(Items).items[0]
    assert (item.top_left, item.bottomRight) == (Point(x=10, y=20.5), Point(x=30, y=40))
    assert item.origin == item.top_left
    assert (item.size, item.upper_right) == (Size(width=20, height=19.5), [30, 20.5])
    assert item.box == Half(x=10, y=20.5, x2=30, y2=40)


@pytest.mark.parametrize("name", ["velocity", "parent", "bottom_center", "speed"])
def test_an_object_that_is_no_part_of_a_found_one_is_refused(name: str) -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}
    item = {"type": "object", "properties": {name: point}, "required": [name]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    assert f"'{name}' of this type means nothing here" in str(refusal(schema))


class ScratchInfo(BaseModel):
    kind: Literal["scratch"]
    box: list[float]


class TagInfo(BaseModel):
    kind: Literal["metal_tag"]
    area: float


def test_a_label_chooses_among_alternatives() -> None:
    class Items(BaseModel):
        items: list[ScratchInfo | TagInfo]
        scratches: list[ScratchInfo]

    got = answer(Items)
    assert [type(one) for one in got.items] == [ScratchInfo, TagInfo, ScratchInfo]
    assert [one.kind for one in got.scratches] == ["scratch", "scratch"]

    class OnlyTags(BaseModel):
        items: list[TagInfo]

    assert "none of its values is the phrase 'scratch'" in str(refusal(OnlyTags))


def test_nothing_is_made_up_where_a_value_is_one_of_several() -> None:
    class Item(BaseModel):
        label: str
        severity: Literal["high"] | None
        version: Literal["1.0"]

    class Items(BaseModel):
        items: list[Item]

    assert answer(Items).items[0] == Item(label="scratch", severity=None, version="1.0")
    options = {"anyOf": [{"const": "none"}, {"const": "severe"}]}
    item = {"type": "object", "properties": {"severity": options}, "required": ["severity"]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    assert "nothing tells whether it is 'none'" in str(refusal(schema))


INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    "count",
    [
        {"type": "integer", "enum": [0, 1, 2]},
        {"allOf": [INTEGER], "minimum": 1000},
        {"anyOf": [INTEGER], "minimum": 1000},
        {"$ref": "#/$defs/Count", "maximum": 2},
        {"type": "integer", "multipleOf": 2},
    ],
)
def test_an_answer_that_is_not_as_the_schema_wants_it_is_never_given(count: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"count": count}, "required": ["count"], "$defs": {"Count": INTEGER}}
    with pytest.raises(Unanswerable, match=r"does not fit the schema: s\."):
        understand(schema, PHRASES, "s")(FINDINGS)
    missing = {"type": "object", "properties": {"count": INTEGER}, "required": ["count", "other"]}
    with pytest.raises(Unanswerable, match="required"):
        understand(missing, PHRASES, "s")(FINDINGS)


def test_tuples() -> None:
    class Item(BaseModel):
        box: tuple[float, float, float, float]
        polygon: list[tuple[float, float]]

    class Items(BaseModel):
        items: list[Item]

    schema = Items.model_json_schema()
    written = understand(schema, PHRASES, "s")(FINDINGS)
    assert Items.model_validate(written).items[1].polygon[1] == (200, 0)


def test_points_in_one_flat_list_are_not_the_centre() -> None:
    class Item(BaseModel):
        points: list[float]

    class Items(BaseModel):
        items: list[Item]

    assert "no list 'points' of this kind" in str(refusal(Items))


def test_names_that_only_look_like_counts() -> None:
    for name in ("scratch", "has_scratch", "metal_tag_detection"):
        schema = {"type": "object", "properties": {name: {"type": "number"}}, "required": [name]}
        assert "means nothing here" in str(refusal(schema))


def test_another_phrase_within_a_phrase() -> None:
    schema = {
        "type": "object",
        "properties": {
            "scratch": {
                "type": "object",
                "properties": {"count": INTEGER, "metal_tag_count": INTEGER, "found": {"type": "boolean"}},
                "required": ["count", "metal_tag_count", "found"],
            }
        },
        "required": ["scratch"],
    }
    written = understand(schema, PHRASES, "s")(FINDINGS)
    assert written == {"scratch": {"count": 2, "metal_tag_count": 1, "found": True}}


class Tree(BaseModel):
    label: str
    children: list[Tree]


class Forest(BaseModel):
    trees: list[Tree]


@pytest.mark.parametrize(
    "schema",
    [
        to_strict_json_schema(Forest),
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]},
        {"type": "object", "properties": {"count": {"type": "integer", "multipleOf": 0}}, "required": ["count"]},
        {"type": "object", "properties": {"a": {"allOf": [{}, {}]}}, "required": ["a"]},
        {"type": "object", "properties": {"count": {"type": "integer"}}, "additionalProperties": {"pattern": "x"}},
        {"type": "object", "properties": {"count": {"type": "integer"}}, "$defs": {"x": {"$ref": "http://127.0.0.1/"}}},
        {"type": "object", "properties": {"count": {"type": "integer"}}, "if": {"pattern": "(a*)*b"}},
        {"type": "object", "properties": {"summary": {"type": "string", "pattern": "x"}}, "required": ["summary"]},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"anyOf": 7}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {}},
        {"type": "object"},
        {"type": "array", "items": {"type": "string"}},
        {},
    ],
)
def test_schemas_that_cannot_be_followed(schema: dict[str, Any]) -> None:
    assert str(refusal(schema)).startswith("s")


WORDS = [
    "type",
    "properties",
    "items",
    "required",
    "anyOf",
    "$ref",
    "enum",
    "const",
    "maximum",
    "minItems",
    "maxItems",
    "prefixItems",
    "allOf",
    "label",
    "box",
    "boxes",
    "count",
    "polygon",
    "scratches",
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["string", "object", "array", "box", "#", "score"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=25,
)
NODES = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "number", "integer", "boolean", "null"])}),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.builds(
            lambda members: {"type": "object", "properties": members, "required": list(members)},
            st.dictionaries(
                st.sampled_from([*WORDS, "x", "y", "score", "id", "center", "x1", "masks"]), inner, max_size=4
            ),
        )
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=12,
)
"""Schemas of which a good part can be followed."""


@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "required", "$defs", "anyOf"]), JSON_VALUES))
def test_no_schema_is_a_fault_of_ours(schema: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest, Unanswerable):
        json.dumps(understand({**schema, "type": "object"}, PHRASES, "s")(FINDINGS), allow_nan=False)


@given(NODES)
def test_whatever_is_understood_is_followed(node: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"items": node}, "required": ["items"]}
    with contextlib.suppress(BadRequest):
        jsonschema.validate(understand(schema, PHRASES, "s")(FINDINGS), schema)


def test_findings_of_a_message() -> None:
    findings = read_findings(json.loads(GEOJSON))
    assert findings.width > 0
    [one] = findings.objects
    assert one.label in findings.phrases
    x0, y0, x1, y1 = one.box
    xs, ys = zip(*one.shells[0], strict=True)
    assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx((x0, y0, x1, y1), abs=1)
