"""From what was found to the members of a client's schema.

A schema is understood before the model is asked, by the names and types of its members (``names.py``):

- An array of objects holds the found objects, the best first; where its name is about a phrase that is asked
  (``scratches``), those of this phrase only. So does an object of such a name with what is in it.
- In an object of such an array: its label, score, box, centre, area, outline, number and id.
- Elsewhere: how many there are, of all or of one phrase; whether there are any; lists of labels, scores, boxes and
  outlines; a summary; the image's name and size.
- A member with one possible value has it. A member that means nothing here is null where it may be, and left out where
  it is not required.
- Coordinates are pixels, or shares of the width and height where their ``maximum`` is 1.

Everything else is refused, with the member that is not possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sam3edge_serving.api.structured import names
from sam3edge_serving.api.structured.findings import Findings, Found, Point
from sam3edge_serving.api.structured.names import one_of, phrase_of
from sam3edge_serving.api.structured.schema import Node, Place, Schema, alternatives, snake_case
from sam3edge_serving.http.errors import BadRequest, Unanswerable

Value: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class _At:
    """What a value is of: an image, one found object in it, or one point of its outline."""

    findings: Findings
    found: Found | None = None
    point: Point | None = None


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is known where a node is compiled.

    Attributes:
        within: ``image``, ``object`` or ``point``, as ``_At``; ``phrase`` is an image of which one phrase counts.
        siblings: names of the members beside it.
    """

    within: str = "image"
    siblings: frozenset[str] = frozenset()


_NOTHING = Found(0, "", "", 0.0, (0.0, 0.0, 0.0, 0.0), 0.0, ())
"""Tells which names are coordinates."""

Write: TypeAlias = Callable[[_At], Value]


def understand(schema: Node, phrases: Sequence[str], path: str) -> Callable[[Findings], Value]:
    """How the answer is written that follows a schema.

    Args:
        schema: JSON Schema of an object.
        phrases: what is asked.
        path: where the schema is in the request.

    Returns:
        Writes an answer. It raises Unanswerable where what was found is beyond the schema's bounds.

    Raises:
        BadRequest: names the member that is not possible.
    """
    write = _Compiler(Schema(schema, path), tuple(phrases)).root()
    return lambda findings: write(_At(findings))


class _Compiler:
    def __init__(self, schema: Schema, phrases: tuple[str, ...]) -> None:
        self._schema = schema
        self._phrases = phrases

    def root(self) -> Write:
        place = self._schema.place
        if self._schema.resolve(self._schema.root, place).get("type") != "object":
            place.refuse("the answer is an object; expected a schema of type 'object'")
        return self._value(self._schema.root, place, _Scope())

    def _value(self, node: Any, place: Place, scope: _Scope) -> Write:
        node = self._schema.resolve(node, place)
        options, nullable = alternatives(node)
        refusal: BadRequest | None = None
        for option in options:
            try:
                return self._one(self._schema.resolve(option, place), place, scope)
            except BadRequest as error:
                refusal = refusal or error
        if nullable:
            return lambda _: None
        raise refusal or place.refuse("expected a type, got none")

    def _one(self, node: Node, place: Place, scope: _Scope) -> Write:
        values: list[Any] = [node["const"]] if "const" in node else node.get("enum", [])
        if len(values) == 1:
            return lambda _: values[0]
        kind = node.get("type")
        if kind == "object":
            return self._object(node, place, scope)
        if kind == "array":
            return self._array(node, place, scope)
        if kind == "string":
            return self._string(values, place, scope)
        if kind in ("integer", "number"):
            return _within_bounds(self._number(node, place, scope), node, place, whole=kind == "integer")
        if kind == "boolean":
            return self._boolean(place, scope)
        place.refuse("expected one of the types object, array, string, number, integer and boolean")

    def _object(self, node: Node, place: Place, scope: _Scope) -> Write:
        members = node.get("properties", {})
        if not members:
            place.refuse("an object must name its properties")
        required = node.get("required", [])
        inner = replace(scope, siblings=frozenset(place.member(name).name for name in members))
        phrase = phrase_of(place.name, self._phrases) if scope.within == "image" and place.name else None
        writes: dict[str, Write] = {}
        for name, member in members.items():
            try:
                writes[name] = self._value(member, place.member(name), inner)
            except BadRequest:
                if name in required:
                    raise

        def write(at: _At) -> Value:
            own = replace(at, findings=at.findings.of(phrase)) if phrase else at
            return {name: value(own) for name, value in writes.items()}

        return write

    def _array(self, node: Node, place: Place, scope: _Scope) -> Write:
        items = node.get("prefixItems") or node.get("items")
        item = self._schema.resolve(items[0] if isinstance(items, list) and items else items, place.items())
        [*options], _ = alternatives(item)
        if len(options) != 1:
            place.refuse("what an array holds must be of one kind")
        item = self._schema.resolve(options[0], place.items())
        if scope.within == "object":
            return self._of_object(node, item, place)
        if scope.within == "point":
            place.refuse(_why_not(place, scope))
        return self._list(node, item, place)

    def _list(self, node: Node, item: Node, place: Place) -> Write:
        """An array of something of every found object, or of every label."""
        name, phrase = one_of(place.name), phrase_of(place.name, self._phrases)
        kind = item.get("type")
        if kind == "object":
            try:
                each = self._value(item, place.items(), _Scope("object"))
            except BadRequest as refusal:
                return self._by_phrase(node, item, place, refusal)
        elif kind == "string":
            if name not in names.LABEL | names.ANY and phrase is None:
                place.refuse(f"a list of texts can be of labels, and {place.name!r} does not say so")
            label = self._string(item.get("enum"), replace(place.items(), name="label"), _Scope("object"))
            return _counted(lambda at: list(dict.fromkeys(_each(label, at, phrase))), node, place)
        elif kind == "array" and phrase is not None:
            each = self._of_object(item, self._schema.resolve(item.get("items"), place.items()), _as(place, "box"))
        else:
            each = self._value(item, replace(place.items(), name=name), _Scope("object"))
        return _counted(lambda at: _each(each, at, phrase), node, place)

    def _by_phrase(self, node: Node, item: Node, place: Place, refusal: BadRequest) -> Write:
        """An array of something about every phrase, such as its label and how many there are."""
        try:
            each = self._value(item, replace(place.items(), name=""), _Scope("phrase"))
        except BadRequest:
            raise refusal from None  # the likelier meaning was another
        return _counted(
            lambda at: [each(_At(at.findings.of(phrase))) for phrase in at.findings.phrases], node, place, most=False
        )

    def _of_object(self, node: Node, item: Node, place: Place) -> Write:
        """A box, a point, or an outline."""
        name, kind = one_of(place.name), item.get("type")
        if kind in ("number", "integer"):
            whole, share = kind == "integer", item.get("maximum") == 1
            for known, of in ((names.BOX, _box), (names.BOX_BY_SIZE, _box_by_size), (names.CENTER, names.middle)):
                if name in known:
                    return _counted(_pixels(of, whole, share), node, place, most=False)
        elif name in names.OUTLINE and kind in ("array", "object"):
            inner = self._schema.resolve(item.get("items"), place.items()) if kind == "array" else {}
            if inner.get("type") in ("array", "object"):  # a list of rings, one for each part
                ring = self._of_object(item, inner, place.items())
                return lambda at: [
                    ring(replace(at, found=replace(_found(at), shells=(shell,)))) for shell in _found(at).shells
                ]
            whole = self._is_whole(item, place.items())
            share = self._is_share(item, place.items())
            point = None if kind == "array" else self._value(item, place.items(), _Scope("point"))

            def write(at: _At) -> Value:
                return [_point(point, at, xy, whole, share) for xy in _found(at).shells[0]]

            return write
        place.refuse(
            f"no list of a found object is called {place.name!r}; there are box (x0, y0, x1, y1), xywh, center (x, y) "
            "and polygon"
        )

    def _is_whole(self, item: Node, place: Place) -> bool:
        return self._schema.resolve(item.get("items", {}), place).get("type") == "integer"

    def _is_share(self, item: Node, place: Place) -> bool:
        return self._schema.resolve(item.get("items", {}), place).get("maximum") == 1

    def _string(self, values: Any, place: Place, scope: _Scope) -> Write:
        name = one_of(place.name)
        if scope.within in ("object", "phrase") and name in names.LABEL:
            spelled = self._spelled(values, place)
            return lambda at: spelled[at.found.label if at.found else at.findings.phrases[0]]
        if not values:
            if scope.within == "object" and name in names.NUMBER:
                return lambda at: _found(at).id
            if scope.within != "object" and name in names.IMAGE_NAME:
                return lambda at: at.findings.name
            if scope.within != "object" and name in names.SUMMARY:
                return lambda at: _summary(at.findings)
        place.refuse(_why_not(place, scope))

    def _spelled(self, values: Any, place: Place) -> dict[str, str]:
        """How each phrase is spelled: as one of ``values`` where there are any."""
        if not values:
            return {phrase: phrase for phrase in self._phrases}
        known = {snake_case(one): one for one in values if isinstance(one, str)}
        known = {**{one_of(key): value for key, value in known.items()}, **known}
        spelled = {}
        for phrase in self._phrases:
            key = snake_case(phrase)
            if key not in known and one_of(key) not in known:
                place.refuse(f"the enum has no value for the phrase {phrase!r}")
            spelled[phrase] = known.get(key) or known[one_of(key)]
        return spelled

    def _number(self, node: Node, place: Place, scope: _Scope) -> Callable[[_At], float]:
        name, whole = one_of(place.name), node.get("type") == "integer"
        if scope.within == "point" and name in ("x", "y"):
            axis, share = "xy".index(name), node.get("maximum") == 1
            return lambda at: (at.point or (0.0, 0.0))[axis] / (_size(at)[axis] if share else 1)
        if scope.within == "object":
            if name in names.SCORE and not whole:
                return lambda at: _found(at).score
            if name in names.AREA:
                return lambda at: _found(at).area
            if name in names.NUMBER:
                return lambda at: _found(at).number
            if names.coordinate(place.name, scope.siblings, _NOTHING) is not None:
                return _coordinate(place.name, scope.siblings, node.get("maximum") == 1)
        if scope.within in ("image", "phrase"):
            phrase = phrase_of(place.name, self._phrases)
            if name in names.COUNT or phrase is not None:
                return lambda at: len(at.findings.of(phrase).objects)
            if name in names.WIDTH | names.HEIGHT:
                axis = 0 if name in names.WIDTH else 1
                return lambda at: _size(at)[axis]
        place.refuse(_why_not(place, scope))

    def _boolean(self, place: Place, scope: _Scope) -> Write:
        phrase = phrase_of(place.name, self._phrases)
        if scope.within in ("image", "phrase") and (phrase is not None or place.name in names.ANY):
            return lambda at: bool(at.findings.of(phrase).objects)
        place.refuse(_why_not(place, scope))


def _coordinate(name: str, siblings: frozenset[str], share: bool) -> Callable[[_At], float]:
    axis = 0 if names.is_horizontal(name) else 1

    def write(at: _At) -> float:
        value = names.coordinate(name, siblings, _found(at)) or 0.0
        return value / _size(at)[axis] if share else value

    return write


def _each(write: Write, at: _At, phrase: str | None) -> list[Value]:
    findings = at.findings.of(phrase)
    return [write(_At(findings, found)) for found in findings.objects]


def _counted(write: Write, node: Node, place: Place, most: bool = True) -> Write:
    """Within ``minItems`` and ``maxItems``: of too many objects the best are kept."""
    fewest, largest = node.get("minItems", 0), node.get("maxItems")

    def counted(at: _At) -> Value:
        values = write(at)
        values = values[:largest] if most else values
        if len(values) < fewest or (largest is not None and len(values) > largest):
            _beyond(place, f"{len(values)} values, expected {fewest} to {'any number' if largest is None else largest}")
        return values

    return counted


def _within_bounds(write: Callable[[_At], float], node: Node, place: Place, whole: bool) -> Write:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")

    def bounded(at: _At) -> Value:
        value = round(write(at)) if whole else round(write(at), 4)
        if (
            (low is not None and value < low)
            or (high is not None and value > high)
            or (above is not None and value <= above)
            or (below is not None and value >= below)
        ):
            _beyond(place, f"the value is {value}")
        return value

    return bounded


def _beyond(place: Place, why: str) -> None:
    raise Unanswerable(f"what was found is beyond the bounds of {place.path}: {why}", param=place.path)


def _pixels(of: Callable[[Found], Sequence[float]], whole: bool, share: bool) -> Write:
    def write(at: _At) -> Value:
        values = of(_found(at))
        if share:
            values = [value / _size(at)[i % 2] for i, value in enumerate(values)]
        return [round(value) if whole else round(value, 4) for value in values]

    return write


def _point(write: Write | None, at: _At, xy: Point, whole: bool, share: bool) -> Value:
    if write is not None:
        return write(replace(at, point=xy))
    values = [value / side for value, side in zip(xy, _size(at), strict=True)] if share else xy
    return [round(value) if whole else round(value, 4) for value in values]


def _box(found: Found) -> Sequence[float]:
    return found.box


def _box_by_size(found: Found) -> Sequence[float]:
    x0, y0, x1, y1 = found.box
    return x0, y0, x1 - x0, y1 - y0


def _found(at: _At) -> Found:
    assert at.found is not None, "an object's member is only compiled within an object"
    return at.found


def _size(at: _At) -> tuple[int, int]:
    return at.findings.width, at.findings.height


def _as(place: Place, name: str) -> Place:
    return replace(place, name=name)


def _summary(findings: Findings) -> str:
    counts = [(sum(o.label == phrase for o in findings.objects), phrase) for phrase in findings.phrases]
    return ", ".join(f"{count} {phrase}" for count, phrase in counts)


def _why_not(place: Place, scope: _Scope) -> str:
    offered = {
        "object": "a found object has label, score, box, center, area, polygon, index and id",
        "point": "a point has x and y",
        "phrase": "a phrase has label, count, found and arrays of found objects",
        "image": "an image has arrays of found objects, count, found, summary, image_name, width and height, and most "
        "of them by phrase; what belongs to one object stands in an array of objects",
    }
    return f"{place.name!r} of this type means nothing here: {offered[scope.within]}"
