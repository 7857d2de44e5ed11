"""The part of JSON Schema that strict structured outputs use: types, objects, arrays, enumerations, alternatives,
references and bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sam3edge_serving.api.validation import bad_request
from sam3edge_serving.http.errors import BadRequest

Node: TypeAlias = Mapping[str, Any]

MAX_DEPTH = 12
"""Of nested nodes. OpenAI allows 10 levels of objects."""

MAX_NODES = 2000
"""Of one schema, references followed."""

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NOT_KEPT = ("pattern", "format", "multipleOf", "minLength", "maxLength", "uniqueItems", "contains", "not", "if",
             "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas", "oneOf")  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is.

    Attributes:
        path: in the request, such as ``response_format.json_schema.schema.properties.boxes``.
        name: of the member that the node describes, in lower case with underscores; of an array's items that of the
            array.
        depth: how deep it is nested.
    """

    path: str
    name: str = ""
    depth: int = 0

    def member(self, name: str) -> Place:
        """A property of the object here."""
        return Place(f"{self.path}.properties.{name[:60]}", snake_case(name), self.depth + 1)

    def items(self) -> Place:
        """What the array here holds."""
        return Place(f"{self.path}.items", self.name, self.depth + 1)

    def refuse(self, why: str) -> NoReturn:
        """Raises BadRequest, which names this place."""
        raise BadRequest(f"{self.path}: {why}"[:500], param=self.path, code="unsupported_value")


class _Shape(BaseModel):
    """What keywords hold that are read here; whatever else there is says itself what becomes of it."""

    model_config = ConfigDict(extra="ignore")
    type: str | list[str] = ""
    properties: dict[str, _Shape] = {}
    required: list[str] = []
    items: _Shape | None = None
    prefix_items: list[_Shape] = Field([], alias="prefixItems", min_length=1)
    any_of: list[_Shape] = Field([], alias="anyOf", min_length=1)
    all_of: list[_Shape] = Field([], alias="allOf")
    enum: list[JsonValue] = []
    ref: str = Field("", alias="$ref")
    defs: dict[str, _Shape] = Field({}, alias="$defs")
    definitions: dict[str, _Shape] = {}
    minimum: float | None = Field(None, strict=True)
    maximum: float | None = Field(None, strict=True)
    exclusive_minimum: float | None = Field(None, alias="exclusiveMinimum", strict=True)
    exclusive_maximum: float | None = Field(None, alias="exclusiveMaximum", strict=True)
    min_items: int = Field(0, alias="minItems", strict=True, ge=0)
    max_items: int | None = Field(None, alias="maxItems", strict=True, ge=0)


class Schema:
    """A schema whose references can be followed.

    Args:
        root: an object's.
        path: where it is in the request.

    Raises:
        BadRequest: not JSON Schema.
    """

    def __init__(self, root: Node, path: str) -> None:
        try:
            _Shape.model_validate(root)
        except ValidationError as error:
            raise bad_request(error, root, path) from None
        self.root = root
        self.place = Place(path)
        self._visited = 0

    def resolve(self, node: Any, place: Place) -> Node:
        """The node itself, or what it refers to.

        Raises:
            BadRequest: not a schema, nested too deeply (as a recursive one is), or it promises what is not kept.
        """
        self._visited += 1
        if place.depth > MAX_DEPTH or self._visited > MAX_NODES:
            place.refuse("the schema is recursive or nested too deeply for an answer that is not")
        for _ in range(MAX_DEPTH):
            if not isinstance(node, Mapping):
                place.refuse(f"expected a schema, got {type(node).__name__}")
            if "$ref" in node:
                node = self._target(node["$ref"], place)
            elif len(node.get("allOf", ())) == 1:
                node = node["allOf"][0]
            else:
                break
        found: Node = node
        kept_not = next((word for word in _NOT_KEPT if word in found), None)
        if kept_not:
            place.refuse(f"{kept_not!r} cannot be promised; leave it out")
        return found

    def _target(self, reference: str, place: Place) -> Any:
        if not reference.startswith("#"):
            place.refuse("a $ref must begin with '#': nothing is fetched")
        target: Any = self.root
        for step in reference.lstrip("#").split("/")[1:]:
            if not isinstance(target, Mapping) or step not in target:
                place.refuse(f"the $ref {reference[:80]!r} leads nowhere")
            target = target[step]
        return target


def alternatives(node: Node) -> tuple[list[Node], bool]:
    """What a value may be, without null; and whether it may be null."""
    if "anyOf" in node:
        options = node["anyOf"]
        return [o for o in options if o.get("type") != "null"], any(o.get("type") == "null" for o in options)
    kinds = node.get("type")
    kinds = [kinds] if kinds == "null" else kinds
    if isinstance(kinds, list):
        return [{**node, "type": kind} for kind in kinds if kind != "null"], "null" in kinds
    return [node], False


def snake_case(name: str) -> str:
    """``boundingBox``, ``bounding-box`` and ``Bounding Box`` -> bounding_box."""
    return re.sub(r"[\s\-.]+", "_", _CAMEL.sub("_", name.strip())).lower()
