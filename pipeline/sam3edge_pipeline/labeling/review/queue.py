"""A review queue on disk: what is to be reviewed, and every action that was taken. Survives kills and power cuts.

    queue.json                        {"format": 1, "job": ...}
    items/<image id>/image.<ext>
    items/<image id>/item.json        written after the image: with it the item exists
    items/<image id>/decisions.json   the actions, and how many were undone; rewritten whole with each

One process at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapely
import shapely.geometry
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.durable import make_folder, write_file
from sam3edge.validation import first_complaint
from sam3edge_pipeline.datasets.formats.outlines import from_geojson
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent
from sam3edge_pipeline.labeling.prelabels import PreLabeled, Proposal
from sam3edge_pipeline.labeling.review.decisions import (
    MAX_ACTIONS,
    Action,
    ActionKind,
    Review,
    ReviewError,
    after,
    events_of,
    replay,
)

_ID = re.compile(r"[0-9a-f]{64}")


class QueueError(Sam3EdgeError):
    """A review queue cannot be read or written."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Queue(_Document):
    format: int = Field(ge=1, le=1)
    job: str


class _Proposal(_Document):
    phrase: str
    outline: dict[str, Any]
    score: float


class _Item(_Document):
    suffix: str = Field(pattern=r"^\.[a-z]{2,5}$")
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    group: str
    captured_at: AwareDatetime
    perceptual_hash: int | None
    origin: str
    phrases: tuple[str, ...]
    proposals: tuple[_Proposal, ...]
    note: str


class _Action(_Document):
    kind: ActionKind
    reviewer: str
    at: AwareDatetime
    object: int | None = None
    phrase: str | None = None
    outline: dict[str, Any] | None = None


class _Decisions(_Document):
    actions: tuple[_Action, ...] = Field((), max_length=MAX_ACTIONS)
    undone: int = Field(0, ge=0)


class ReviewQueue:
    """An open queue.

    Args:
        folder: as ``create_queue`` made it.

    Raises:
        QueueError: it is not a queue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.job = _read(_Queue, folder / "queue.json").job

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all items, in the order in which they are reviewed: by their id, which is by chance."""
        return tuple(
            sorted(p.parent.name for p in (self._folder / "items").glob("*/item.json") if _is_id(p.parent.name))
        )

    def add(self, item: PreLabeled, image: bytes) -> None:
        """Put an image in; nothing happens if it is there.

        Raises:
            QueueError: it cannot be written, or the image is not the item's.
        """
        record = item.record
        if hashlib.sha256(image).hexdigest() != record.id:
            raise QueueError(f"expected the image with the SHA-256 {record.id}")
        folder = self._item_folder(record.id)
        if (folder / "item.json").exists():
            return
        document = _Item(
            suffix=record.suffix,
            width=record.width,
            height=record.height,
            group=record.group,
            captured_at=record.captured_at,
            perceptual_hash=record.perceptual_hash,
            origin=record.origin,
            phrases=item.phrases,
            proposals=tuple(
                _Proposal(phrase=p.phrase, outline=_geojson(p.outline), score=p.score) for p in item.proposals
            ),
            note=item.note,
        )
        try:
            make_folder(folder)
            write_file(folder / f"image{record.suffix}", image)
            write_file(folder / "item.json", document.model_dump_json().encode())
        except OSError as error:
            raise QueueError(f"{folder} cannot be written: {error.strerror}") from error

    def item(self, image: str) -> PreLabeled:
        """One item.

        Raises:
            QueueError: there is none with this id, or it is damaged.
        """
        path = self._item_folder(image) / "item.json"
        read = _read(_Item, path)
        record = ImageRecord(
            image,
            read.suffix,
            read.width,
            read.height,
            read.group,
            read.captured_at,
            read.perceptual_hash,
            read.origin,
        )
        proposals = tuple(Proposal(p.phrase, _outline(p.outline, path), p.score) for p in read.proposals)
        return PreLabeled(record, read.phrases, proposals, read.note)

    def image_file(self, image: str) -> Path:
        """The file of an item's image."""
        return self._item_folder(image) / f"image{self.item(image).record.suffix}"

    def actions(self, image: str) -> tuple[Action, ...]:
        """What was done to an item, in order."""
        path = self._item_folder(image) / "decisions.json"
        return tuple(
            Action(
                a.kind, a.reviewer, a.at, a.object, a.phrase, None if a.outline is None else _outline(a.outline, path)
            )
            for a in self._decisions(image).actions
        )

    def revision(self, image: str) -> int:
        """Number of times that an item was changed. Undoing is a change, too, so no two states have the same."""
        decisions = self._decisions(image)
        return len(decisions.actions) + 2 * decisions.undone

    def review(self, image: str) -> Review:
        """What was decided of an item so far."""
        return replay(self.item(image), self.actions(image))

    def act(self, image: str, action: Action, revision: int) -> Review:
        """Take one action; it is on the medium when this returns.

        Args:
            revision: of what the reviewer has seen; another window may have acted meanwhile.

        Raises:
            ReviewError: it cannot be taken, and nothing has changed.
        """
        before = self._seen(image, revision)
        if len(before) >= MAX_ACTIONS:
            raise ReviewError(f"expected at most {MAX_ACTIONS} actions on an image; undo some")
        review = after(replay(self.item(image), before), action)
        self._write(image, (*before, action))
        return review

    def undo(self, image: str, revision: int) -> Review:
        """Take the last action back; that an image is done is one, too.

        Raises:
            ReviewError: there is none, or ``revision`` is another.
        """
        before = self._seen(image, revision)
        if not before:
            raise ReviewError("there is nothing to undo")
        self._write(image, before[:-1], undone=1)
        return self.review(image)

    def is_done(self, image: str) -> bool:
        """Whether an item's review has ended."""
        actions = self.actions(image)
        return bool(actions) and actions[-1].kind == "done"

    def events(self) -> Iterator[tuple[ImageRecord, Path, tuple[LabelEvent, ...]]]:
        """Of every item that is done: the image, its file, and what is stated of it."""
        for image in self.ids:
            if self.is_done(image):
                item, decisions = self.item(image), self._item_folder(image) / "decisions.json"
                source = hashlib.sha256(decisions.read_bytes()).hexdigest()
                said = events_of(item, self.review(image), self.job, source)
                yield item.record, self.image_file(image), said

    def _seen(self, image: str, revision: int) -> tuple[Action, ...]:
        if self.revision(image) != revision:
            raise ReviewError("this image was changed in another window; reload the page")
        return self.actions(image)

    def _decisions(self, image: str) -> _Decisions:
        path = self._item_folder(image) / "decisions.json"
        read: _Decisions = _read(_Decisions, path) if path.exists() else _Decisions()
        return read

    def _write(self, image: str, actions: tuple[Action, ...], undone: int = 0) -> None:
        document = _Decisions(
            actions=tuple(
                _Action(
                    kind=a.kind,
                    reviewer=a.reviewer,
                    at=a.at,
                    object=a.object,
                    phrase=a.phrase,
                    outline=None if a.outline is None else _geojson(a.outline),
                )
                for a in actions
            ),
            undone=self._decisions(image).undone + undone,
        )
        path = self._item_folder(image) / "decisions.json"
        try:
            write_file(path, document.model_dump_json().encode())
        except OSError as error:
            raise QueueError(f"{path} cannot be written: {error.strerror}") from error

    def _item_folder(self, image: str) -> Path:
        if not _is_id(image):
            raise QueueError("expected the id of an image, 64 hexadecimal digits")
        return self._folder / "items" / image


def create_queue(folder: Path, job: str) -> ReviewQueue:
    """Make a queue, or open the one that is there.

    Args:
        job: name of the labeling job, which its labels will carry.

    Raises:
        QueueError: it cannot be made, or is of another job.
    """
    path = folder / "queue.json"
    if not path.exists():
        try:
            make_folder(folder / "items")
            write_file(path, _Queue(format=1, job=job).model_dump_json().encode())
        except OSError as error:
            raise QueueError(f"{folder} cannot be made: {error.strerror}") from error
    queue = ReviewQueue(folder)
    if queue.job != job:
        raise QueueError(f"{folder} is the queue of the job {queue.job}, not of {job}; choose another folder")
    return queue


def _is_id(image: str) -> bool:
    return _ID.fullmatch(image) is not None


def _read(model: type[Any], path: Path) -> Any:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise QueueError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise QueueError(f"{path}: {first_complaint(error)}") from error


def _geojson(outline: Polygon | MultiPolygon) -> dict[str, Any]:
    return dict(shapely.geometry.mapping(outline))


def _outline(geometry: dict[str, Any], path: Path) -> Polygon | MultiPolygon:
    return from_geojson(geometry, path, "outline")
