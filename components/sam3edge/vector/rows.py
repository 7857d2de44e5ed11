"""One feature of a detections message as a line of a table, whatever file it goes into.

What a message says of all its features comes with each of them as foreign members (RFC 7946, section 6.1):
``features_of`` puts them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.messages.envelope import to_json

ColumnType: TypeAlias = Literal["text", "number", "whole", "time"]
"""``number`` is a float64, ``whole`` an int64, ``time`` in UTC with milliseconds."""

COLUMNS: Mapping[str, ColumnType] = {
    "id": "text",
    "label": "text",
    "prompt": "text",
    "score": "number",
    "track_id": "text",
    "zones": "text",
    "area_m2": "number",
    "accuracy_m": "number",
    "longitude": "number",
    "latitude": "number",
    "outside": "number",
    "area": "number",
    "x_min": "number",
    "y_min": "number",
    "x_max": "number",
    "y_max": "number",
    "geometry_quality": "text",
    "device": "text",
    "source": "text",
    "captured_at": "time",
    "frame": "text",
    "frame_id": "text",
    "frame_width": "whole",
    "frame_height": "whole",
    "message_id": "text",
    "model": "text",
    "model_version": "text",
    "other": "text",
}
"""The attributes of every file, the same whatever the features have. ``longitude`` and ``latitude`` are ``position``
of the message, ``x_min`` to ``y_max`` are ``imageBBox`` in pixels, ``zones`` are names with commas between them, and
``other`` holds all other properties as a JSON object; what follows from the geometry (``centroid``) is left out."""

_READ = frozenset({"imageGeometry", "imageBBox", "featureClasses", "modelMetadata", "image_id", "position", "centroid"})
"""Properties that columns or geometries are made of, or that follow from them."""


class FeatureRefused(Sam3EdgeError):
    """Something that is not a feature, or cannot be written into the file at hand."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One feature.

    Attributes:
        values: by name of ``COLUMNS``; those that are not known are not in it.
        place: its geometry in degrees of WGS 84, longitude before latitude; None where that is not known.
        outline: its geometry in pixels of the frame, origin top left, y down; None where that is not known.
        feature: as it came.
    """

    values: Mapping[str, str | float | int | datetime]
    place: BaseGeometry | None
    outline: BaseGeometry | None
    feature: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What a person finds it by, in error messages."""
        return f"feature {self.values.get('id', 'without id')}"

    @property
    def bytes(self) -> int:
        """About how much memory its geometries take."""
        return 16 * sum(int(shapely.get_num_coordinates(g)) for g in (self.place, self.outline) if g is not None)


def features_of(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The features of a FeatureCollection, with what a detections message says of all of them: ``device``, ``source``,
    ``frame`` and ``message_id``."""
    shared = {name: message[name] for name in ("device", "source", "frame") if name in message}
    if "id" in message:
        shared["message_id"] = message["id"]
    for feature in message["features"]:
        yield {**feature, **shared} if isinstance(feature, Mapping) else feature


def row_of(feature: Mapping[str, Any]) -> Row:
    """Read a feature of ours, of OversightML's tools, of a file that was written here, or any other of GeoJSON.

    Raises:
        FeatureRefused: it is not a GeoJSON feature, its geometry is damaged or not on Earth, or it holds a number that
            JSON cannot write.
    """
    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        raise FeatureRefused(f"expected a GeoJSON feature, got {str(feature)[:80]}")
    properties = feature.get("properties")
    properties = {} if properties is None else properties
    if not isinstance(properties, Mapping):
        raise FeatureRefused(f"expected an object as properties of feature {feature.get('id')}, got {properties!r:.80}")
    place = _geometry(feature, "geometry", feature.get("geometry"))
    outline = _geometry(feature, "imageGeometry", properties.get("imageGeometry"))
    said = _said(feature, properties)
    box = feature.get("bbox")
    if place is None and outline is not None and _is_box(box):
        # a message that had no room for the geometry has its box only
        place, said["geometry_quality"] = _area_of(box), "box"
    _require_on_earth(feature, place)
    values = {name: value for name in COLUMNS if (value := _read(name, said.get(name))) is not None}
    other = {name: value for name, value in properties.items() if not _is_told(name, value, values)}
    classes = properties.get("featureClasses")
    if isinstance(classes, list) and len(classes) > 1:
        other["featureClasses"] = classes
    if other:
        values["other"] = _written(feature, other)
    return Row(values, place, outline, feature)


def _said(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """By column what is said, of whatever type: by the message, else by a property of that name, else by one of
    OversightML's."""
    first = _first(properties.get("featureClasses"))
    frame, model = _mapping(feature.get("frame")), _mapping(properties.get("modelMetadata"))
    by_message = {
        "id": feature.get("id"),
        "frame": frame.get("name"),
        "frame_id": frame.get("id"),
        "frame_width": frame.get("width"),
        "frame_height": frame.get("height"),
        "captured_at": frame.get("captured_at"),
        **{name: feature.get(name) for name in ("device", "source", "message_id")},
    }
    by_osml = {
        "label": first.get("iri"),
        "score": first.get("score"),
        "prompt": model.get("ontologyName"),
        "model": model.get("modelName"),
        "model_version": model.get("ontologyVersion"),
        "frame": properties.get("image_id"),
        **_numbered(properties.get("position"), ("longitude", "latitude")),
        **_numbered(properties.get("imageBBox"), ("x_min", "y_min", "x_max", "y_max")),
    }
    by_name = {name: properties.get(name) for name in COLUMNS if name != "other"}
    said: dict[str, Any] = {}
    for known in (by_osml, by_name, by_message):
        said.update((name, value) for name, value in known.items() if value is not None)
    return said


def _read(name: str, value: Any) -> str | float | int | datetime | None:
    """A value as its column has it; None where it is of another type."""
    if name == "zones" and isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return _READERS[COLUMNS[name]](value)


def _is_told(name: str, value: Any, values: Mapping[str, Any]) -> bool:
    """Whether columns and geometries say all that a property says."""
    return value is None or name in _READ or (name in values and _read(name, value) == values[name])


def _first(classes: Any) -> Mapping[str, Any]:
    """The best of OversightML's ``featureClasses``."""
    known = [one for one in classes if isinstance(one, Mapping)] if isinstance(classes, list) else []
    return max(known, key=lambda one: _number(one.get("score")) or 0.0, default={})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbered(values: Any, names: tuple[str, ...]) -> dict[str, Any]:
    given = values if isinstance(values, list | tuple) and len(values) == len(names) else ()
    return dict(zip(names, given, strict=False))


def _text(value: Any) -> str | None:
    """Texts, and numbers as text; without what UTF-8 or a C string cannot hold."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number.is_integer() and abs(number) < 2**53 else None


def _time(value: Any) -> datetime | None:
    """RFC 3339; one without an offset is not known well enough."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return moment.astimezone(timezone.utc) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


_READERS: Mapping[ColumnType, Callable[[Any], str | float | int | datetime | None]] = {
    "text": _text,
    "number": _number,
    "whole": _whole,
    "time": _time,
}


def _geometry(feature: Mapping[str, Any], name: str, geometry: Any) -> BaseGeometry | None:
    if geometry is None:
        return None
    try:
        read: BaseGeometry = shapely.from_geojson(_written(feature, geometry))
    except ShapelyError as error:
        raise FeatureRefused(f"the {name} of feature {feature.get('id')} is damaged: {error}") from error
    return read


def _written(feature: Mapping[str, Any], value: Any) -> str:
    try:
        return to_json(value).decode()
    except (ValueError, TypeError) as error:
        raise FeatureRefused(f"feature {feature.get('id')} cannot be written as JSON: {error}") from error


def _is_box(box: Any) -> bool:
    return isinstance(box, list | tuple) and len(box) == 4 and all(_number(value) is not None for value in box)


def _area_of(box: Any) -> BaseGeometry:
    west, south, east, north = (float(value) for value in box)
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.MultiPolygon([shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)])


def _require_on_earth(feature: Mapping[str, Any], place: BaseGeometry | None) -> None:
    if place is None or place.is_empty:
        return
    west, south, east, north = place.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise FeatureRefused(
            f"expected longitudes within -180..180 and latitudes within -90..90 (RFC 7946), feature "
            f"{feature.get('id')} has {west:.6g}..{east:.6g} and {south:.6g}..{north:.6g}; reproject it to WGS 84"
        )
