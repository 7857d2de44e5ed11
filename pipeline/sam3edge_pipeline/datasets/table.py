"""``labels.parquet``: a row for each object, and one for each statement that has no object.

The columns of the reference's Feature Store (where the image is, its size, box and class, whether it is approved, the
labeling job) come first; ``event_time`` and ``event`` make the history. The same events give the same bytes, as long as
the same version of Arrow writes them.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sam3edge_pipeline.datasets.examples import SPLITS, LabeledObject, Split
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent, in_order
from sam3edge_pipeline.datasets.storage import DatasetError

_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("source_ref", pa.string()),  # images/<sha256>.<ext>, below the version's place
        ("image_width", pa.int32()),
        ("image_height", pa.int32()),
        ("x_min", pa.float64()),  # of the object's bounds, pixels; null in rows without an object
        ("y_min", pa.float64()),
        ("x_max", pa.float64()),
        ("y_max", pa.float64()),
        ("class_name", pa.string()),
        ("approved", pa.bool_()),
        ("labeling_job", pa.string()),
        ("event_time", _TIME),
        ("event", pa.int64()),  # rows with the same number are one statement
        ("state", pa.string()),  # object, absent, unknown
        ("exhaustive", pa.bool_()),
        ("ignored", pa.bool_()),
        ("outline", pa.binary()),  # little-endian WKB, pixels of the image
        ("reviewer", pa.string()),
        ("label_source", pa.string()),  # SHA-256 of the label file or decision
        ("image_id", pa.string()),
        ("image_group", pa.string()),
        ("captured_at", _TIME),
        ("perceptual_hash", pa.string()),  # 16 hexadecimal digits, or null
        ("image_origin", pa.string()),
        ("split", pa.string()),
    ]
)

Row = dict[str, Any]


def to_parquet(images: Mapping[str, ImageRecord], events: Sequence[LabelEvent], splits: Mapping[str, Split]) -> bytes:
    """Write the whole history.

    Raises:
        KeyError: an event of an image that is not given.
    """
    rows = [
        row
        for number, event in enumerate(in_order(events))
        for row in _rows(number, event, images[event.image], splits[event.image])
    ]
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), sink, compression="zstd", row_group_size=1 << 16)
    return sink.getvalue()


def from_parquet(data: bytes, place: str) -> tuple[dict[str, ImageRecord], tuple[LabelEvent, ...], dict[str, Split]]:
    """Images by id, the history, and what each image is for.

    Raises:
        DatasetError: not such a table.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        if not table.schema.equals(SCHEMA):
            raise DatasetError(
                f"{place}: expected the columns {', '.join(SCHEMA.names)}, got {', '.join(table.column_names)}"
            )
        rows: list[Row] = table.to_pylist()
        images: dict[str, ImageRecord] = {}
        splits: dict[str, Split] = {}
        events = []
        for _, group in itertools.groupby(rows, key=lambda row: row["event"]):
            together = list(group)
            image = _image(together[0])
            if (
                images.setdefault(image.id, image) != image
                or splits.setdefault(image.id, _split(together[0])) != together[0]["split"]
            ):
                raise DatasetError(f"{place}: the rows of the image {image.id} contradict each other")
            events.append(_event(together))
    except (pa.ArrowException, ShapelyError, ValueError, TypeError) as error:
        raise DatasetError(f"{place}: expected a table of labels: {error}") from error
    return images, tuple(events), splits


def _rows(number: int, event: LabelEvent, image: ImageRecord, split: Split) -> Iterator[Row]:
    about: Row = {
        "source_ref": image.key,
        "image_width": image.width,
        "image_height": image.height,
        "class_name": event.phrase,
        "approved": event.approved,
        "labeling_job": event.job,
        "event_time": event.at,
        "event": number,
        "exhaustive": event.exhaustive,
        "reviewer": event.reviewer,
        "label_source": event.source,
        "image_id": image.id,
        "image_group": image.group,
        "captured_at": image.captured_at,
        "perceptual_hash": None if image.perceptual_hash is None else f"{image.perceptual_hash:016x}",
        "image_origin": image.origin,
        "split": split,
    }
    for one in event.objects:
        x0, y0, x1, y1 = one.outline.bounds
        bounds = {"x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1}
        outline = shapely.to_wkb(one.outline, byte_order=1)
        yield {**about, **bounds, "state": "object", "ignored": one.ignored, "outline": outline}
    if not event.objects:
        nothing = dict.fromkeys(("x_min", "y_min", "x_max", "y_max", "ignored", "outline"))
        yield {**about, **nothing, "state": "absent" if event.exhaustive else "unknown"}


def _image(row: Row) -> ImageRecord:
    identity, reference, perceptual_hash = row["image_id"], row["source_ref"], row["perceptual_hash"]
    image = ImageRecord(
        id=identity,
        suffix=reference.removeprefix(f"images/{identity}"),
        width=row["image_width"],
        height=row["image_height"],
        group=row["image_group"],
        captured_at=_utc(row["captured_at"]),
        perceptual_hash=None if perceptual_hash is None else int(perceptual_hash, 16),
        origin=row["image_origin"],
    )
    if image.key != reference:
        raise ValueError(f"the image {identity} is said to be at {reference}")
    return image


def _event(rows: Sequence[Row]) -> LabelEvent:
    first = rows[0]
    objects = tuple(_object(row) for row in rows if row["state"] == "object")
    return LabelEvent(
        image=first["image_id"],
        phrase=first["class_name"],
        objects=objects,
        exhaustive=first["exhaustive"],
        at=_utc(first["event_time"]),
        approved=first["approved"],
        job=first["labeling_job"],
        reviewer=first["reviewer"],
        source=first["label_source"],
    )


def _object(row: Row) -> LabeledObject:
    outline: BaseGeometry | None = shapely.from_wkb(row["outline"])  # None for null
    if not isinstance(outline, Polygon | MultiPolygon):
        raise ValueError("an outline is not a polygon")
    return LabeledObject(row["class_name"], outline, row["ignored"])


def _split(row: Row) -> Split:
    if row["split"] not in SPLITS:
        raise ValueError(f"there is no split {row['split']!r}")
    return cast(Split, row["split"])


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)
