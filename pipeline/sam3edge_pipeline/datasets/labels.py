"""Labels as a history: who said what of which phrase in which image, and when.

An event states a phrase in an image as a whole: its objects, and whether these are all. Of the events of one phrase in
one image the latest approved one counts, so that the labels of any time can be told from the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sam3edge_pipeline.datasets.examples import Example, LabeledObject, Split


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of an image beside its labels.

    Attributes:
        id: SHA-256 of the encoded image, hexadecimal.
        suffix: of its file, in lower case with the dot.
        width: pixels, upright; as is ``height``.
        group: see ``Example.group``.
        captured_at: UTC.
        perceptual_hash: 64 bits of ``dhash``; None where it was not computed.
        origin: where it was found: a path or an address.
    """

    id: str
    suffix: str
    width: int
    height: int
    group: str
    captured_at: datetime
    perceptual_hash: int | None = None
    origin: str = ""

    @property
    def key(self) -> str:
        """Where a dataset version keeps the image, below its place."""
        return f"images/{self.id}{self.suffix}"


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """One statement.

    Attributes:
        image: ``ImageRecord.id``.
        phrase: as a prompt would say it (``normalize_text``).
        objects: of this phrase, in pixels of the image.
        exhaustive: whether these are all; without objects, the phrase is absent. Without objects and not exhaustive,
            what was said before is withdrawn.
        at: when it was stated, UTC.
        approved: whether it may be trained on; what is not approved replaces nothing.
        job: the labeling job, or the file that it came in.
        reviewer: who stated it.
        source: SHA-256 of the label file or decision it came from, hexadecimal.
    """

    image: str
    phrase: str
    objects: tuple[LabeledObject, ...]
    exhaustive: bool
    at: datetime
    approved: bool = True
    job: str = ""
    reviewer: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError(f"expected the time of a label with its zone, got {self.at}")
        if any(one.phrase != self.phrase for one in self.objects):
            raise ValueError(f"expected objects of {self.phrase!r} alone in one label event; split it by phrase")


def record_of(example: Example) -> ImageRecord:
    """What an example says of its image."""
    return ImageRecord(
        example.id,
        example.image.suffix,
        example.width,
        example.height,
        example.group,
        example.captured_at,
        origin=example.image.name,
    )


def events_of(example: Example, at: datetime, reviewer: str = "") -> tuple[LabelEvent, ...]:
    """What an example says of its phrases, as if it had been stated at a moment: those that it knows everything of."""
    return tuple(
        LabelEvent(example.id, phrase, example.of(phrase), True, at, reviewer=reviewer) for phrase in example.exhaustive
    )


def in_order(events: Iterable[LabelEvent]) -> tuple[LabelEvent, ...]:
    """Events by image, phrase and time; of equal time as they were given. What is repeated is dropped."""
    return tuple(sorted(dict.fromkeys(events), key=lambda event: (event.image, event.phrase, event.at)))


def in_force(events: Iterable[LabelEvent], as_of: datetime | None = None) -> tuple[LabelEvent, ...]:
    """The latest approved event of every phrase in every image, in the order of ``in_order``.

    Args:
        as_of: events after this moment are not seen, as if they had not happened yet; None for all.
    """
    latest: dict[tuple[str, str], LabelEvent] = {}
    for event in in_order(events):
        if event.approved and (as_of is None or event.at <= as_of):
            latest[event.image, event.phrase] = event
    return tuple(latest.values())


def examples_of(
    images: Mapping[str, tuple[ImageRecord, Path]],
    events: Iterable[LabelEvent],
    splits: Mapping[str, Split],
    as_of: datetime | None = None,
) -> tuple[Example, ...]:
    """What is known of each image at one moment, by image id. Images of which nothing is known are left out.

    Args:
        images: with the file of each, by id.
        splits: what each image is for, by id.
    """
    known: dict[str, list[LabelEvent]] = {}
    for event in in_force(events, as_of):
        if event.objects or event.exhaustive:
            known.setdefault(event.image, []).append(event)
    return tuple(_example(*images[image], said, splits[image]) for image, said in sorted(known.items()))


def _example(record: ImageRecord, file: Path, said: Sequence[LabelEvent], split: Split) -> Example:
    return Example(
        id=record.id,
        image=file,
        width=record.width,
        height=record.height,
        group=record.group,
        captured_at=record.captured_at,
        objects=tuple(one for event in said for one in event.objects),
        exhaustive=tuple(event.phrase for event in said if event.exhaustive),
        split=split,
    )
