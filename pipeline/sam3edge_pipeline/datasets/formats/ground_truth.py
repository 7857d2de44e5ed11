"""SageMaker Ground Truth's output manifests of bounding box jobs: JSON lines.

https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html#sms-output-box. Boxes become rectangles.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from sam3edge.validation import first_complaint
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    AnnotationFile,
    FormatError,
    ImageAnnotations,
    Lenient,
    in_utc,
    parse_value,
    phrase_of,
    read_bytes,
    require_new,
)
from sam3edge_pipeline.datasets.formats.outlines import finished, from_box

METADATA = "-metadata"


class _Size(Lenient):
    width: int = Field(gt=0, le=MAX_SIDE)
    height: int = Field(gt=0, le=MAX_SIDE)


class _Box(Lenient):
    class_id: int
    left: float
    top: float
    width: float = Field(ge=0)
    height: float = Field(ge=0)


class _Boxes(Lenient):
    image_size: list[_Size] = Field(min_length=1, max_length=1)
    annotations: list[_Box]


class _Metadata(Lenient):
    class_map: dict[int, str] = Field(alias="class-map", default_factory=dict)
    job_name: str = Field(alias="job-name", default="")
    creation_date: datetime | None = Field(alias="creation-date", default=None)
    failure_reason: str = Field(alias="failure-reason", default="")


_LINE: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def read_ground_truth(path: Path, attribute: str = "") -> AnnotationFile:
    """Read an output manifest. Images that the job failed on are passed over: nobody has labeled them.

    Args:
        attribute: name of the label attribute; by default the only one of the line that has metadata.

    Raises:
        FormatError: damaged, another kind of job, or more than one attribute where none is named.
    """
    images: list[ImageAnnotations] = []
    categories: dict[str, None] = {}
    names: set[str] = set()
    for number, line in enumerate(read_bytes(path).splitlines(), 1):
        if not line.strip():
            continue
        read = _read_line(line, attribute, path, f"line {number}")
        if read is None:
            continue
        image, phrases = read
        require_new(image.image, names, path, f"line {number}")
        images.append(image)
        categories.update(dict.fromkeys(phrases))
    return AnnotationFile(tuple(images), tuple(categories))


def _read_line(line: bytes, attribute: str, path: Path, place: str) -> tuple[ImageAnnotations, list[str]] | None:
    try:
        members = _LINE.validate_json(line)
    except ValidationError as error:
        raise FormatError(f"{path}: {place}: {first_complaint(error)}") from error
    source = members.get("source-ref")
    if not isinstance(source, str) or not source:
        raise FormatError(f"{path}: {place}: expected the member source-ref, the image's address")
    name = attribute or _only_attribute(members, path, place)
    metadata = parse_value(_Metadata, members.get(name + METADATA), path, f"{place}: {name}{METADATA}")
    if metadata.failure_reason:
        return None
    boxes = parse_value(_Boxes, members.get(name), path, f"{place}: {name}")
    phrases = {
        number: phrase_of(text, path, f"{place}: {name}{METADATA}.class-map.{number}")
        for number, text in metadata.class_map.items()
    }
    [size] = boxes.image_size
    objects = []
    for number, box in enumerate(boxes.annotations):
        at = f"{place}: {name}.annotations.{number}"
        if box.class_id not in phrases:
            raise FormatError(f"{path}: {at}.class_id: {box.class_id} is not in the class-map of {name}{METADATA}")
        geometry = from_box(box.left, box.top, box.width, box.height)
        outline = finished(geometry, size.width, size.height, path, at)
        objects.append(LabeledObject(phrases[box.class_id], outline))
    job = metadata.job_name.rpartition("/")[2]  # labeling-job/<name>
    labeled_at = in_utc(metadata.creation_date)
    read = ImageAnnotations(source, size.width, size.height, tuple(objects), labeled_at, job=job)
    return read, list(phrases.values())


def _only_attribute(members: dict[str, JsonValue], path: Path, place: str) -> str:
    found = [name.removesuffix(METADATA) for name in members if name.endswith(METADATA)]
    if len(found) != 1:
        raise FormatError(
            f"{path}: {place}: expected one label attribute with its metadata, got {len(found)}; say which is meant"
        )
    return found[0]
