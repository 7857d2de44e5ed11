"""COCO instances (https://cocodataset.org/#format-data): polygons, and run lengths as text or as numbers.

``iscrowd`` objects are ignored: neither to be found nor to be missed, as in COCO's own evaluation.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from shapely.geometry.base import BaseGeometry

from sam3edge.vector.run_lengths import rle_of, segmentation_of
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    AnnotationFile,
    FormatError,
    ImageAnnotations,
    Lenient,
    parse,
    phrase_of,
    read_bytes,
    require_new,
)
from sam3edge_pipeline.datasets.formats.outlines import MAX_MASK_PIXELS, finished, from_mask, from_rings


class _Image(Lenient):
    id: int
    file_name: str = Field(min_length=1)
    width: int = Field(gt=0, le=MAX_SIDE)
    height: int = Field(gt=0, le=MAX_SIDE)


class _Category(Lenient):
    id: int
    name: str


class _Rle(Lenient):
    size: tuple[int, int]
    counts: str | list[int]


class _Annotation(Lenient):
    image_id: int
    category_id: int
    segmentation: list[list[float]] | _Rle
    iscrowd: Literal[0, 1] = 0


class _Instances(Lenient):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read_coco(path: Path) -> AnnotationFile:
    """Read an instances file.

    Raises:
        FormatError: damaged, or not COCO instances.
    """
    document = parse(_Instances, read_bytes(path), path)
    phrases: dict[int, str] = {}
    for number, category in enumerate(document.categories):
        if category.id in phrases:
            raise FormatError(f"{path}: categories.{number}: the id {category.id} occurs twice")
        phrases[category.id] = phrase_of(category.name, path, f"categories.{number}.name")
    images: dict[int, _Image] = {}
    names: set[str] = set()
    for number, image in enumerate(document.images):
        require_new(image.file_name, names, path, f"images.{number}")
        if image.id in images:
            raise FormatError(f"{path}: images.{number}: the id {image.id} occurs twice")
        images[image.id] = image
    objects: defaultdict[int, list[LabeledObject]] = defaultdict(list)
    for number, annotation in enumerate(document.annotations):
        place = f"annotations.{number}"
        if annotation.image_id not in images:
            raise FormatError(f"{path}: {place}.image_id: there is no image {annotation.image_id}")
        if annotation.category_id not in phrases:
            raise FormatError(f"{path}: {place}.category_id: there is no category {annotation.category_id}")
        image = images[annotation.image_id]
        geometry = _geometry(annotation.segmentation, image, path, f"{place}.segmentation")
        outline = finished(geometry, image.width, image.height, path, f"{place}.segmentation")
        objects[image.id].append(LabeledObject(phrases[annotation.category_id], outline, bool(annotation.iscrowd)))
    read = (ImageAnnotations(i.file_name, i.width, i.height, tuple(objects[i.id])) for i in images.values())
    return AnnotationFile(tuple(read), tuple(dict.fromkeys(phrases.values())))


def coco_of(images: Sequence[ImageAnnotations]) -> bytes:
    """An instances file; the same images give the same bytes.

    Outlines without holes are written as polygons, others as run lengths, which COCO's polygons cannot say.

    Raises:
        ValueError: an image's size is not known.
    """
    phrases = sorted({one.phrase for image in images for one in image.objects})
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": phrase} for i, phrase in enumerate(phrases, 1)],
    }
    for number, image in enumerate(images, 1):
        if image.width is None or image.height is None:
            raise ValueError(f"COCO needs the size of {image.image}")
        size = {"width": image.width, "height": image.height}
        document["images"].append({"id": number, "file_name": image.image, **size})
        for one in image.objects:
            x0, y0, x1, y1 = one.outline.bounds
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": number,
                    "category_id": phrases.index(one.phrase) + 1,
                    "segmentation": (rle_of if one.ignored else segmentation_of)(
                        one.outline, image.width, image.height
                    ),
                    "area": one.outline.area,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": int(one.ignored),
                }
            )
    return json.dumps(document, separators=(",", ":")).encode()


def _geometry(segmentation: list[list[float]] | _Rle, image: _Image, path: Path, place: str) -> BaseGeometry:
    if isinstance(segmentation, _Rle):
        return from_mask(_mask(segmentation, image, path, place))
    for number, ring in enumerate(segmentation):
        if len(ring) < 6 or len(ring) % 2:
            raise FormatError(
                f"{path}: {place}.{number}: expected x, y of three points or more, got {len(ring)} numbers"
            )
    if not segmentation:
        raise FormatError(f"{path}: {place}: expected at least one polygon; mend or remove this object")
    return from_rings((np.array(ring, np.float64).reshape(-1, 2) for ring in segmentation), path, place)


def _mask(rle: _Rle, image: _Image, path: Path, place: str) -> npt.NDArray[np.bool_]:
    height, width = rle.size
    if (width, height) != (image.width, image.height) or width * height > MAX_MASK_PIXELS:
        raise FormatError(
            f"{path}: {place}.size: expected [{image.height}, {image.width}], as the image, and at most "
            f"{MAX_MASK_PIXELS} pixels, got [{height}, {width}]"
        )
    counts = rle.counts if isinstance(rle.counts, list) else _counts(rle.counts, path, place)
    # pycocotools trusts what it reads: a wrong sum would have it write beyond the mask
    if any(count < 0 for count in counts) or sum(counts) != width * height:
        raise FormatError(f"{path}: {place}.counts: expected run lengths that add up to {width * height} pixels")
    return _unpacked(counts, width, height)


def _counts(text: str, path: Path, place: str) -> list[int]:
    """Run lengths of COCO's text (``rleFrString`` of cocoapi ``common/maskApi.c``), which pycocotools reads without
    looking where it ends."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 30:
            raise FormatError(f"{path}: {place}.counts: {letter!r} at this place is not of COCO's run lengths")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value |= -1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise FormatError(f"{path}: {place}.counts: the run lengths are cut short")
    return counts


def _unpacked(counts: Sequence[int], width: int, height: int) -> npt.NDArray[np.bool_]:
    """bool [height, width]; not by pycocotools' ``decode``, which NumPy 2 warns of."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape((height, width), order="F")
