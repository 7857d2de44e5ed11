"""From what was found to the members of a client's schema.

A schema is understood before the model is asked, by the names and types of its members (``names.py``):

- An array of objects holds the found objects, the best first; where its name is about a phrase that is asked
  (``scratches``), those of this phrase only. So does an object of such a name with what is in it.
- In an object of such an array: its label, score, box, corners, centre, area, outline, number and id.
- Elsewhere: how many there are, of all or of one phrase; whether there are any; lists of labels, scores, boxes and
  outlines; a summary; the image's name and size.
- A member with one possible value has it; where that is a phrase and the member a label, it chooses among alternatives.
  A member that means nothing here is null where it may be, and left out where it is not required.
- Coordinates are pixels, or shares of the width and height where their ``maximum`` is 1.

Everything else is refused, with the member that is not possible. What is written is judged by the schema as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from sam3edge_serving.api.structured import names
from sam3edge_serving.api.structured.findings import Findings, Found, Point
from sam3edge_serving.api.structured.names import one_of, phrase_of
from sam3edge_serving.api.structured.schema import Node, Place, Schema, alternatives, snake_case
from sam3edge_serving.http.errors import BadRequest, Unanswerable

Value: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class _At:
    """What a value is of: an image (all of it, and the phrase that counts here), an object in it, a point of that."""

    whole: Findings
    findings: Findings
    found: Found | None = None
    point: Point | None = None


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is known where a node is compiled.

    Attributes:
        phrases: that an object here may be of.
        within: ``image``, ``object`` or ``point``, as ``_At``; ``phrase`` is an image of which one phrase counts.
        siblings: names of the members beside it.
        around: name of the object that holds it, where that is a part of a found object.
        choice: whether it is one of several alternatives, or within one.
    """

    phrases: tuple[str, ...]
    within: Literal["image", "phrase", "object", "point"] = "image"
    siblings: frozenset[str] = frozenset()
    around: str | None = None
    choice: Literal["", "one", "within"] = ""


Write: TypeAlias = Callable[[_At], Value]

_NOTHING = Found(0, "", "", 0.0, (0.0, 0.0, 0.0, 0.0), 0.0, ())
"""Tells which names are coordinates."""


class _OtherAlternative(Exception):
    """A label is not the one that this alternative is about."""


def understand(schema: Node, phrases: Sequence[str], path: str) -> Callable[[Findings], Value]:
    """How the answer is written that follows a schema.

    Args:
        schema: JSON Schema of an object.
        phrases: what is asked.
        path: where the schema is in the request.

    Returns:
        Writes an answer. It raises Unanswerable where what was found is not as the schema wants it.

    Raises:
        BadRequest: names the member that is not possible.
    """
    read = Schema(schema, path)
    write = _Compiler(read, tuple(phrases)).root()

    def answer(findings: Findings) -> Value:
        value = write(_At(findings, findings))
        read.judge(value)
        return value

    return answer


class _Compiler:
    def __init__(self, schema: Schema, phrases: tuple[str, ...]) -> None:
        self._schema = schema
        self._phrases = phrases

    def root(self) -> Write:
        node, place = self._schema.resolve(self._schema.root, self._schema.place)
        if node.get("type") != "object":
            place.refuse("the answer is an object; expected a schema of type 'object'")
        return self._object(node, place, _Scope(self._phrases))

    def _value(self, node: Any, place: Place, scope: _Scope) -> Write:
        node, place = self._schema.resolve(node, place)
        options, nullable = alternatives(node)
        if len(options) > 1 or nullable:
            scope = replace(scope, choice="one")
        writes: list[Write] = []
        refusal: BadRequest | None = None
        for option in options:
            try:
                writes.append(self._one(*self._schema.resolve(option, place), scope))
            except BadRequest as error:
                refusal = refusal or error
        if not nullable and refusal is not None and not writes:
            raise refusal
        return writes[0] if len(writes) == 1 and not nullable else _first_of(writes, nullable, place)

    def _one(self, node: Node, place: Place, scope: _Scope) -> Write:
        values: list[Any] = [node["const"]] if "const" in node else node.get("enum", [])
        kind = node.get("type")
        if len(values) == 1 and not self._is_label(values[0], place, scope):
            if scope.choice == "one":
                place.refuse(f"nothing tells whether it is {str(values[0])[:40]!r}")
            return lambda _: values[0]
        if kind == "object":
            return self._object(node, place, scope)
        if kind == "array":
            return self._array(node, place, scope)
        if kind == "string" or (values and all(isinstance(value, str) for value in values)):
            return self._string(values, place, scope)
        if kind in ("integer", "number"):
            number, whole = self._number(node, place, scope), kind == "integer"
            return lambda at: _rounded(number(at), whole)
        if kind == "boolean":
            return self._boolean(place, scope)
        place.refuse("expected one of the types object, array, string, number, integer and boolean")

    def _is_label(self, value: object, place: Place, scope: _Scope) -> bool:
        known = {one_of(snake_case(phrase)) for phrase in self._phrases}
        labels = scope.within in ("object", "phrase") and one_of(place.name) in names.LABEL
        return labels and isinstance(value, str) and one_of(snake_case(value)) in known

    def _object(self, node: Node, place: Place, scope: _Scope) -> Write:
        members = node.get("properties", {})
        if not members:
            place.refuse("an object must name its properties")
        phrase = phrase_of(place.name, self._phrases) if scope.within == "image" and place.name else None
        around = "" if scope.around is None else one_of(place.name)
        if around and around not in names.GEOMETRY:
            place.refuse(_why_not(place, scope))
        inner = replace(
            scope,
            phrases=scope.phrases if phrase is None else (phrase,),
            siblings=frozenset(place.member(name).name for name in members),
            around=around if scope.within == "object" else None,
            choice="within" if scope.choice else "",
        )
        writes: dict[str, Write] = {}
        for name, member in members.items():
            try:
                writes[name] = self._value(member, place.member(name), inner)
            except BadRequest:
                if name in node.get("required", ()):
                    raise

        def write(at: _At) -> Value:
            own = replace(at, findings=at.whole.of(phrase)) if phrase else at
            return {name: value(own) for name, value in writes.items()}

        return write

    def _array(self, node: Node, place: Place, scope: _Scope) -> Write:
        if scope.within == "point":
            place.refuse(_why_not(place, scope))
        item, where = self._schema.resolve(node.get("items"), place.items())
        options = [self._schema.resolve(option, where) for option in alternatives(item)[0]]
        if scope.within != "object" and options and all(one.get("type") == "object" for one, _ in options):
            return _trimmed(self._objects(node.get("items"), place), node)
        if len(options) != 1:
            place.refuse("what an array holds must be of one kind")
        if scope.within == "object":
            return self._part(*options[0], place)
        return _trimmed(self._list(*options[0], place, scope), node)

    def _objects(self, items: Any, place: Place) -> Write:
        """An array of objects: the found ones, or one for every phrase."""
        phrase = phrase_of(place.name, self._phrases)
        phrases = self._phrases if phrase is None else (phrase,)
        try:
            each = self._value(items, place.items(), _Scope(phrases, "object"))
        except BadRequest as refusal:
            try:
                about = self._value(items, place.items(""), _Scope(phrases, "phrase"))
            except BadRequest:
                raise refusal from None  # the likelier meaning was another
            return lambda at: [about(_At(at.whole, at.whole.of(one))) for one in phrases]
        return lambda at: _each(each, at, phrase)

    def _list(self, item: Node, where: Place, place: Place, scope: _Scope) -> Write:
        """An array of something of every found object, or of every label."""
        name, phrase = one_of(place.name), phrase_of(place.name, self._phrases)
        inside = _Scope(scope.phrases if phrase is None else (phrase,), "object")
        if item.get("type") == "string":
            if name not in names.LABEL | names.ANY:
                place.refuse(f"a list of texts can be of labels, and {place.name!r} does not say so")
            label = self._string(item.get("enum", []), replace(where, name="label"), inside)
            if _PARALLEL.isdisjoint(one_of(sibling) for sibling in scope.siblings):
                return lambda at: list(dict.fromkeys(_each(label, at, phrase)))
            return lambda at: _each(label, at, phrase)
        if item.get("type") == "array" and phrase is not None:
            inner = self._schema.resolve(item.get("items"), where.items())
            each = self._part(*inner, replace(where, name="box"))
        else:
            each = self._value(item, replace(where, name=name), inside)
        return lambda at: _each(each, at, phrase)

    def _part(self, item: Node, where: Place, place: Place) -> Write:
        """A list within a found object: a box, a corner, a point, or an outline."""
        name, kind = one_of(place.name), item.get("type")
        if kind in ("number", "integer"):
            whole, share = kind == "integer", item.get("maximum") == 1
            if place.name in names.CORNERS:
                x, y = names.CORNERS[place.name]
                return _pixels(lambda found: (found.box[x], found.box[y]), whole, share)
            for matches, of in (
                (name in names.BOX, _box),
                (place.name in names.BOX_BY_SIZE, _box_by_size),
                (place.name in names.CENTER, names.middle),
            ):
                if matches:
                    return _pixels(of, whole, share)
        elif name in names.OUTLINE and kind == "array":
            inner, below = self._schema.resolve(item.get("items"), where.items())
            if inner.get("type") in ("array", "object"):  # a list of rings, one for each part
                ring = self._part(inner, below, place)
                return lambda at: [
                    ring(replace(at, found=replace(_found(at), shells=(shell,)))) for shell in _found(at).shells
                ]
            whole, share = inner.get("type") == "integer", inner.get("maximum") == 1
            return lambda at: [_point(at, xy, whole, share) for xy in _shell(at)]
        elif name in names.OUTLINE and kind == "object":
            point = self._value(item, where, _Scope(self._phrases, "point"))
            return lambda at: [point(replace(at, point=xy)) for xy in _shell(at)]
        place.refuse(
            f"a found object has no list {place.name!r} of this kind; there are numbers of a box (x0, y0, x1, y1), "
            "xywh and center (x, y), and points of a polygon"
        )

    def _string(self, values: Sequence[Any], place: Place, scope: _Scope) -> Write:
        name = one_of(place.name)
        if scope.within in ("object", "phrase") and name in names.LABEL:
            return self._label(values, place, scope)
        if not values:
            if scope.within == "object" and name in names.NUMBER:
                return lambda at: _found(at).id
            if scope.within in ("image", "phrase") and name in names.IMAGE_NAME:
                return lambda at: at.whole.name
            if scope.within in ("image", "phrase") and name in names.SUMMARY:
                return lambda at: _summary(at.findings)
        place.refuse(_why_not(place, scope))

    def _label(self, values: Sequence[Any], place: Place, scope: _Scope) -> Write:
        """The phrase, as one of ``values`` spells it where there are any."""
        spelled = {phrase: phrase for phrase in scope.phrases}
        if values:
            known = {one_of(snake_case(one)): one for one in values if isinstance(one, str)}
            known.update({snake_case(one): one for one in values if isinstance(one, str)})
            keys = {phrase: (snake_case(phrase), one_of(snake_case(phrase))) for phrase in scope.phrases}
            spelled = {
                p: known.get(exact) or known[one] for p, (exact, one) in keys.items() if {exact, one} & known.keys()
            }
            missing = [phrase for phrase in scope.phrases if phrase not in spelled]
            if missing and (not scope.choice or not spelled):
                place.refuse(f"none of its values is the phrase {missing[0]!r}")

        def write(at: _At) -> Value:
            label = at.found.label if at.found else at.findings.phrases[0]
            if label not in spelled:
                raise _OtherAlternative
            return spelled[label]

        return write

    def _number(self, node: Node, place: Place, scope: _Scope) -> Callable[[_At], float]:
        name, whole, share = one_of(place.name), node.get("type") == "integer", node.get("maximum") == 1
        if scope.within == "point" and place.name in ("x", "y"):
            axis = "xy".index(place.name)
            return lambda at: (at.point or (0.0, 0.0))[axis] / (_size(at)[axis] if share else 1)
        if scope.within == "object":
            around = scope.around or ""
            if not around and name in names.SCORE and not whole:
                return lambda at: _found(at).score
            if not around and name in names.AREA:
                return lambda at: _found(at).area
            if not around and name in names.NUMBER:
                return lambda at: _found(at).number
            if names.coordinate(place.name, scope.siblings, around, _NOTHING) is not None:
                return _coordinate(place.name, scope.siblings, around, share)
        if scope.within in ("image", "phrase"):
            if place.name in names.WIDTH | names.HEIGHT:
                axis = 0 if place.name in names.WIDTH else 1
                return lambda at: _size(at)[axis]
            phrase = phrase_of(place.name, self._phrases)
            if whole and phrase is not None:
                return lambda at: len(at.whole.of(phrase).objects)
            if whole and name in names.COUNT:
                return lambda at: len(at.findings.objects)
        place.refuse(_why_not(place, scope))

    def _boolean(self, place: Place, scope: _Scope) -> Write:
        phrase = phrase_of(place.name, self._phrases)
        if scope.within in ("image", "phrase"):
            if phrase is not None:
                return lambda at: bool(at.whole.of(phrase).objects)
            if place.name in names.ANY:
                return lambda at: bool(at.findings.objects)
        place.refuse(_why_not(place, scope))


_PARALLEL = names.SCORE | names.BOX | names.BOX_BY_SIZE | names.OUTLINE | names.AREA | names.NUMBER
"""Lists beside which a list of labels has one for every object, too."""


def _first_of(writes: Sequence[Write], nullable: bool, place: Place) -> Write:
    """The first alternative that is about what was found; null where none is and it may be."""

    def write(at: _At) -> Value:
        for one in writes:
            try:
                return one(at)
            except _OtherAlternative:
                continue
        if nullable:
            return None
        raise Unanswerable(f"none of the alternatives of {place.path} is about what was found", param=place.path)

    return write


def _coordinate(name: str, siblings: frozenset[str], around: str, share: bool) -> Callable[[_At], float]:
    axis = 0 if names.is_horizontal(name) else 1

    def write(at: _At) -> float:
        value = names.coordinate(name, siblings, around, _found(at)) or 0.0
        return value / _size(at)[axis] if share else value

    return write


def _each(write: Write, at: _At, phrase: str | None) -> list[Value]:
    findings = at.findings if phrase is None else at.whole.of(phrase)
    return [write(_At(at.whole, findings, found)) for found in findings.objects]


def _trimmed(write: Write, node: Node) -> Write:
    """Of more objects than ``maxItems`` the best."""
    return lambda at: write(at)[: node.get("maxItems")]


def _pixels(of: Callable[[Found], Sequence[float]], whole: bool, share: bool) -> Write:
    def write(at: _At) -> Value:
        values = of(_found(at))
        if share:
            values = [value / _size(at)[i % 2] for i, value in enumerate(values)]
        return [_rounded(value, whole) for value in values]

    return write


def _point(at: _At, xy: Point, whole: bool, share: bool) -> Value:
    values = [value / side for value, side in zip(xy, _size(at), strict=True)] if share else xy
    return [_rounded(value, whole) for value in values]


def _rounded(value: float, whole: bool) -> float:
    return round(value) if whole else round(value, 4)


def _box(found: Found) -> Sequence[float]:
    return found.box


def _box_by_size(found: Found) -> Sequence[float]:
    x0, y0, x1, y1 = found.box
    return x0, y0, x1 - x0, y1 - y0


def _shell(at: _At) -> tuple[Point, ...]:
    """The outline of the largest part."""
    shells = _found(at).shells
    return shells[0] if shells else ()


def _found(at: _At) -> Found:
    assert at.found is not None, "an object's member is only compiled within an object"
    return at.found


def _size(at: _At) -> tuple[int, int]:
    return at.whole.width, at.whole.height


def _summary(findings: Findings) -> str:
    counts = [(sum(o.label == phrase for o in findings.objects), phrase) for phrase in findings.phrases]
    return ", ".join(f"{count} {phrase}" for count, phrase in counts)


def _why_not(place: Place, scope: _Scope) -> str:
    offered = {
        "object": "a found object has label, score, box, corners, center, area, polygon, index and id",
        "point": "a point has x and y",
        "phrase": "a phrase has label, count, found and arrays of found objects",
        "image": "an image has arrays of found objects, count, found, summary, image_name, width and height, and most "
        "of them by phrase; what belongs to one object stands in an array of objects",
    }
    return f"{place.name!r} of this type means nothing here: {offered[scope.within]}"
