"""Who labels: one protocol, and the backends that need no service. ``ground_truth`` has the one that does.

A backend keeps nothing in memory between calls, so that each may be made by another process: what it needs to know is
in the request, on disk, or at the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.ports import Engine
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.images.files import read_frame
from sam3edge_pipeline.datasets.formats import Format, read_annotations
from sam3edge_pipeline.datasets.importing import import_labels
from sam3edge_pipeline.datasets.labels import ImageRecord, LabelEvent
from sam3edge_pipeline.datasets.store import Source
from sam3edge_pipeline.labeling.prelabels import PreLabeled, propose
from sam3edge_pipeline.labeling.review.queue import ReviewQueue, create_queue


class LabelingError(Sam3EdgeError):
    """A labeling job cannot be started, or gives no labels."""


@dataclass(frozen=True, slots=True)
class ImageToLabel:
    """One image of a request.

    Attributes:
        file: the image on this computer.
        address: where a service finds it, ``s3://bucket/key``; empty where no service needs it.
    """

    record: ImageRecord
    file: Path
    address: str = ""


@dataclass(frozen=True, slots=True)
class LabelingRequest:
    """What is to be labeled.

    Attributes:
        job: name of the labeling job; letters, digits and dashes, at most 63.
        phrases: of which every object is to be outlined in every image (``normalize_text``).
    """

    job: str
    images: tuple[ImageToLabel, ...]
    phrases: tuple[str, ...]

    def __post_init__(self) -> None:
        if wrong := [phrase for phrase in self.phrases if phrase != normalize_text(phrase)]:
            raise LabelingError(f"expected the phrase {normalize_text(wrong[0])!r}, got {wrong[0]!r}")


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is.

    Attributes:
        labeled: images that are done; total: all of them.
        reason: why it failed.
    """

    state: Literal["in_progress", "completed", "failed"]
    labeled: int
    total: int
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Labeled:
    """What a job has come to.

    Attributes:
        images: with the file of each, by id.
        sources: what the labels came from.
    """

    images: Mapping[str, tuple[ImageRecord, Path]]
    events: tuple[LabelEvent, ...]
    sources: tuple[Source, ...]


class LabelingBackend(Protocol):
    """Who labels."""

    def start(self, request: LabelingRequest) -> None:
        """Begin a job. The same request may be started again, which changes nothing.

        Raises:
            LabelingError: it cannot be started.
        """

    def status(self, request: LabelingRequest) -> JobStatus:
        """How far the job is.

        Raises:
            LabelingError: nobody can say.
        """

    def results(self, request: LabelingRequest) -> Labeled:
        """The labels of a job that is completed; those there are of one that is not.

        Raises:
            Sam3EdgeError: there are none, or they are damaged.
        """


class FilesBackend:
    """People with a tool of their own: the job is completed when its label file is there.

    Args:
        label_file: where the tool's export will be put; under its name only once it is whole.
        images: folder of the images that the export names.
    """

    def __init__(self, label_file: Path, written_as: Format, images: Path, reviewer: str = "") -> None:
        self._label_file = label_file
        self._written_as = written_as
        self._images = images
        self._reviewer = reviewer

    def start(self, request: LabelingRequest) -> None:
        """Nothing: whoever labels has been asked to by other means."""

    def status(self, request: LabelingRequest) -> JobStatus:
        """See ``LabelingBackend``."""
        total = len(request.images)
        return (
            JobStatus("completed", total, total) if self._label_file.is_file() else JobStatus("in_progress", 0, total)
        )

    def results(self, request: LabelingRequest) -> Labeled:
        """See ``LabelingBackend``. The phrases of the request are exhaustive, and of its images alone."""
        annotations = read_annotations(self._label_file, self._written_as)
        read = import_labels(
            annotations, self._label_file, self._images, exhaustive=request.phrases, reviewer=self._reviewer
        )
        wanted = {one.record.id: (one.record, one.file) for one in request.images}
        if foreign := read.images.keys() - wanted.keys():
            record, _ = read.images[min(foreign)]
            raise LabelingError(
                f"{self._label_file} labels {len(foreign)} images that were not asked for, such as {record.origin}; "
                "import it on its own"
            )
        return Labeled({image: wanted[image] for image in read.images}, read.events, (read.source,))


PreLabel: TypeAlias = Callable[[ImageToLabel, tuple[str, ...]], PreLabeled]
"""An image and the phrases of the request -> what is proposed for it."""


class ReviewBackend:
    """Our own review page: a model proposes, a person decides.

    Args:
        folder: each job has its queue in it, by its name.
        pre_label: what is proposed, see ``from_uploads`` and ``from_engine``.
    """

    def __init__(self, folder: Path, pre_label: PreLabel) -> None:
        self._folder = folder
        self._pre_label = pre_label

    def start(self, request: LabelingRequest) -> None:
        """See ``LabelingBackend``."""
        queue = self._queue(request)
        there = set(queue.ids)
        for one in request.images:
            if one.record.id not in there:
                queue.add(self._pre_label(one, request.phrases), one.file.read_bytes())

    def status(self, request: LabelingRequest) -> JobStatus:
        """See ``LabelingBackend``."""
        queue = self._queue(request)
        wanted = {one.record.id for one in request.images}
        done = sum(queue.is_done(image) for image in queue.ids if image in wanted)
        return JobStatus("completed" if done == len(wanted) else "in_progress", done, len(wanted))

    def results(self, request: LabelingRequest) -> Labeled:
        """See ``LabelingBackend``."""
        wanted = {one.record.id for one in request.images}
        found = [one for one in self._queue(request).events() if one[0].id in wanted]
        events = tuple(event for _, _, said in found for event in said)
        sources = {Source(kind="review", name=e.reviewer, sha256=e.source) for e in events}
        images = {record.id: (record, file) for record, file, _ in found}
        return Labeled(images, events, tuple(sorted(sources, key=lambda one: (one.name, one.sha256))))

    def _queue(self, request: LabelingRequest) -> ReviewQueue:
        return create_queue(self._folder / request.job, request.job)


def from_uploads(examples: Mapping[str, PreLabeled]) -> PreLabel:
    """Proposals of the devices or the cloud, as uploaded, by image id; the request's phrases are decided, too."""

    def pre_label(image: ImageToLabel, phrases: tuple[str, ...]) -> PreLabeled:
        found = examples.get(image.record.id)
        proposals, note = (found.proposals, found.note) if found is not None else ((), "")
        wanted = dict.fromkeys((*phrases, *(found.phrases if found is not None else ())))
        return PreLabeled(image.record, tuple(wanted), proposals, note)

    return pre_label


def from_engine(engine: Engine, threshold: float = 0.4) -> PreLabel:
    """Proposals of a bigger model than devices have."""

    def pre_label(image: ImageToLabel, phrases: tuple[str, ...]) -> PreLabeled:
        found = propose(engine, read_frame(image.file, "labeling"), phrases, threshold)
        return PreLabeled(image.record, phrases, found)

    return pre_label
