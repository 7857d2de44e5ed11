"""Features for vector files, and what is in such files, read by others' readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import geopandas
import pandas
import pyogrio
import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from sam3edge.core.messages.detections import encode
from sam3edge.core.types import Detection, Place, Prompt
from support.samples import answer, detection

FRAME = {
    "id": "f" * 32,
    "name": "a.png",
    "captured_at": "2026-01-02T03:04:05.678+00:00",
    "clock": "file",
    "width": 320,
    "height": 240,
    "digest": "",
}
SQUARE = shapely.Polygon([(10.5, 20), (10.5, 60), (50, 60), (50, 20)])
FIELD = shapely.Polygon([(13.4, 52.5), (13.41, 52.5), (13.41, 52.51), (13.4, 52.51)])

Back: TypeAlias = dict[str, tuple[BaseGeometry | None, dict[str, Any]]]
"""By id: the geometry, in the kind of the file, and the attributes that are known."""


def feature(
    identity: str, place: BaseGeometry | None = None, outline: BaseGeometry | None = SQUARE, **properties: Any
) -> dict[str, Any]:
    """As ``features_of`` gives them."""
    drawn = {} if outline is None else {"imageGeometry": mapping(outline), "imageBBox": list(outline.bounds)}
    return {
        "type": "Feature",
        "id": identity,
        "geometry": None if place is None else mapping(place),
        "properties": {"label": "scratch", "prompt": "scratch", "score": 0.5, **drawn, **properties},
        "device": "line-7",
        "source": "folder",
        "frame": FRAME,
        "message_id": "m1",
    }


def message(*detections: Detection) -> dict[str, Any]:
    """A detections message as devices write it."""
    [one] = encode(answer(detections), "t", 1 << 24, 0.0)
    body: dict[str, Any] = json.loads(one.payload)
    return body


def placed(area: Any = FIELD, prompt: Prompt = Prompt("scratch")) -> Detection:  # noqa: B008
    """A detection with this place."""
    return Detection(
        prompt,
        0.87654,
        SQUARE.bounds,
        SQUARE.area,
        SQUARE,
        {"track_id": "t-1", "zones": ["yard", "gate"], "object": 3},
        Place(area, (13.405, 52.505), (13.404, 52.504), 754_321.987, 1.234, 0.5, 0.25),
    )


def unplaced(prompt: Prompt = Prompt("dent")) -> Detection:  # noqa: B008
    """A detection in pixels."""
    return detection(shapely.Polygon(SQUARE.exterior, [shapely.box(20, 30, 30, 40).exterior]), prompt)


def multiple(geometry: BaseGeometry | None) -> BaseGeometry | None:
    """In normal form, and a polygon as a multi-polygon, which some formats make of it."""
    if geometry is None:
        return None
    if geometry.geom_type in ("Polygon", "LineString", "Point"):
        kind = getattr(shapely, f"Multi{geometry.geom_type}")
        geometry = kind() if geometry.is_empty else kind([geometry])
    return shapely.normalize(geometry)


def read_layer(path: Path, layer: str | None = None) -> Back:
    """By GDAL, through pyogrio."""
    return _back(pyogrio.read_dataframe(path, layer=layer))


def read_parquet(path: Path, column: str = "geometry") -> Back:
    """By geopandas."""
    table = geopandas.read_parquet(path)
    return _back(table.set_geometry(column)[[name for name in table if not name.endswith("geometry")] + [column]])


def layers(path: Path) -> dict[str, str | None]:
    """By name, the kind of geometry."""
    return {str(name): kind for name, kind in pyogrio.list_layers(path)}


def _back(table: Any) -> Back:
    known: Back = {}
    for (_, row), geometry in zip(table.iterrows(), table.geometry, strict=True):
        values = {
            name: value.to_pydatetime() if isinstance(value, pandas.Timestamp) else value
            for name, value in row.items()
            if name != table.geometry.name and not _is_missing(value)
        }
        assert row["id"] not in known
        known[row["id"]] = multiple(geometry), values
    return known


def _is_missing(value: Any) -> bool:
    return pandas.api.types.is_scalar(value) and bool(pandas.isna(value))


def utc(text: str) -> datetime:
    """Of RFC 3339."""
    return datetime.fromisoformat(text)


def names_in(folder: Path) -> list[str]:
    """All files and folders of a folder, hidden ones included."""
    return sorted(path.name for path in folder.iterdir())


def attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a file may write in its own way."""
    return {name: value for name, value in values.items() if name != "other"}
