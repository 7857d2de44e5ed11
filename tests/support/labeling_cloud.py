"""The buckets of labeling in moto, with examples that devices have uploaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge_pipeline.labeling import handlers
from support.reviews import uploaded

REGION = "eu-central-1"
DEFAULTS = {
    "SAM3EDGE_LABELING_EXAMPLES": "examples",
    "SAM3EDGE_LABELING_LEARNING": "learning",
    "SAM3EDGE_LABELING_PHRASES": "red|dent",
    "SAM3EDGE_LABELING_DATASET": "yard",
    "SAM3EDGE_RETRAINING_LEARNING": "learning",
    "SAM3EDGE_RETRAINING_DATASET": "yard",
    "SAM3EDGE_RETRAINING_BACKEND": "files",
    "SAM3EDGE_RETRAINING_MACHINE_ARN": f"arn:aws:states:{REGION}:123456789012:stateMachine:labeling",
    "SAM3EDGE_RETRAINING_PIPELINE": "training",
    "SAM3EDGE_RETRAINING_PHRASES": "red|dent",
}


@dataclass(frozen=True)
class LabelingCloud:
    """Buckets, and what is in them."""

    s3: Any
    examples: str
    learning: str

    def upload(self, name: str, scale: float, thing: str = "thing-1") -> str:
        """An example as a device uploads it; its key. Another scale is another image."""
        example, jpeg = uploaded(scale)
        prefix = f"hard-examples/{thing}/2026/01/02/{name}"
        self.s3.put_object(Bucket=self.examples, Key=f"{prefix}/frame.jpg", Body=jpeg)
        self.s3.put_object(Bucket=self.examples, Key=f"{prefix}/example.json", Body=example)
        return f"{prefix}/example.json"

    def keys(self, prefix: str) -> list[str]:
        """Keys of the bucket of jobs and datasets."""
        listed = self.s3.list_objects_v2(Bucket=self.learning, Prefix=prefix)
        return [one["Key"] for one in listed.get("Contents", ())]


@contextmanager
def labeling_cloud(
    monkeypatch: pytest.MonkeyPatch, work: Path, environment: Mapping[str, str] = DEFAULTS
) -> Iterator[LabelingCloud]:
    """Empty buckets; the handlers of labeling use them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3 = boto3.client("s3")
        settings = handlers.read_settings()
        for bucket in (settings.examples, settings.learning):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        labeling = handlers.CloudLabeling(settings, s3, boto3.client("sagemaker"), work)
        monkeypatch.setattr(handlers, "_labeling", lambda: labeling)
        yield LabelingCloud(s3, settings.examples, settings.learning)
