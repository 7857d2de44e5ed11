"""COCO instances (https://cocodataset.org/#format-data), what trainers read: outlines in pixels, by image and label.

The names and sizes of images are held in memory until the end, and the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import TypedDict

from sam3edge.core.masks import crossings
from sam3edge.core.messages.envelope import to_json
from sam3edge.core.polygons import areas_only
from sam3edge.vector.rows import FeatureRefused, Row, row_of
from sam3edge.vector.run_lengths import Rings, Rle, has_holes, segmentation_of

FARTHEST = 2**31
"""Pixels from the origin that an outline may reach; of much larger ones areas are no numbers any more."""

MAX_PIXELS = 2**31
"""Of a frame with an object that is written as run lengths: pycocotools counts in 32 bits."""

MAX_CROSSINGS = 1 << 24
"""Of an outline that is written as run lengths, see ``crossings``: about a gigabyte."""

_FRAME = ("frame", "frame_width", "frame_height")


class CocoImage(TypedDict):
    """The image; pixels."""

    id: int
    file_name: str
    width: int
    height: int


class CocoCategory(TypedDict):
    """What is looked for."""

    id: int
    name: str


class CocoAnnotation(TypedDict):
    """One object; ``bbox`` is x, y, width and height, ``area`` pixels."""

    id: int
    image_id: int
    category_id: int
    segmentation: Rings | Rle
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int
    score: float


def labeled_row_of(feature: Mapping[str, Any]) -> Row:
    """``row_of`` for what COCO can say; outlines that cross themselves are made valid.

    Raises:
        FeatureRefused: as there; or it has no area in pixels, its frame has no name or size, or it takes more memory
            than there may be.
    """
    row = row_of(feature)
    outline = areas_only(row.outline) if isinstance(row.outline, Polygon | MultiPolygon) else MultiPolygon()
    if not outline.area > 0:
        raise FeatureRefused(f"COCO needs an area in pixels (imageGeometry), {row.name} has none")
    name, width, height = (row.values.get(key) for key in _FRAME)
    if not (name and isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise FeatureRefused(f"COCO needs the frame's name, width and height, {row.name} does not have them")
    if not max(map(abs, outline.bounds)) <= FARTHEST:
        raise FeatureRefused(f"expected an outline within {FARTHEST} pixels of the origin, {row.name} goes beyond")
    if has_holes(outline) and (width * height > MAX_PIXELS or crossings(outline, width) > MAX_CROSSINGS):
        raise FeatureRefused(
            f"{row.name} has a hole, which COCO says by run lengths of the frame: of {width} x {height} pixels they "
            "would take too much memory; other formats say holes as they are"
        )
    return replace(row, outline=outline)


class Coco:
    """A ``Format``, of rows of ``labeled_row_of``. Each label is a category, in the order in which they come."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = (folder / name).open("wb")
        self._images: dict[str, CocoImage] = {}
        self._categories: dict[str, CocoCategory] = {}
        self._annotations = 0
        self._file.write(b'{"annotations":[')

    def write(self, rows: Sequence[Row]) -> None:
        """See ``Format``."""
        for row in rows:
            written = to_json(self._annotation(row))
            self._file.write((b",\n" if self._annotations else b"\n") + written)
            self._annotations += 1

    def finish(self) -> None:
        """See ``Format``."""
        images, categories = ([*known.values()] for known in (self._images, self._categories))
        self._file.write(b'\n],\n"images":' + to_json(images) + b',\n"categories":' + to_json(categories) + b"}\n")
        self._file.close()

    def abandon(self) -> None:
        """See ``Format``."""
        self._file.close()

    def _annotation(self, row: Row) -> CocoAnnotation:
        outline, image = cast(Polygon | MultiPolygon, row.outline), self._image(row)
        x0, y0, x1, y1 = outline.bounds
        label = str(row.values.get("label", ""))
        number = len(self._categories) + 1
        return {
            "id": self._annotations + 1,
            "image_id": image["id"],
            "category_id": self._categories.setdefault(label, {"id": number, "name": label})["id"],
            "segmentation": segmentation_of(outline, image["width"], image["height"]),
            "bbox": (x0, y0, x1 - x0, y1 - y0),
            "area": outline.area,
            "iscrowd": 0,
            "score": cast(float, row.values.get("score", 1.0)),
        }

    def _image(self, row: Row) -> CocoImage:
        name, width, height = (row.values[key] for key in _FRAME)
        key = f"{row.values.get('device', '')}/{row.values.get('frame_id', name)}/{width}/{height}"
        image: CocoImage = {
            "id": len(self._images) + 1,
            "file_name": str(name),
            "width": cast(int, width),
            "height": cast(int, height),
        }
        return self._images.setdefault(key, image)
