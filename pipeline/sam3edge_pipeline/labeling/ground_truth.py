"""SageMaker Ground Truth as a labeling backend: boxes by its own work teams.

It is closed to new customers, so nothing else of this project needs it. What is sent is checked against the service's
own model before it is sent, since a wrong request would be found out by people waiting for tasks.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sam3edge_pipeline.datasets.formats.annotations import MAX_FILE_BYTES
from sam3edge_pipeline.datasets.formats.ground_truth import read_ground_truth
from sam3edge_pipeline.datasets.importing import statements
from sam3edge_pipeline.datasets.store import Source
from sam3edge_pipeline.labeling.backends import JobStatus, Labeled, LabelingError, LabelingRequest

MAX_CLASSES = 50
"""Of a bounding box job."""


@dataclass(frozen=True, slots=True)
class GroundTruthSettings:
    """Who labels, and how. ARNs of the account.

    Attributes:
        place: ``s3://bucket/prefix`` of manifests and output.
        role: that the job runs with.
        work_team: who labels.
        ui_template: ``s3://`` address of the task's page.
        pre_task: Lambda function that prepares a task, ``consolidation`` the one that merges what workers have said;
            AWS has both for each region.
        title, description: of the task, for workers.
        workers: who label each image.
        task_seconds: to label one image.
        kms_key: of the output; empty for the bucket's.
    """

    place: str
    role: str
    work_team: str
    ui_template: str
    pre_task: str
    consolidation: str
    title: str = "Outline objects"
    description: str = "Draw a box around every object of each class"
    workers: int = 1
    task_seconds: int = 3600
    kms_key: str = ""


class GroundTruthBackend:
    """Jobs of Ground Truth.

    Args:
        sagemaker: client of boto3.
        s3: client of boto3.
    """

    def __init__(self, sagemaker: Any, s3: Any, settings: GroundTruthSettings) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3
        self._settings = settings

    def start(self, request: LabelingRequest) -> None:
        """See ``LabelingBackend``."""
        if not request.images or not 0 < len(request.phrases) <= MAX_CLASSES:
            raise LabelingError(
                f"expected images, and 1 to {MAX_CLASSES} phrases, got {len(request.images)} and {len(request.phrases)}"
            )
        if missing := [one.record.origin for one in request.images if not one.address.startswith("s3://")]:
            raise LabelingError(f"Ground Truth labels images in S3; {missing[0]} is not there, upload it")
        parameters = job_parameters(request, self._settings)
        self._require_valid(parameters)
        manifest = "".join(
            json.dumps({"source-ref": one.address}) + "\n" for one in sorted(request.images, key=lambda i: i.record.id)
        )
        labels = {"document-version": "2018-11-28", "labels": [{"label": phrase} for phrase in request.phrases]}
        with _errors(request.job):
            self._put(f"{request.job}/input.manifest", manifest.encode())
            self._put(f"{request.job}/labels.json", json.dumps(labels).encode())
            try:
                self._sagemaker.create_labeling_job(**parameters)
            except self._sagemaker.exceptions.ResourceInUse:
                return  # an earlier attempt has started it

    def status(self, request: LabelingRequest) -> JobStatus:
        """See ``LabelingBackend``."""
        with _errors(request.job):
            found = self._sagemaker.describe_labeling_job(LabelingJobName=request.job)
        labeled, total = found["LabelCounters"].get("TotalLabeled", 0), len(request.images)
        match found["LabelingJobStatus"]:
            case "Completed":
                return JobStatus("completed", labeled, total)
            case "Failed" | "Stopped":
                reason = found.get("FailureReason") or f"the job is {found['LabelingJobStatus']}"
                return JobStatus("failed", labeled, total, reason)
            case _:
                return JobStatus("in_progress", labeled, total)

    def results(self, request: LabelingRequest) -> Labeled:
        """See ``LabelingBackend``. Boxes become rectangles; the request's phrases are exhaustive."""
        with _errors(request.job):
            found = self._sagemaker.describe_labeling_job(LabelingJobName=request.job)
            address = found.get("LabelingJobOutput", {}).get("OutputDatasetS3Uri", "")
            if not address:
                raise LabelingError(f"the job {request.job} has no output; it is {found['LabelingJobStatus']}")
            data = self._get(address)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "output.manifest"
            path.write_bytes(data)
            annotations = read_ground_truth(path, attribute_of(request))
        source = Source(kind="job", name=request.job, sha256=hashlib.sha256(data).hexdigest())
        by_address = {one.address: one for one in request.images}
        images, events = {}, []
        ended = found["LastModifiedTime"].astimezone(timezone.utc)
        for one in annotations.images:
            if one.image not in by_address:
                raise LabelingError(f"the job {request.job} has labeled {one.image}, which was not asked for")
            wanted = by_address[one.image]
            if (one.width, one.height) != (wanted.record.width, wanted.record.height):
                raise LabelingError(
                    f"{one.image} had {one.width} x {one.height} pixels when it was labeled, expected "
                    f"{wanted.record.width} x {wanted.record.height}"
                )
            images[wanted.record.id] = wanted.record, wanted.file
            dated = replace(one, labeled_at=one.labeled_at or ended)
            events += statements(dated, wanted.record.id, request.phrases, source.sha256)
        return Labeled(images, tuple(events), (source,))

    def _require_valid(self, parameters: dict[str, Any]) -> None:
        from botocore.validate import ParamValidator

        shape = self._sagemaker.meta.service_model.operation_model("CreateLabelingJob").input_shape
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            raise LabelingError(f"not a labeling job: {report.generate_report()}")

    def _put(self, name: str, data: bytes) -> None:
        place = urlsplit(self._settings.place)
        self._s3.put_object(Bucket=place.netloc, Key=f"{place.path.strip('/')}/{name}", Body=data)

    def _get(self, address: str) -> bytes:
        parts = urlsplit(address)
        found = self._s3.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
        if found["ContentLength"] > MAX_FILE_BYTES:
            raise LabelingError(f"{address}: expected at most {MAX_FILE_BYTES} bytes, got {found['ContentLength']}")
        return bytes(found["Body"].read())


def attribute_of(request: LabelingRequest) -> str:
    """Name of the label attribute: the job's, which then names the members of the output."""
    return request.job


def job_parameters(request: LabelingRequest, settings: GroundTruthSettings) -> dict[str, Any]:
    """Parameters of ``CreateLabelingJob``; the same request gives the same."""
    place = f"{settings.place.rstrip('/')}/{request.job}"
    output = {"S3OutputPath": f"{place}/output"}
    if settings.kms_key:
        output["KmsKeyId"] = settings.kms_key
    return {
        "LabelingJobName": request.job,
        "LabelAttributeName": attribute_of(request),
        "InputConfig": {"DataSource": {"S3DataSource": {"ManifestS3Uri": f"{place}/input.manifest"}}},
        "OutputConfig": output,
        "RoleArn": settings.role,
        "LabelCategoryConfigS3Uri": f"{place}/labels.json",
        "HumanTaskConfig": {
            "WorkteamArn": settings.work_team,
            "UiConfig": {"UiTemplateS3Uri": settings.ui_template},
            "PreHumanTaskLambdaArn": settings.pre_task,
            "TaskTitle": settings.title,
            "TaskDescription": settings.description,
            "NumberOfHumanWorkersPerDataObject": settings.workers,
            "TaskTimeLimitInSeconds": settings.task_seconds,
            "AnnotationConsolidationConfig": {"AnnotationConsolidationLambdaArn": settings.consolidation},
        },
    }


@contextmanager
def _errors(job: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LabelingError(f"the labeling job {job}: {error}") from error
