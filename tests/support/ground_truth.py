"""Ground Truth in memory, behind botocore: moto has no labeling jobs. Requests and responses are checked by botocore's
own model of the service."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import boto3
import botocore.client
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

STARTED = datetime(2026, 5, 1, 9, tzinfo=timezone.utc)


def output_line(attribute: str, source: str, width: int, height: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """A line of an output manifest: one red box, left, top, width, height."""
    left, top, box_width, box_height = box
    annotation = {"class_id": 0, "left": left, "top": top, "width": box_width, "height": box_height}
    size = {"width": width, "height": height, "depth": 3}
    return {
        "source-ref": source,
        attribute: {"image_size": [size], "annotations": [annotation]},
        f"{attribute}-metadata": {
            "objects": [{"confidence": 0.9}],
            "class-map": {"0": "red"},
            "type": "groundtruth/object-detection",
            "creation-date": "2026-05-01T10:00:00",
            "job-name": f"labeling-job/{attribute}",
        },
    }


class FakeGroundTruth:
    """Jobs by name; what becomes of them the test says."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answer these two operations; all others stay as they are."""
        real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if operation not in ("CreateLabelingJob", "DescribeLabelingJob"):
                return real(client, operation, parameters)
            self.calls.append(operation)
            model = client.meta.service_model.operation_model(operation)
            _require(parameters, model.input_shape)
            response = self._create(client, parameters) if operation.startswith("C") else self._describe(parameters)
            _require(response, model.output_shape)
            return response

        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)

    def manifest(self, job: str) -> list[Any]:
        """Lines of the job's input."""
        uri = self.jobs[job]["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = boto3.client("s3", region_name="us-east-1").get_object(Bucket=bucket, Key=key)["Body"].read()
        return [json.loads(line) for line in body.splitlines()]

    def complete(self, job: str, lines: list[Any]) -> None:
        """The workers are done."""
        key = f"jobs/{job}/output/{job}/manifests/output/output.manifest"
        data = "\n".join(map(json.dumps, lines)).encode()
        boto3.client("s3", region_name="us-east-1").put_object(Bucket="bucket", Key=key, Body=data)
        self.jobs[job] |= {
            "LabelingJobStatus": "Completed",
            "LabelingJobOutput": {"OutputDatasetS3Uri": f"s3://bucket/{key}"},
        }
        self.jobs[job]["LabelCounters"]["TotalLabeled"] = len(lines)

    def fail(self, job: str, reason: str) -> None:
        """The service gives up."""
        self.jobs[job] |= {"LabelingJobStatus": "Failed", "FailureReason": reason}

    def _create(self, client: Any, parameters: dict[str, Any]) -> dict[str, Any]:
        name = parameters["LabelingJobName"]
        if name in self.jobs:
            raise client.exceptions.ResourceInUse({"Error": {"Code": "ResourceInUse", "Message": name}}, "")
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:labeling-job/{name}"
        self.jobs[name] = {
            **parameters,
            "LabelingJobArn": arn,
            "LabelingJobStatus": "InProgress",
            "LabelCounters": {"TotalLabeled": 0},
            "CreationTime": STARTED,
            "LastModifiedTime": STARTED,
            "JobReferenceCode": "x",
        }
        return {"LabelingJobArn": arn}

    def _describe(self, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.jobs[parameters["LabelingJobName"]]
        except KeyError:
            error = {"Code": "ResourceNotFound", "Message": "no such job"}
            raise ClientError({"Error": error}, "DescribeLabelingJob") from None


def _require(value: dict[str, Any], shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
