"""CVAT for images 1.1 (https://docs.cvat.ai/docs/manual/advanced/xml_format/): polygons, boxes and masks.

The document is read by expat itself: a document type is refused before any entity of it exists, and errors name lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

import numpy as np
import shapely.affinity
from shapely.geometry.base import BaseGeometry

from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    AnnotationFile,
    FormatError,
    ImageAnnotations,
    phrase_of,
    read_bytes,
    require_new,
)
from sam3edge_pipeline.datasets.formats.outlines import MAX_MASK_PIXELS, finished, from_mask, from_rings

_SHAPES = frozenset({"polygon", "box", "mask"})
_INSIDE = frozenset({"attribute", "tag"})
"""What an image may have beside shapes; it says nothing of outlines."""

_LABEL_NAMES = (
    ("annotations", "meta", "task", "labels", "label", "name"),
    ("annotations", "meta", "job", "labels", "label", "name"),
    ("annotations", "meta", "project", "labels", "label", "name"),
)
_MAX_DEPTH = 32


def read_cvat(path: Path) -> AnnotationFile:
    """Read an export named ``CVAT for images 1.1``.

    Raises:
        FormatError: damaged, has a document type, is of a video, or has shapes of another kind.
    """
    reader = _Reader(path)
    parser = reader.parser
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        raise FormatError(f"{path}: line {error.lineno}: {expat.ErrorString(error.code)}") from error
    return AnnotationFile(tuple(reader.images), tuple(dict.fromkeys(reader.categories)))


class _Reader:
    def __init__(self, path: Path) -> None:
        self.images: list[ImageAnnotations] = []
        self.categories: list[str] = []
        self._path = path
        self._open: list[str] = []
        self._text = ""
        self._names: set[str] = set()
        self._image: ImageAnnotations | None = None
        self._objects: list[LabeledObject] = []
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    @property
    def _place(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def _doctype(self, *_: object) -> None:
        raise FormatError(f"{self._path}: {self._place}: expected no document type (<!DOCTYPE>); remove it")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._open and name != "annotations":
            raise FormatError(f"{self._path}: {self._place}: expected <annotations>, got <{name[:40]}>")
        if len(self._open) >= _MAX_DEPTH:
            raise FormatError(f"{self._path}: {self._place}: expected at most {_MAX_DEPTH} elements in each other")
        inside = self._open[-1] if self._open else ""
        self._open.append(name)
        self._text = ""
        if inside == "annotations" and name == "track":
            raise FormatError(
                f"{self._path}: {self._place}: expected images, got the track of a video; export as CVAT for images 1.1"
            )
        if inside == "annotations" and name == "image":
            self._begin_image(attributes)
        elif inside == "image" and name in _SHAPES:
            self._add(name, attributes)
        elif inside == "image" and name not in _INSIDE:
            raise FormatError(
                f"{self._path}: {self._place}: expected polygons, boxes or masks, got <{name[:40]}>; "
                "convert or remove it"
            )

    def _end(self, name: str) -> None:
        if tuple(self._open) in _LABEL_NAMES:
            self.categories.append(phrase_of(self._text, self._path, self._place))
        self._open.pop()
        if name == "image" and self._image is not None:
            one = self._image
            self.images.append(ImageAnnotations(one.image, one.width, one.height, tuple(self._objects)))
            self._image = None

    def _characters(self, text: str) -> None:
        if self._open and self._open[-1] == "name" and len(self._text) <= 1000:
            self._text += text

    def _begin_image(self, attributes: Mapping[str, str]) -> None:
        name = attributes.get("name", "")
        if not name:
            raise FormatError(f"{self._path}: {self._place}: expected the attribute name")
        require_new(name, self._names, self._path, self._place)
        width, height = (self._whole(attributes, side, 1, MAX_SIDE) for side in ("width", "height"))
        self._image, self._objects = ImageAnnotations(name, width, height, ()), []

    def _add(self, kind: str, attributes: Mapping[str, str]) -> None:
        assert self._image is not None
        phrase = phrase_of(attributes.get("label", ""), self._path, self._place)
        if phrase not in self.categories:
            self.categories.append(phrase)
        read = {"polygon": self._polygon, "box": self._box, "mask": self._mask}[kind]
        geometry = read(attributes)
        outline = finished(geometry, self._image.width, self._image.height, self._path, self._place)
        self._objects.append(LabeledObject(phrase, outline))

    def _polygon(self, attributes: Mapping[str, str]) -> BaseGeometry:
        pairs = [pair.split(",") for pair in attributes.get("points", "").split(";")]
        try:
            points = [(float(x), float(y)) for x, y in pairs]
        except ValueError as error:
            raise FormatError(f"{self._path}: {self._place}: expected three points or more, as x,y;x,y;x,y") from error
        return from_rings([points], self._path, self._place)

    def _box(self, attributes: Mapping[str, str]) -> BaseGeometry:
        x0, y0, x1, y1 = (self._number(attributes, name) for name in ("xtl", "ytl", "xbr", "ybr"))
        box = shapely.box(x0, y0, x1, y1)
        rotation = self._number(attributes, "rotation", 0.0)
        return shapely.affinity.rotate(box, rotation) if rotation else box  # clockwise, since y is down

    def _mask(self, attributes: Mapping[str, str]) -> BaseGeometry:
        left, top = (self._whole(attributes, name, 0, MAX_SIDE) for name in ("left", "top"))
        width, height = (self._whole(attributes, name, 1, MAX_SIDE) for name in ("width", "height"))
        try:
            counts = [int(count) for count in attributes.get("rle", "").split(",")]
        except ValueError as error:
            raise FormatError(f"{self._path}: {self._place}: expected run lengths in the attribute rle") from error
        if min(counts) < 0 or sum(counts) != width * height or width * height > MAX_MASK_PIXELS:
            raise FormatError(
                f"{self._path}: {self._place}: expected run lengths that add up to {width} x {height} pixels, "
                f"{MAX_MASK_PIXELS} at most"
            )
        values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return from_mask(values.reshape(height, width), left, top)

    def _number(self, attributes: Mapping[str, str], name: str, otherwise: float | None = None) -> float:
        try:
            value = float(attributes[name]) if otherwise is None or name in attributes else otherwise
        except (KeyError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise FormatError(f"{self._path}: {self._place}: expected a number in the attribute {name}")
        return value

    def _whole(self, attributes: Mapping[str, str], name: str, least: int, most: int) -> int:
        value = self._number(attributes, name)
        if not (least <= value <= most and value == int(value)):
            raise FormatError(
                f"{self._path}: {self._place}: expected a whole number from {least} to {most} in the attribute {name}"
            )
        return int(value)
