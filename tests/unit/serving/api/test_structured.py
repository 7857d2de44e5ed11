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
    assert (whole.count, whole.found, whole.labels) == (3, True, ["scratch", "metal tag"])
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
    with pytest.raises(Unanswerable, match=r"s\.properties\.items: 3 values, expected 4"):
        answer(Enough)
    with pytest.raises(Unanswerable, match=r"properties\.score: the value is 0\.7"):
        answer(Scored)


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
        {"type": "object", "properties": {"count": {"type": "integer", "multipleOf": 2}}, "required": ["count"]},
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
