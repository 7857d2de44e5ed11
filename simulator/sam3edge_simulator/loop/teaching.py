"""From what devices send, to a dataset version: the generator of the scenes labels what a person would."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from sam3edge_pipeline.datasets.examples import Example, Split
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent, events_of, record_of
from sam3edge_pipeline.datasets.storage import FolderStorage
from sam3edge_pipeline.datasets.store import DatasetManifest, Source, extended, write_dataset
from sam3edge_pipeline.labeling.prelabels import EXAMPLE
from sam3edge_pipeline.labeling.uploads import uploads_in
from sam3edge_pipeline.synthetic import PHRASES, draw_scene
from sam3edge_pipeline.synthetic.examples import labels_of
from sam3edge_pipeline.synthetic.overhead import TANK

KNOWN = (*PHRASES, TANK)
"""What the labeler labels."""

REVIEWER = "generator of the scenes"

_SCENE = re.compile(r"scene-(\d+)\.")


@dataclass(frozen=True, slots=True)
class Labeled:
    """An image with its labels, as the store takes it; ``reason`` is why a device kept it."""

    record: ImageRecord
    file: Path
    events: tuple[LabelEvent, ...]
    reason: str = ""


def label_uploads(folder: Path, at: datetime) -> list[Labeled]:
    """Label every uploaded example in a copy of the bucket.

    Raises:
        FormatError: one is damaged.
    """

    def damaged(error: Exception) -> None:
        raise error

    return [
        replace(_labeled(one.example.record, one.image.file, at), reason=one.example.note)
        for one in uploads_in(folder, damaged)
    ]


DOUBTFUL_SHARE = 0.25
"""Of the labels that are spent on what was kept for the phrase, see ``docs/loop.md``."""


def worth_labeling(uploads: Sequence[Labeled], phrase: str, budget: int) -> list[Labeled]:
    """What a budget of labels is spent on: a part on frames that were kept for a phrase, the rest on those drawn.

    The drawn ones show what the phrase is not, and what it looks like where the model has no idea of it: with doubtful
    frames alone a model learns half of the new thing, and to find it in everything. What one part leaves over is spent
    on the other, and then on anything.
    """
    doubtful = [one for one in uploads if phrase in one.reason]
    drawn = [one for one in uploads if one.reason.startswith("random") and one not in doubtful]
    rest = [one for one in uploads if one not in doubtful and one not in drawn]
    first = doubtful[: budget - min(len(drawn), budget - round(budget * DOUBTFUL_SHARE))]
    return [*first, *[*drawn, *rest][: budget - len(first)]]


def name_of(upload: Path) -> str:
    """What the device calls the frame that was uploaded into a folder."""
    return str(json.loads((upload / EXAMPLE).read_text(encoding="utf-8"))["frame"]["name"])


def label_example(example: Example, at: datetime) -> Labeled:
    """What an example says already, as a statement of the labeler."""
    return Labeled(record_of(example), example.image, events_of(example, at, REVIEWER))


def store(
    folder: Path, name: str, parts: Mapping[Split, Iterable[Labeled]], learned: Sequence[Labeled]
) -> DatasetManifest:
    """Write version 1 of a dataset: images by split, and ``learned`` to train on beside them."""
    splits: dict[str, Split] = {}
    images: dict[str, tuple[ImageRecord, Path]] = {}
    events: list[LabelEvent] = []
    for split, some in (*parts.items(), ("train", learned)):
        for one in some:
            splits[one.record.id] = split
            images[one.record.id] = one.record, one.file
            events += one.events
    digest = hashlib.sha256("".join(sorted(one.record.id for one in learned)).encode()).hexdigest()
    source = Source(kind="review", name=REVIEWER, sha256=digest)
    return write_dataset(extended(None, images, events, splits), FolderStorage(folder), name, "1", sources=[source])


def seed_of(name: str) -> int:
    """The seed of a scene by the name of its file.

    Raises:
        ValueError: it is not a scene's.
    """
    found = _SCENE.search(name)
    if found is None:
        raise ValueError(f"expected the name of a scene such as scene-5.png, got {name!r}")
    return int(found[1])


def now() -> datetime:
    """When labels are stated."""
    return datetime.now(timezone.utc)


def _labeled(record: ImageRecord, file: Path, at: datetime) -> Labeled:
    objects = labels_of(draw_scene(seed_of(name_of(file.parent))), KNOWN)
    events = (
        LabelEvent(record.id, phrase, tuple(o for o in objects if o.phrase == phrase), True, at, reviewer=REVIEWER)
        for phrase in KNOWN
    )
    return Labeled(record, file, tuple(events))
