"""A dataset version: immutable, checked when it is opened, traceable to its images and to who labeled them.

    manifest.json         what it is and what it was made of; written last: with it the version exists
    labels.parquet        the history of labels, see ``table``
    images/<sha256>.<ext>

A new version is a parent and label events. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3edge.bundle.manifest import sha256_of
from sam3edge.validation import first_complaint
from sam3edge_pipeline.datasets.examples import SPLITS, Example, Split
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent, examples_of, in_order
from sam3edge_pipeline.datasets.storage import AlreadyStored, DatasetError, Storage, storage_at
from sam3edge_pipeline.datasets.table import from_parquet, to_parquet

MANIFEST, LABELS = "manifest.json", "labels.parquet"
MAX_MANIFEST_BYTES = 16 << 20
MAX_LABELS_BYTES = 2 << 30
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,2}")


class Source(BaseModel):
    """One thing that labels came from.

    Attributes:
        kind: ``file``, ``job`` or ``review``.
        name: of the file, the job or the reviewer.
        sha256: of the file, or of what the job or the reviewer delivered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Parent(BaseModel):
    """The version that this one continues."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    digest: str


class LabelsFile(BaseModel):
    """``labels.parquet``, which names every image by its content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0, le=MAX_LABELS_BYTES)
    sha256: str


class DatasetManifest(BaseModel):
    """``manifest.json``.

    Attributes:
        examples: number of examples by split, with all labels of the version.
        sources: what this version adds to its parent.
        digest: ``sha256:<hex>`` of all the other members as canonical JSON. Since the labels are among them by their
            digest, and name the images by theirs, it is over everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(1, ge=1, le=1)
    name: str = Field(pattern=f"^{NAME.pattern}$")
    version: str = Field(pattern=f"^{VERSION.pattern}$")
    parent: Parent | None
    examples: dict[str, int]
    images: int
    events: int
    sources: tuple[Source, ...]
    labels: LabelsFile
    digest: str = ""

    def own_digest(self) -> str:
        """What ``digest`` has to be."""
        canonical = json.dumps(self.model_dump(mode="json", exclude={"digest"}), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """An opened version, or what is to become one.

    Attributes:
        images: with the file of each, by id.
        events: the whole history, in order.
        splits: what each image is for, by id.
        manifest: None before it is stored.
    """

    images: Mapping[str, tuple[ImageRecord, Path]]
    events: tuple[LabelEvent, ...]
    splits: Mapping[str, Split]
    manifest: DatasetManifest | None = None

    @property
    def examples(self) -> tuple[Example, ...]:
        """By image id, with the labels that are in force."""
        return self.as_of(None)

    def as_of(self, moment: datetime | None) -> tuple[Example, ...]:
        """The examples with the labels that were in force at a moment."""
        return examples_of(self.images, self.events, self.splits, moment)


def extended(
    parent: Dataset | None,
    images: Mapping[str, tuple[ImageRecord, Path]],
    events: Iterable[LabelEvent],
    splits: Mapping[str, Split],
) -> Dataset:
    """A parent's images and history, and new ones.

    Args:
        images: new ones; one that the parent has stays as the parent has it.
        events: of images of the parent or of ``images``.
        splits: of every image there is then, see ``splits.assign_splits``.

    Raises:
        DatasetError: an event of an unknown image, or an image without a split.
    """
    known = {**images, **(parent.images if parent is not None else {})}
    history = in_order((*(parent.events if parent is not None else ()), *events))
    stated = {event.image for event in history}
    if unknown := stated - known.keys():
        raise DatasetError(f"there are labels of {len(unknown)} images that are not given, such as {min(unknown)}")
    if unassigned := stated - splits.keys():
        raise DatasetError(f"{len(unassigned)} images have no split, such as {min(unassigned)}")
    kept = {image: known[image] for image in sorted(stated)}
    return Dataset(kept, history, {image: splits[image] for image in kept})


def write_dataset(
    dataset: Dataset,
    storage: Storage,
    name: str,
    version: str,
    parent: DatasetManifest | None = None,
    sources: Iterable[Source] = (),
) -> DatasetManifest:
    """Store a version. A write that was interrupted can be repeated.

    Args:
        storage: of this very version, not of all.
        name: lower case letters, digits, dots, dashes.
        version: ``1``, ``1.2`` or ``1.2.3``.

    Raises:
        AlreadyStored: the version exists.
        DatasetError: it cannot be stored; an image's content is not what its id says.
    """
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise DatasetError(f"expected a name such as line-7 and a version such as 1.2.0, got {name!r} and {version!r}")
    if storage.has(MANIFEST):
        raise AlreadyStored(f"{storage.place} is a dataset version already, and stays as it is; choose a new version")
    for image, (record, file) in dataset.images.items():
        _require_content(file, image)
        storage.put(record.key, file)
    table = to_parquet({image: record for image, (record, _) in dataset.images.items()}, dataset.events, dataset.splits)
    if len(table) > MAX_LABELS_BYTES:
        raise DatasetError(f"expected labels of at most {MAX_LABELS_BYTES} bytes, got {len(table)}; split the dataset")
    counts = Counter(example.split for example in dataset.examples)
    manifest = DatasetManifest(
        format=1,
        name=name,
        version=version,
        parent=None if parent is None else Parent(name=parent.name, version=parent.version, digest=parent.digest),
        examples={split: counts[split] for split in SPLITS},
        images=len(dataset.images),
        events=len(dataset.events),
        sources=tuple(sorted(set(sources), key=lambda source: (source.kind, source.name, source.sha256))),
        labels=LabelsFile(bytes=len(table), sha256=hashlib.sha256(table).hexdigest()),
    )
    manifest = manifest.model_copy(update={"digest": manifest.own_digest()})
    storage.write(LABELS, table)
    storage.write(MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n")
    return manifest


def open_dataset(place: str | Path | Storage, cache: Path | None = None, client: Any = None) -> Dataset:
    """Open a version, and check all of it.

    Args:
        place: its folder, its ``s3://bucket/prefix``, or its storage.
        cache: where what is fetched from S3 is kept.
        client: of boto3, see ``storage_at``.

    Raises:
        DatasetError: it is not a version, or not what was stored.
    """
    storage = storage_at(place, cache, client) if isinstance(place, str | Path) else place
    manifest = read_manifest(storage)
    data = storage.read(LABELS, manifest.labels.bytes)
    if hashlib.sha256(data).hexdigest() != manifest.labels.sha256:
        raise DatasetError(f"{storage.place}/{LABELS}: its SHA-256 is not what {MANIFEST} says; it was changed")
    records, events, splits = from_parquet(data, f"{storage.place}/{LABELS}")
    images = {}
    for image, record in records.items():
        file = storage.local(record.key)
        _require_content(file, image)
        images[image] = record, file
    return Dataset(images, events, splits, manifest)


def read_manifest(storage: Storage) -> DatasetManifest:
    """A version's manifest.

    Raises:
        DatasetError: there is none, or its digest is not its own.
    """
    where = f"{storage.place}/{MANIFEST}"
    try:
        manifest = DatasetManifest.model_validate_json(storage.read(MANIFEST, MAX_MANIFEST_BYTES))
    except ValidationError as error:
        raise DatasetError(f"{where}: {first_complaint(error)}") from error
    if manifest.digest != manifest.own_digest():
        raise DatasetError(
            f"{where}: expected the digest {manifest.own_digest()}, got {manifest.digest}; it was changed"
        )
    return manifest


def _require_content(file: Path, image: str) -> None:
    try:
        found = sha256_of(file)
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error
    if found != image:
        raise DatasetError(f"{file}: expected an image with the SHA-256 {image}, got {found}; it was changed")
