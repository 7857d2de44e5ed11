"""What every label file says, whichever tool wrote it, and how a damaged one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.validation import first_complaint
from sam3edge_pipeline.datasets.examples import LabeledObject

MAX_FILE_BYTES = 512 << 20
"""Of a label file; COCO's largest has 470 million bytes."""

MAX_PHRASE = 200
"""Characters."""

MAX_SIDE = 1 << 16
"""Pixels of an image's width and height."""

_Model = TypeVar("_Model", bound=BaseModel)


class FormatError(Sam3EdgeError):
    """A label file is not what its format says. The text names the file and the place."""


class Lenient(BaseModel):
    """Members that a format has and that we have no use for are passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class ImageAnnotations:
    """What a label file says of one image.

    Attributes:
        image: what the tool calls it: a file name, a path, or a URL.
        width: pixels, or None where the format does not say; as is ``height``.
        objects: outlines in pixels of the image.
        labeled_at: when, UTC; None where the format does not say.
        labeler: who, as the tool says it; empty where it does not.
        job: the labeling job, where the format names one.
        digest: SHA-256 of the encoded image, hexadecimal; empty where the format does not say.
    """

    image: str
    width: int | None
    height: int | None
    objects: tuple[LabeledObject, ...]
    labeled_at: datetime | None = None
    labeler: str = ""
    job: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """A whole label file.

    Attributes:
        images: in the file's order, those without objects included; each once.
        categories: the phrases that were to be labeled, as far as the file says so, in its order.
    """

    images: tuple[ImageAnnotations, ...]
    categories: tuple[str, ...]

    @property
    def used(self) -> tuple[str, ...]:
        """The categories that have an object in some image."""
        present = {one.phrase for image in self.images for one in image.objects}
        return tuple(phrase for phrase in self.categories if phrase in present)


def read_bytes(path: Path) -> bytes:
    """A label file's bytes.

    Raises:
        FormatError: not a file, too large, or not readable.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_FILE_BYTES:
            raise FormatError(f"{path}: expected a file of at most {MAX_FILE_BYTES} bytes, got {size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error


def parse(model: type[_Model], data: bytes, path: Path, place: str = "") -> _Model:
    """JSON as one of our models.

    Args:
        place: where in the file ``data`` is, if it is not all of it.

    Raises:
        FormatError: not JSON, or not as the format has it.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(filter(None, (place, first_complaint(error).where)))
        raise FormatError(f"{path}: {where or 'document'}: {first_complaint(error).expected}") from error


def parse_value(model: type[_Model], value: object, path: Path, place: str) -> _Model:
    """What JSON was read as, as one of our models.

    Raises:
        FormatError: not as the format has it.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        where = ".".join(filter(None, (place, first_complaint(error).where)))
        raise FormatError(f"{path}: {where}: {first_complaint(error).expected}") from error


def phrase_of(name: str, path: Path, place: str) -> str:
    """A category's name as a prompt would say it.

    Raises:
        FormatError: it is empty, or longer than ``MAX_PHRASE``.
    """
    phrase = normalize_text(name)
    if not 0 < len(phrase) <= MAX_PHRASE:
        raise FormatError(f"{path}: {place}: expected a name of 1 to {MAX_PHRASE} characters, got {len(phrase)}")
    return phrase


def in_utc(moment: datetime | None) -> datetime | None:
    """The same moment in UTC; a time without an offset is UTC, as all of these tools write it."""
    if moment is None:
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def require_new(name: str, seen: set[str], path: Path, place: str) -> None:
    """Remember an image's name.

    Raises:
        FormatError: the file has said something of this image before.
    """
    if name in seen:
        raise FormatError(f"{path}: {place}: the image {name!r} occurs twice; leave one of them out")
    seen.add(name)
