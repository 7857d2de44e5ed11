"""What was found, as schemas can ask for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Point: TypeAlias = tuple[float, float]
"""x, y in pixels, origin top left."""


@dataclass(frozen=True, slots=True)
class Found:
    """One found object.

    Attributes:
        number: counted from 0 in the order of the answer.
        box: x0, y0, x1, y1 in pixels.
        area: pixels.
        shells: outer rings of its parts, the largest first, closed.
    """

    number: int
    id: str
    label: str
    score: float
    box: tuple[float, float, float, float]
    area: float
    shells: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in one image.

    Attributes:
        phrases: what was asked.
        objects: the best first.
        name: of the image.
        width, height: of the image, pixels.
    """

    phrases: tuple[str, ...]
    objects: tuple[Found, ...]
    name: str
    width: int
    height: int

    def of(self, phrase: str | None) -> Findings:
        """Those of one phrase; all where it is None."""
        if phrase is None:
            return self
        return replace(self, phrases=(phrase,), objects=tuple(o for o in self.objects if o.label == phrase))


def read_findings(message: Mapping[str, Any]) -> Findings:
    """Out of a detections message (``detections.schema.json``)."""
    objects = [_found(feature["id"], feature["properties"]) for feature in message["features"]]
    best = sorted(objects, key=lambda one: -one.score)
    numbered = tuple(replace(one, number=number) for number, one in enumerate(best))
    frame = message["frame"]
    phrases = tuple(prompt["text"] for prompt in message["prompts"])
    return Findings(phrases, numbered, frame["name"], frame["width"], frame["height"])


def _found(identity: str, properties: Mapping[str, Any]) -> Found:
    geometry = properties["imageGeometry"]
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    shells = sorted((tuple((x, y) for x, y in rings[0]) for rings in polygons if rings), key=_area, reverse=True)
    x0, y0, x1, y1 = properties["imageBBox"]
    return Found(
        0, identity, properties["prompt"], properties["score"], (x0, y0, x1, y1), properties["area"], tuple(shells)
    )


def _area(ring: Sequence[Point]) -> float:
    """Of a closed ring, by the shoelace formula."""
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring))) / 2
