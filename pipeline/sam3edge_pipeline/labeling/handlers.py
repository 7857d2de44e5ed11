"""AWS Lambda's entry points of the labeling workflow: ``check``, ``start``, ``status``, ``verify`` and ``store``.

Clients are made here and nowhere else, with the first request of an execution environment.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from sam3edge_pipeline.datasets.formats.annotations import FormatError
from sam3edge_pipeline.datasets.splits import SplitPolicy
from sam3edge_pipeline.datasets.storage import S3Storage
from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.environment import PATIENT, from_environment
from sam3edge_pipeline.labeling.backends import FilesBackend, LabelingBackend, ReviewBackend, from_uploads
from sam3edge_pipeline.labeling.cloud import Mirror, fetch_examples
from sam3edge_pipeline.labeling.ground_truth import GroundTruthBackend
from sam3edge_pipeline.labeling.prelabels import EXAMPLE
from sam3edge_pipeline.labeling.settings import LabelingSettings
from sam3edge_pipeline.labeling.steps import LabelingSteps, Step
from sam3edge_pipeline.labeling.uploads import Upload, uploads_in
from sam3edge_pipeline.retraining.versions import latest_version

logger = logging.getLogger(__name__)

_PATIENT = PATIENT.merge(Config(read_timeout=60))
MAX_LIST_BYTES = 64 << 20

Event = Mapping[str, Any]


def read_settings() -> LabelingSettings:
    """From the environment; raises SettingsError that names every variable that is wrong."""
    return from_environment(LabelingSettings)


@dataclass(frozen=True, slots=True)
class CloudLabeling:
    """The steps with the files of two buckets.

    Attributes:
        s3, sagemaker: boto3's clients.
        work: folder of what is fetched.
    """

    settings: LabelingSettings
    s3: Any
    sagemaker: Any
    work: Path

    def run(self, step: Step, event: Event) -> dict[str, Any]:
        """Do one step: fetch what it needs, do it, and send what it made."""
        job = str(event["job"])
        uploads = self._uploads(job)
        queue = self._learning(f"labeling/queues/{job}/", f"queues/{job}")
        labels = self._learning("labeling/labels/", "labels")
        if event.get("backend") == "review":
            queue.fetch_all()
        if event.get("backend") == "files" and step != "start":
            labels.fetch(key for key in labels.newest(f"{job}.json", 1) if key == f"{job}.json")
        returned = self._steps(job, uploads).handle(step, event)
        if step == "check":
            self._remember(job, uploads)
        if step == "start" and event.get("backend") == "review":
            queue.send_all()
        return returned

    def _steps(self, job: str, uploads: Mapping[str, Upload]) -> LabelingSteps:
        settings = self.settings
        examples = {image: one.example for image, one in uploads.items()}
        backends: dict[str, LabelingBackend] = {
            "files": FilesBackend(
                self.work / "labels" / f"{job}.json", "coco", self.work / "examples", settings.reviewer
            ),
            "review": ReviewBackend(self.work / "queues", from_uploads(examples)),
        }
        ground_truth = settings.ground_truth()
        if ground_truth is not None:
            backends["ground-truth"] = GroundTruthBackend(self.sagemaker, self.s3, ground_truth)
        return LabelingSteps(
            candidates=lambda: [one.image for one in uploads.values()],
            labeled=self._labeled,
            phrases=settings.phrase_list(),
            backends=backends,
            jobs=self._storage("labeling/jobs"),
            versions=lambda name, version: self._storage(f"datasets/{name}/{version}"),
            policy=SplitPolicy(),
        )

    def _uploads(self, job: str) -> dict[str, Upload]:
        """Uploads by image id: those of the job once it has some, before that the newest."""
        mirror = Mirror(
            self.s3,
            self.settings.examples,
            f"{self.settings.examples_prefix}/",
            self.work / "examples" / self.settings.examples_prefix,
        )
        jobs, key = self._storage("labeling/jobs"), f"{job}/examples.json"
        if jobs.has(key):
            keys = list(json.loads(jobs.read(key, MAX_LIST_BYTES)))
        else:
            keys = mirror.newest(f"/{EXAMPLE}", self.settings.max_examples)
        fetch_examples(mirror, keys)
        wanted = {f"{self.settings.examples_prefix}/{key}" for key in keys}
        found = uploads_in(self.work / "examples", _passed_over, f"s3://{self.settings.examples}")
        return {
            one.image.record.id: one
            for one in found
            if one.image.file.relative_to(self.work / "examples").with_name(EXAMPLE).as_posix() in wanted
        }

    def _remember(self, job: str, uploads: Mapping[str, Upload]) -> None:
        """Under which keys the images of a job were uploaded, so that later steps fetch nothing else."""
        jobs = self._storage("labeling/jobs")
        chosen = json.loads(jobs.read(f"{job}/batch.json", MAX_LIST_BYTES))["images"]
        root = self.work / "examples" / self.settings.examples_prefix
        keys = [uploads[image].image.file.relative_to(root).with_name(EXAMPLE).as_posix() for image in chosen]
        jobs.write(f"{job}/examples.json", json.dumps(sorted(keys)).encode())

    def _labeled(self) -> frozenset[str]:
        """Images of the latest version of the dataset."""
        name = self.settings.dataset
        latest = latest_version(self.s3, self.settings.learning, name)
        if latest is None:
            return frozenset()
        return frozenset(open_dataset(self._storage(f"datasets/{name}/{latest}")).images)

    def _storage(self, prefix: str) -> S3Storage:
        return S3Storage(self.s3, self.settings.learning, prefix, self.work / "fetched")

    def _learning(self, prefix: str, folder: str) -> Mirror:
        return Mirror(self.s3, self.settings.learning, prefix, self.work / folder)


def _passed_over(error: FormatError) -> None:
    logger.warning("passed over: %s", error)


@functools.cache
def _labeling() -> CloudLabeling:
    s3, sagemaker = (boto3.client(name, config=_PATIENT) for name in ("s3", "sagemaker"))
    return CloudLabeling(read_settings(), s3, sagemaker, Path(tempfile.mkdtemp(prefix="labeling-")))


def check(event: Event, context: Any) -> dict[str, Any]:
    """See ``LabelingSteps.check``."""
    return _labeling().run("check", event)


def start(event: Event, context: Any) -> dict[str, Any]:
    """See ``LabelingSteps.start``."""
    return _labeling().run("start", event)


def status(event: Event, context: Any) -> dict[str, Any]:
    """See ``LabelingSteps.status``."""
    return _labeling().run("status", event)


def verify(event: Event, context: Any) -> dict[str, Any]:
    """See ``LabelingSteps.verify``."""
    return _labeling().run("verify", event)


def store(event: Event, context: Any) -> dict[str, Any]:
    """See ``LabelingSteps.store``."""
    return _labeling().run("store", event)
