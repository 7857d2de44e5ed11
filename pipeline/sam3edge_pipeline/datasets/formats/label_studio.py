"""Label Studio's JSON export (https://labelstud.io/guide/export#Label-Studio-JSON-format): polygons and rectangles.

Its coordinates are percent of the image's width and height. Of several annotations of one image, the one that is
marked as ground truth is taken, else the latest; canceled ones and predictions are not labels.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import shapely.affinity
from pydantic import Field, RootModel
from shapely.geometry.base import BaseGeometry

from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    AnnotationFile,
    FormatError,
    ImageAnnotations,
    Lenient,
    in_utc,
    parse,
    parse_value,
    phrase_of,
    read_bytes,
    require_new,
)
from sam3edge_pipeline.datasets.formats.outlines import finished, from_box, from_rings

WITHOUT_REGION = frozenset({"choices", "textarea", "rating", "number", "datetime", "taxonomy", "relation"})
"""Results about the whole image: they are passed over."""

_FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)


class _Value(Lenient):
    points: list[tuple[float, float]] = Field(default_factory=list)
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0
    rotation: float = 0
    polygonlabels: list[str] = Field(default_factory=list)
    rectanglelabels: list[str] = Field(default_factory=list)


class _Result(Lenient):
    type: str
    value: dict[str, Any] = Field(default_factory=dict)
    original_width: int | None = Field(None, gt=0, le=MAX_SIDE)
    original_height: int | None = Field(None, gt=0, le=MAX_SIDE)


class _Annotation(Lenient):
    result: list[_Result]
    was_cancelled: bool = False
    ground_truth: bool = False
    completed_by: int | dict[str, Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def at(self) -> datetime | None:
        return in_utc(self.updated_at or self.created_at)


class _Task(Lenient):
    data: dict[str, Any]
    annotations: list[_Annotation] = Field(default_factory=list)


class _Export(RootModel[list[_Task]]):
    pass


def read_label_studio(path: Path, image_key: str = "image") -> AnnotationFile:
    """Read a JSON export (not JSON-MIN).

    Tasks without an annotation are passed over: nobody has labeled them.

    Args:
        image_key: member of the tasks' ``data`` that names the image.

    Raises:
        FormatError: damaged, another export, or regions of another kind.
    """
    images: list[ImageAnnotations] = []
    names: set[str] = set()
    for number, task in enumerate(parse(_Export, read_bytes(path), path).root):
        address = task.data.get(image_key)
        if not isinstance(address, str) or not address:
            raise FormatError(f"{path}: {number}.data.{image_key}: expected the image's address as text")
        name = image_name(address)
        done = [(i, a) for i, a in enumerate(task.annotations) if not a.was_cancelled]
        if not done:
            continue
        require_new(name, names, path, str(number))
        index, annotation = max(done, key=lambda one: (one[1].ground_truth, one[1].at or _FIRST, one[0]))
        images.append(_read(annotation, name, path, f"{number}.annotations.{index}"))
    phrases = dict.fromkeys(one.phrase for image in images for one in image.objects)
    return AnnotationFile(tuple(images), tuple(phrases))


def image_name(address: str) -> str:
    """The path in an image's address: ``/data/local-files/?d=line/a.jpg`` -> ``line/a.jpg``."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    if parts.path.rstrip("/").endswith("local-files") and (local := parse_qs(parts.query).get("d")):
        return local[0]
    return unquote(parts.path) if parts.scheme in ("http", "https") or address.startswith("/data/") else address


def _read(annotation: _Annotation, name: str, path: Path, place: str) -> ImageAnnotations:
    objects: list[LabeledObject] = []
    size: tuple[int, int] | None = None
    for number, result in enumerate(annotation.result):
        at = f"{place}.result.{number}"
        if result.type in WITHOUT_REGION:
            continue
        if result.type not in ("polygonlabels", "rectanglelabels"):
            raise FormatError(
                f"{path}: {at}.type: expected polygonlabels or rectanglelabels, got {result.type[:40]!r}; "
                "convert these regions to polygons, or export them as COCO"
            )
        if result.original_width is None or result.original_height is None:
            raise FormatError(f"{path}: {at}: expected original_width and original_height")
        if size is not None and size != (result.original_width, result.original_height):
            raise FormatError(f"{path}: {at}: expected an image of {size[0]} x {size[1]} pixels, as before")
        size = result.original_width, result.original_height
        value = parse_value(_Value, result.value, path, f"{at}.value")
        labels = value.polygonlabels if result.type == "polygonlabels" else value.rectanglelabels
        if len(labels) != 1:
            raise FormatError(f"{path}: {at}.value.{result.type}: expected one label, got {len(labels)}")
        phrase = phrase_of(labels[0], path, f"{at}.value.{result.type}")
        objects.append(LabeledObject(phrase, finished(_geometry(value, result, size, path, at), *size, path, at)))
    by = annotation.completed_by
    labeler = by.get("email") or by.get("id") if isinstance(by, dict) else by
    width, height = size or (None, None)
    return ImageAnnotations(name, width, height, tuple(objects), annotation.at, "" if labeler is None else str(labeler))


def _geometry(value: _Value, result: _Result, size: tuple[int, int], path: Path, place: str) -> BaseGeometry:
    across, down = size[0] / 100, size[1] / 100
    if result.type == "polygonlabels":
        return from_rings([[(x * across, y * down) for x, y in value.points]], path, f"{place}.value.points")
    x, y = value.x * across, value.y * down
    box = from_box(x, y, value.width * across, value.height * down)
    if math.fmod(value.rotation, 360) == 0:
        return box
    return shapely.affinity.rotate(box, value.rotation, origin=(x, y))  # clockwise, since y is down
