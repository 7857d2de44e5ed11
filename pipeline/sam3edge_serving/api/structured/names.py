"""What the names of members mean, in lower case with underscores and in the singular."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sam3edge_serving.api.structured.findings import Found
from sam3edge_serving.api.structured.schema import snake_case
from sam3edge_serving.sentences import singular


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABEL = _names(
    "label name class class_name category category_name phrase prompt type kind object object_name object_class "
    "object_type label_name defect defect_type title"
)
SCORE = _names("score confidence confidence_score probability prob conf certainty")
BOX = _names(
    "box bbox bounding_box boundingbox xyxy box_xyxy bbox_xyxy rect rectangle location coordinate region bound"
)
BOX_BY_SIZE = _names("xywh box_xywh bbox_xywh")
CENTER = _names("center centre centroid center_point midpoint point")
CORNERS = {
    **dict.fromkeys(_names("top_left upper_left min origin"), (0, 1)),
    **dict.fromkeys(_names("top_right upper_right"), (2, 1)),
    **dict.fromkeys(_names("bottom_left lower_left"), (0, 3)),
    **dict.fromkeys(_names("bottom_right lower_right max"), (2, 3)),
}
"""Indices of a corner's x and y in a box."""
EXTENT = _names("size dimension")
GEOMETRY = BOX | CENTER | CORNERS.keys() | EXTENT | _names("geometry position")
"""Objects that a found object may have."""
OUTLINE = _names("polygon outline mask segmentation contour vertices shape mask_polygon exterior ring point part")
NUMBER = _names("index idx number id object_id instance_id detection_id")
AREA = _names("area area_px area_pixels pixel_area mask_area pixels size_px")
COUNT = _names(
    "count total n number total_count object_count num_objects number_of_objects detection_count num_detections "
    "number_of_detections quantity how_many"
)
ANY = _names("any found present detected exists has_any is_present has_object has_objects has_detections is_detected")
IMAGE_NAME = _names("image image_id image_name file_name filename frame")
SUMMARY = _names("summary description answer caption text message")
WIDTH, HEIGHT = _names("width image_width"), _names("height image_height")

_BEFORE = ("number_of_", "count_of_", "total_", "num_", "n_", "has_", "any_", "is_", "contains_", "found_", "detected_")
_AFTER = ("_count", "_total", "_found", "_present", "_detected", "_detection", "_object", "_instance", "_list", "_box")

_SIDES = {
    **dict.fromkeys(_names("x0 x_min xmin min_x left"), 0),
    **dict.fromkeys(_names("y0 y_min ymin min_y top"), 1),
    **dict.fromkeys(_names("x2 x_max xmax max_x right"), 2),
    **dict.fromkeys(_names("y2 y_max ymax max_y bottom"), 3),
}
_MIDDLES = {
    **dict.fromkeys(_names("cx center_x x_center centre_x"), 0),
    **dict.fromkeys(_names("cy center_y y_center centre_y"), 1),
}
_SIZES = {"width": 0, "w": 0, "box_width": 0, "height": 1, "h": 1, "box_height": 1}
_TOP_LEFT_BESIDE = _SIZES.keys() | {name for name, side in _SIDES.items() if side > 1}


def one_of(name: str) -> str:
    """A name in the singular: ``bounding_boxes`` -> bounding_box."""
    before, underscore, last = name.rpartition("_")
    return before + underscore + singular(last)


def phrase_of(name: str, phrases: Sequence[str]) -> str | None:
    """The phrase that a name is about: ``metal_tags``, ``metalTagCount`` and ``has_metal_tag`` -> metal tag."""
    known = {one_of(snake_case(phrase)): phrase for phrase in phrases}
    bare = one_of(name)
    for before in _BEFORE:
        bare = one_of(bare.removeprefix(before))
    for after in _AFTER:
        bare = one_of(bare.removesuffix(after))
    return known.get(one_of(name)) or known.get(bare)


def coordinate(name: str, siblings: Collection[str], around: str, found: Found) -> float | None:
    """A side, the size or the middle of a box, in pixels; None for other names.

    Args:
        siblings: names in the same object. ``x1`` is the left side, and beside ``x0`` the right one; ``x`` and ``y``
            are the middle, and beside a size or a far side the top left corner.
        around: name of the object that holds it, such as ``bottom_right``; empty where that is the found object itself.
    """
    x0, y0, x1, y1 = found.box
    axis = "xy".find(name[:1])
    if around in CORNERS:
        return found.box[CORNERS[around][axis]] if name in ("x", "y") else None
    if around in CENTER:
        return middle(found)[axis] if name in ("x", "y") else None
    if name in _SIZES:
        return (x1 - x0, y1 - y0)[_SIZES[name]]
    if around in EXTENT:
        return None
    if name in ("x1", "y1"):
        return found.box[axis + 2 if name[0] + "0" in siblings else axis]
    if name in ("x", "y"):
        return middle(found)[axis] if _TOP_LEFT_BESIDE.isdisjoint(siblings) else found.box[axis]
    if name in _SIDES:
        return found.box[_SIDES[name]]
    if name in _MIDDLES:
        return middle(found)[_MIDDLES[name]]
    return None


def is_horizontal(name: str) -> bool:
    """Whether a coordinate is along the width."""
    return any(part in ("left", "right", "w", "width") or part.startswith(("x", "cx")) for part in name.split("_"))


def middle(found: Found) -> tuple[float, float]:
    """Of the box."""
    x0, y0, x1, y1 = found.box
    return (x0 + x1) / 2, (y0 + y1) / 2
