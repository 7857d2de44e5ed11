"""GeoJSON in image coordinates: our own detections message, and what OversightML's tools write.

One FeatureCollection, or several as JSON lines. The outline is ``imageGeometry`` in the properties, pixels of the
image, origin top left; ``geometry`` is for places on the globe (RFC 7946) and is not read. Parts of one frame are put
together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import shapely.geometry
from pydantic import Field

from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    AnnotationFile,
    FormatError,
    ImageAnnotations,
    Lenient,
    in_utc,
    parse,
    phrase_of,
    read_bytes,
)
from sam3edge_pipeline.datasets.formats.outlines import finished, from_geojson


class _Class(Lenient):
    iri: str


class _Properties(Lenient):
    imageGeometry: dict[str, Any]  # noqa: N815  # the format's own name
    featureClasses: list[_Class] = Field(default_factory=list)  # noqa: N815
    prompt: str = ""
    image_id: str = ""
    geometry_quality: str = "exact"
    ignored: bool = False


class _Feature(Lenient):
    type: Literal["Feature"]
    properties: _Properties


class _Frame(Lenient):
    name: str
    width: int = Field(gt=0, le=MAX_SIDE)
    height: int = Field(gt=0, le=MAX_SIDE)
    digest: str = ""


class _Prompt(Lenient):
    text: str


class _Collection(Lenient):
    type: Literal["FeatureCollection"]
    features: list[_Feature]
    frame: _Frame | None = None
    prompts: list[_Prompt] = Field(default_factory=list)
    time: datetime | None = None


def read_geojson(path: Path) -> AnnotationFile:
    """Read features in image coordinates.

    Features that are only known by their hull (``geometry_quality``) are ignored objects: the hull says where something
    is, and is not its outline.

    Raises:
        FormatError: damaged; a feature without ``imageGeometry``; a feature of which nobody says what it is, or in
            which image.
    """
    images: dict[str, ImageAnnotations] = {}
    categories: dict[str, None] = {}
    for place, data in _documents(read_bytes(path)):
        collection = parse(_Collection, data, path, place)
        before = f"{place}: " if place else ""
        for number, prompt in enumerate(collection.prompts):
            categories[phrase_of(prompt.text, path, f"{before}prompts.{number}.text")] = None
        frame = collection.frame
        if frame is not None:
            _note(images, frame, collection, path, place)
        for number, feature in enumerate(collection.features):
            at = f"{before}features.{number}.properties"
            one, name = _read(feature.properties, frame, path, at)
            categories[one.phrase] = None
            known = images.get(name) or ImageAnnotations(name, None, None, ())
            images[name] = _with(known, (*known.objects, one))
    return AnnotationFile(tuple(images.values()), tuple(categories))


def geojson_of(image: ImageAnnotations) -> bytes:
    """One image's objects as a FeatureCollection that ``read_geojson`` reads back; the same image gives the same bytes.

    Raises:
        ValueError: the image's size is not known.
    """
    if image.width is None or image.height is None:
        raise ValueError(f"a frame needs the size of {image.image}")
    features = [
        {
            "type": "Feature",
            "id": str(number),
            "geometry": None,
            "properties": {
                "imageGeometry": shapely.geometry.mapping(one.outline),
                "imageBBox": list(one.outline.bounds),
                "featureClasses": [{"iri": one.phrase, "score": 1.0}],
                "image_id": image.image,
                "prompt": one.phrase,
                "label": one.phrase,
                "ignored": one.ignored,
            },
        }
        for number, one in enumerate(image.objects)
    ]
    digest = f"sha256:{image.digest}" if image.digest else ""
    frame = {"name": image.image, "width": image.width, "height": image.height, "digest": digest}
    document = {"type": "FeatureCollection", "frame": frame, "features": features}
    return json.dumps(document, separators=(",", ":")).encode()


def _documents(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The collections of a file and where they are; one that is printed over several lines is one."""
    lines = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if len(lines) > 1 and all(line.startswith(b"{") and line.rstrip().endswith(b"}") for _, line in lines):
        yield from ((f"line {number}", line) for number, line in lines)
    else:
        yield "", data


def _note(images: dict[str, ImageAnnotations], frame: _Frame, collection: _Collection, path: Path, place: str) -> None:
    known = images.get(frame.name)
    if known is None:
        digest = frame.digest.removeprefix("sha256:")
        images[frame.name] = ImageAnnotations(
            frame.name, frame.width, frame.height, (), in_utc(collection.time), digest=digest
        )
    elif (known.width, known.height) != (frame.width, frame.height):
        raise FormatError(f"{path}: {place or 'frame'}: {frame.name!r} has had another size before")


def _read(properties: _Properties, frame: _Frame | None, path: Path, place: str) -> tuple[LabeledObject, str]:
    name = frame.name if frame is not None else properties.image_id
    if not name:
        raise FormatError(f"{path}: {place}: expected image_id, or the member frame of the collection")
    text = properties.prompt or next((c.iri for c in properties.featureClasses), "")
    phrase = phrase_of(text, path, f"{place}: prompt or featureClasses.0.iri")
    geometry = from_geojson(properties.imageGeometry, path, f"{place}.imageGeometry")
    width, height = (frame.width, frame.height) if frame is not None else (None, None)
    outline = finished(geometry, width, height, path, f"{place}.imageGeometry")
    return LabeledObject(phrase, outline, properties.ignored or properties.geometry_quality == "hull"), name


def _with(image: ImageAnnotations, objects: tuple[LabeledObject, ...]) -> ImageAnnotations:
    return ImageAnnotations(
        image.image, image.width, image.height, objects, image.labeled_at, image.labeler, image.job, image.digest
    )
