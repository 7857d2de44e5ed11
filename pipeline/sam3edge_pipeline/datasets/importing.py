"""A label file and a folder of images as label events."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from sam3edge.bundle.manifest import sha256_of
from sam3edge.core.errors import FrameError, Sam3EdgeError
from sam3edge.core.types import RgbImage
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.images.files import is_image_name, read_frame
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats.annotations import AnnotationFile, ImageAnnotations
from sam3edge_pipeline.datasets.formats.outlines import finished
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent
from sam3edge_pipeline.datasets.store import Source

ImageHash: TypeAlias = Callable[[RgbImage], int]
"""The perceptual hash of an image, 64 bits."""

GroupOf: TypeAlias = Callable[[str, datetime], str]
"""An image's path below its folder, and when it was taken -> ``Example.group``."""


class ImportRefused(Sam3EdgeError):
    """Labels and images do not fit each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """What a label file came to.

    Attributes:
        images: with the file of each, by id.
        events: a statement for each phrase and image.
        source: the label file.
    """

    images: Mapping[str, tuple[ImageRecord, Path]]
    events: tuple[LabelEvent, ...]
    source: Source


def by_folder_and_hour(path: str, captured_at: datetime) -> str:
    """Images of one folder and one hour resemble each other."""
    return f"{PurePosixPath(path).parent}/{captured_at:%Y%m%dT%H}"


def import_labels(
    annotations: AnnotationFile,
    label_file: Path,
    folder: Path,
    *,
    exhaustive: Sequence[str] | None = None,
    approved: bool = True,
    reviewer: str = "",
    group_of: GroupOf = by_folder_and_hour,
    image_hash: ImageHash | None = None,
) -> Imported:
    """Find the images that a label file names, and state what it says of them.

    Args:
        annotations: what ``label_file`` says.
        folder: where the images are, or in folders of it.
        exhaustive: phrases of which the file outlines every object in every image. None for all of its categories that
            have an object somewhere, as tools for people are used; none (``()``) for what a model has proposed.
        reviewer: who vouches for the labels, where the file does not say.

    Raises:
        ImportRefused: an image is missing, is not an image, or is not the one that was labeled.
        FormatError: an outline covers nothing of its image.
    """
    complete = annotations.used if exhaustive is None else tuple(dict.fromkeys(map(normalize_text, exhaustive)))
    source = Source(kind="file", name=label_file.name, sha256=sha256_of(label_file))
    written_at = datetime.fromtimestamp(int(label_file.stat().st_mtime), timezone.utc)
    index = _Index(folder)
    images: dict[str, tuple[ImageRecord, Path]] = {}
    events = []
    for one in annotations.images:
        file, relative = index.find(one.image)
        record = _record(file, relative, group_of, image_hash)
        one = _fitted(one, record, label_file)
        images.setdefault(record.id, (record, file))
        one = replace(
            one,
            labeled_at=one.labeled_at or written_at,
            labeler=one.labeler or reviewer,
            job=one.job or label_file.name,
        )
        events += statements(one, record.id, complete, source.sha256, approved)
    return Imported(images, tuple(events), source)


def statements(
    one: ImageAnnotations, image: str, exhaustive: Sequence[str], source: str, approved: bool = True
) -> list[LabelEvent]:
    """What a label file states of one image: an event for each phrase of ``exhaustive``, and for each that has objects.

    Args:
        one: with ``labeled_at``.
        image: ``ImageRecord.id``.
        source: SHA-256 of the label file, hexadecimal.
    """
    assert one.labeled_at is not None
    by_phrase: dict[str, list[LabeledObject]] = {phrase: [] for phrase in exhaustive}
    for labeled in one.objects:
        by_phrase.setdefault(labeled.phrase, []).append(labeled)
    at, by = one.labeled_at, one.labeler
    return [
        LabelEvent(image, phrase, tuple(objects), phrase in exhaustive, at, approved, one.job, by, source)
        for phrase, objects in by_phrase.items()
    ]


class _Index:
    """The images below a folder, by path and by name; links that lead out of it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        base = folder.resolve()
        self._by_path: dict[str, Path] = {}
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            if is_image_name(path) and path.is_file() and path.resolve().is_relative_to(base):
                relative = path.relative_to(folder).as_posix()
                self._by_path[relative] = path
                self._by_name[path.name].append(relative)

    def find(self, image: str) -> tuple[Path, str]:
        """The file that a label file means, and its path below the folder.

        A name is looked up, not opened: one with ``..`` in it, or an absolute one, finds what is called like its end.
        Label Studio puts eight digits and a dash before the name of an uploaded file.
        """
        name = posixpath.basename(image.replace("\\", "/"))
        without_prefix = name[9:] if len(name) > 9 and name[8] == "-" else name
        if image in self._by_path:
            return self._by_path[image], image
        for candidate in (name, without_prefix):
            found = self._by_name.get(candidate, [])
            if len(found) > 1:
                raise ImportRefused(
                    f"{image!r} may be {found[0]} or {found[1]} below {self._folder}; "
                    "give their paths in the label file"
                )
            if found:
                return self._by_path[found[0]], found[0]
        raise ImportRefused(f"the labeled image {image!r} is not below {self._folder}; bring it there")


def _record(file: Path, relative: str, group_of: GroupOf, image_hash: ImageHash | None) -> ImageRecord:
    try:
        frame = read_frame(file)
    except FrameError as error:
        raise ImportRefused(f"{file}: {error}") from error
    return ImageRecord(
        id=frame.digest.removeprefix("sha256:"),
        suffix=file.suffix.lower(),
        width=frame.width,
        height=frame.height,
        group=group_of(relative, frame.captured_at),
        captured_at=frame.captured_at,
        perceptual_hash=None if image_hash is None else image_hash(frame.image),
        origin=relative,
    )


def _fitted(one: ImageAnnotations, record: ImageRecord, label_file: Path) -> ImageAnnotations:
    """The same, in an image whose size is known."""
    if one.width is not None and (one.width, one.height) != (record.width, record.height):
        raise ImportRefused(
            f"{label_file}: {one.image!r} has {one.width} x {one.height} pixels, the image {record.origin} has "
            f"{record.width} x {record.height}; is it the image that was labeled?"
        )
    if one.digest and one.digest != record.id:
        raise ImportRefused(
            f"{label_file}: {one.image!r} has the SHA-256 {one.digest}, the image {record.origin} has {record.id}"
        )
    objects = tuple(
        replace(o, outline=finished(o.outline, record.width, record.height, label_file, one.image)) for o in one.objects
    )
    return replace(one, objects=objects)
