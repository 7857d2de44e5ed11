"""The part of JSON Schema that strict structured outputs use: types, objects, arrays, enumerations, alternatives,
references and bounds. What an answer must be beyond that, the library ``jsonschema`` says when it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator
from referencing import Registry

from sam3edge_serving.api.validation import bad_request
from sam3edge_serving.http.errors import BadRequest, Unanswerable

Node: TypeAlias = Mapping[str, Any]

MAX_DEPTH = 12
"""Of nested nodes. OpenAI allows 10 levels of objects."""

MAX_NODES = 2000
"""Of one schema, references followed."""

_REFUSED = (
    *("pattern", "patternProperties", "propertyNames", "contains", "not", "if", "then", "else", "dependentSchemas"),
    *("unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef"),
)
"""Keywords that cannot be promised, or that hold schemas which are not looked at here."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is.

    Attributes:
        path: in the request, such as ``response_format.json_schema.schema.properties.boxes``.
        name: of the member that the node describes, in lower case with underscores; of an array's items that of the
            array.
        depth: how deep it is nested.
        references: those that were followed to it.
    """

    path: str
    name: str = ""
    depth: int = 0
    references: frozenset[str] = field(default=frozenset())

    def member(self, name: str) -> Place:
        """A property of the object here."""
        return replace(
            self, path=f"{self.path}.properties.{name[:60]}", name=snake_case(name[:60]), depth=self.depth + 1
        )

    def items(self, name: str | None = None) -> Place:
        """What the array here holds, under the array's name or another."""
        return replace(self, path=f"{self.path}.items", name=self.name if name is None else name, depth=self.depth + 1)

    def refuse(self, why: str) -> NoReturn:
        """Raises BadRequest, which names this place."""
        raise BadRequest(f"{self.path}: {why}"[:500], param=self.path, code="unsupported_value")


class _Shape(BaseModel):
    """What keywords hold that are read here, wherever they stand in the schema."""

    model_config = ConfigDict(extra="ignore")
    type: str | list[str] = ""
    properties: dict[str, _Shape] = {}
    required: list[str] = []
    items: _Shape | None = None
    prefix_items: list[_Shape] = Field([], alias="prefixItems", min_length=1)
    any_of: list[_Shape] = Field([], alias="anyOf", min_length=1)
    one_of: list[_Shape] = Field([], alias="oneOf", min_length=1)
    all_of: list[_Shape] = Field([], alias="allOf", max_length=1)
    enum: list[JsonValue] = Field([], min_length=1)
    ref: str = Field("", alias="$ref", pattern="^#")  # nothing is fetched
    defs: dict[str, _Shape] = Field({}, alias="$defs")
    definitions: dict[str, _Shape] = {}
    additional: bool = Field(True, alias="additionalProperties")
    minimum: float | None = Field(None, strict=True)
    maximum: float | None = Field(None, strict=True)
    exclusive_minimum: float | None = Field(None, alias="exclusiveMinimum", strict=True)
    exclusive_maximum: float | None = Field(None, alias="exclusiveMaximum", strict=True)
    multiple_of: float | None = Field(None, alias="multipleOf", strict=True, gt=0)
    min_items: int = Field(0, alias="minItems", strict=True, ge=0)
    max_items: int | None = Field(None, alias="maxItems", strict=True, ge=0)
    min_length: int = Field(0, alias="minLength", strict=True, ge=0)
    max_length: int | None = Field(None, alias="maxLength", strict=True, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _promises_nothing_else(cls, value: Any) -> Any:
        refused = next((word for word in _REFUSED if isinstance(value, dict) and word in value), None)
        if refused:
            raise ValueError(f"{refused!r} cannot be promised; leave it out")
        return value

    @field_validator("type")
    @classmethod
    def _is_known(cls, value: str | list[str]) -> str | list[str]:
        known = {"object", "array", "string", "number", "integer", "boolean", "null"}
        if not known.issuperset([value] if isinstance(value, str) else value or [""]):
            raise ValueError(f"expected one of the types {', '.join(sorted(known))}")
        return value


class Schema:
    """A schema whose references can be followed, and which can judge an answer.

    Args:
        root: an object's.
        path: where it is in the request.

    Raises:
        BadRequest: not JSON Schema, or it has keywords that cannot be promised.
    """

    def __init__(self, root: Node, path: str) -> None:
        try:
            _Shape.model_validate(root)
        except ValidationError as error:
            raise bad_request(error, root, path) from None
        self.root = root
        self.place = Place(path)
        self._visited = 0

    def resolve(self, node: Any, place: Place) -> tuple[Node, Place]:
        """The node itself, or what it refers to, and its place.

        Raises:
            BadRequest: no schema, nested too deeply, or recursive: an answer is neither.
        """
        self._visited += 1
        if place.depth > MAX_DEPTH or self._visited > MAX_NODES:
            place.refuse("the schema is nested too deeply")
        while True:
            if not isinstance(node, Mapping):
                place.refuse("expected a schema of what it holds, got none")
            if "$ref" in node:
                reference = node["$ref"]
                if reference in place.references:
                    place.refuse(f"{reference[:80]!r} is recursive, and an answer is not")
                place = replace(place, references=place.references | {reference})
                node = self._target(reference, place)
            elif "allOf" in node:
                node = node["allOf"][0]
            elif "prefixItems" in node and "items" not in node:
                node = {**node, "items": node["prefixItems"][0]}
            else:
                return node, place

    def judge(self, answer: Any) -> None:
        """Raises Unanswerable where an answer is not as the schema wants it, and says where."""
        try:
            error = best_match(Draft202012Validator(self.root, registry=Registry()).iter_errors(answer))
        except RecursionError:
            self.place.refuse("the schema is nested too deeply")
        if error is not None:
            path = ".".join([self.place.path, *(str(part)[:60] for part in list(error.absolute_schema_path)[:-1])])
            wanted = f"{error.validator} {str(error.validator_value)[:80]}"
            raise Unanswerable(f"what was found does not fit the schema: {path}: expected {wanted}", param=path[:200])

    def _target(self, reference: str, place: Place) -> Any:
        target: Any = self.root
        for step in reference.lstrip("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or step not in target:
                place.refuse(f"the $ref {reference[:80]!r} leads nowhere")
            target = target[step]
        return target


def alternatives(node: Node) -> tuple[list[Node], bool]:
    """What a value may be, without null; and whether it may be null."""
    for word in ("anyOf", "oneOf"):
        if word in node:
            options = [option for option in node[word] if option.get("type") != "null"]
            return options, len(options) < len(node[word])
    kinds = node.get("type")
    kinds = [kinds] if kinds == "null" else kinds
    if isinstance(kinds, list):
        return [{**node, "type": kind} for kind in kinds if kind != "null"], "null" in kinds
    return [node], False


def snake_case(name: str) -> str:
    """``boundingBox``, ``bounding-box`` and ``Bounding Box`` -> bounding_box."""
    return re.sub(r"[\s\-.]+", "_", _CAMEL.sub("_", name.strip())).lower()
