"""What the steps of the labeling workflow do. Each can be repeated, and finds what it needs on disk or in S3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.validation import first_complaint
from sam3edge_pipeline.datasets.splits import SplitPolicy
from sam3edge_pipeline.datasets.storage import AlreadyStored, Storage
from sam3edge_pipeline.datasets.store import (
    DatasetManifest,
    Source,
    open_dataset,
    read_manifest,
    write_dataset,
)
from sam3edge_pipeline.datasets.versions import continued
from sam3edge_pipeline.labeling.backends import ImageToLabel, Labeled, LabelingBackend, LabelingRequest

Step = Literal["check", "start", "status", "verify", "store"]
MAX_REQUEST_BYTES = 16 << 20


class StepError(Sam3EdgeError):
    """A step cannot do what was asked."""


class VerificationError(Sam3EdgeError):
    """The labels are not good enough to be stored."""


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job: str = Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")  # Ground Truth's rule; others have wider ones


class _Check(_Event):
    maximum: int = Field(gt=0)


class _Labeling(_Event):
    backend: str


class _Verify(_Labeling):
    minimum_share: float = Field(gt=0, le=1)


class _Store(_Labeling):
    dataset: str
    version: str
    parent: str


class _Batch(BaseModel):
    """Which images a job is about, so that each of its steps means the same."""

    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LabelingSteps:
    """The steps, with what they need.

    Attributes:
        candidates: every image that there is, labeled or not, in the order in which they are to be labeled.
        labeled: ids of the images that have labels.
        phrases: to be labeled.
        backends: by name.
        jobs: where batches are kept.
        versions: name of a dataset and version -> where it is.
        policy: how new images are split.
    """

    candidates: Callable[[], Sequence[ImageToLabel]]
    labeled: Callable[[], frozenset[str]]
    phrases: tuple[str, ...]
    backends: Mapping[str, LabelingBackend]
    jobs: Storage
    versions: Callable[[str, str], Storage]
    policy: SplitPolicy

    def handle(self, step: Step, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do one step: what a Lambda function of the workflow calls.

        Args:
            event: the payload that the workflow's definition gives the step.

        Raises:
            StepError: not such a payload.
            Sam3EdgeError: the step has failed.
        """
        try:
            match step:
                case "check":
                    return self.check(_Check.model_validate(event))
                case "start":
                    return self.start(_Labeling.model_validate(event))
                case "status":
                    return self.status(_Labeling.model_validate(event))
                case "verify":
                    return self.verify(_Verify.model_validate(event))
                case "store":
                    return self.store(_Store.model_validate(event))
        except ValidationError as error:
            raise StepError(f"the step {step}: {first_complaint(error)}") from error

    def check(self, event: _Check) -> dict[str, Any]:
        """Choose the images of the job, once; a repetition finds the same."""
        key = f"{event.job}/batch.json"
        if not self.jobs.has(key):
            known = self.labeled()
            fresh = dict.fromkeys(one.record.id for one in self.candidates() if one.record.id not in known)
            batch = _Batch(images=tuple(fresh)[: event.maximum])
            self.jobs.write(key, batch.model_dump_json().encode())
        return {"count": len(self._request(event.job).images)}

    def start(self, event: _Labeling) -> dict[str, Any]:
        """Have them labeled."""
        self._backend(event).start(self._request(event.job))
        return {"job": event.job}

    def status(self, event: _Labeling) -> dict[str, Any]:
        """How far the job is."""
        status = self._backend(event).status(self._request(event.job))
        return {"state": status.state, "labeled": status.labeled, "total": status.total, "reason": status.reason}

    def verify(self, event: _Verify) -> dict[str, Any]:
        """Count. That labels are well formed, and of the images that were asked for, their readers have seen to.

        Raises:
            VerificationError: too few images have labels of every phrase.
        """
        request = self._request(event.job)
        labeled = self._backend(event).results(request)
        stated = {(one.image, one.phrase) for one in labeled.events}
        done = [i for i in request.images if all((i.record.id, phrase) in stated for phrase in request.phrases)]
        if len(done) < event.minimum_share * len(request.images):
            raise VerificationError(
                f"expected labels of all {len(request.phrases)} phrases for {event.minimum_share:.0%} of "
                f"{len(request.images)} images, got them for {len(done)}"
            )
        return {"labeled": len(done), "missing": len(request.images) - len(done)}

    def store(self, event: _Store) -> dict[str, Any]:
        """Store a version: the parent and the new labels. Repeating it finds that it was stored."""
        labeled = self._backend(event).results(self._request(event.job))
        parent = open_dataset(self.versions(event.dataset, event.parent)) if event.parent else None
        made = continued(parent, labeled.images, labeled.events, self.policy)
        target = self.versions(event.dataset, event.version)
        try:
            manifest = write_dataset(
                made,
                target,
                event.dataset,
                event.version,
                parent.manifest if parent is not None else None,
                _sources(labeled, event.job),
            )
        except AlreadyStored:
            manifest = read_manifest(target)
            if not _is_same(manifest, event, _sources(labeled, event.job)):
                raise
        return {"version": manifest.version, "digest": manifest.digest, "examples": dict(manifest.examples)}

    def _backend(self, event: _Labeling) -> LabelingBackend:
        if event.backend not in self.backends:
            raise StepError(f"expected the backend {' or '.join(sorted(self.backends))}, got {event.backend}")
        return self.backends[event.backend]

    def _request(self, job: str) -> LabelingRequest:
        batch = _Batch.model_validate_json(self.jobs.read(f"{job}/batch.json", MAX_REQUEST_BYTES))
        there = {one.record.id: one for one in self.candidates()}
        if gone := [image for image in batch.images if image not in there]:
            raise StepError(f"{len(gone)} images of the job {job} are gone, such as {gone[0]}")
        return LabelingRequest(job, tuple(there[image] for image in batch.images), self.phrases)


def _sources(labeled: Labeled, job: str) -> list[Source]:
    """What the version was made of; the job is named even where its labels came as a file."""
    return [
        one if one.kind == "job" else one.model_copy(update={"name": f"{job}/{one.name}"}) for one in labeled.sources
    ]


def _is_same(manifest: DatasetManifest, event: _Store, sources: Sequence[Source]) -> bool:
    """Whether the version that exists is what this step has stored before."""
    parent = manifest.parent.version if manifest.parent is not None else ""
    return (manifest.name, parent) == (event.dataset, event.parent) and set(manifest.sources) == set(sources)
