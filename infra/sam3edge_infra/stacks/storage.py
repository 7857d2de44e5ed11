"""Buckets and image repositories: everything that outlives a deployment.

| bucket | holds |
|---|---|
| `examples` | `hard-examples/`: what devices upload |
| `learning` | `labeling/` jobs, `datasets/`, `checkpoints/`, `pipeline/` outputs, `bundles/` |
| `artifacts` | components of Greengrass |
| `inference` | `uploads/`, `jobs/`, `answers/`, `async/`, `fallback/`: requests and responses, which expire |
| `detections` | what the IoT rules bring to Firehose |
| `logs` | access logs of the others |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_s3 as s3
from constructs import Construct

from sam3edge_infra.constructs.bucket import notify_eventbridge, private_bucket
from sam3edge_infra.constructs.images import ImageName
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.stack import StageStack

EXAMPLES_PREFIX = "hard-examples"
"""The uploader's default, see components/README.md."""

INFERENCE_DAYS = {"uploads/": 7, "jobs/": 7, "answers/": 7, "async/": 7, "fallback/": 7}
EXAMPLE_DAYS = 180
LOG_DAYS = 180


@dataclass(frozen=True, slots=True)
class Storage:
    """What other stacks get.

    Attributes:
        repositories: of images, by name, for who pushes to them.
    """

    examples: s3.IBucket
    learning: s3.IBucket
    artifacts: s3.IBucket
    inference: s3.IBucket
    detections: s3.IBucket
    logs: s3.IBucket
    repositories: Mapping[str, ecr.IRepository]


class StorageStack(StageStack):
    """Buckets and repositories."""

    def __init__(self, scope: Construct, naming: Naming) -> None:
        super().__init__(scope, "storage", naming, "sam3edge: buckets and image repositories")
        logs = private_bucket(self, "logs", naming, None, expiring={"": LOG_DAYS})
        examples = private_bucket(
            self, "examples", naming, logs, expiring={f"{EXAMPLES_PREFIX}/": EXAMPLE_DAYS}
        )
        notify_eventbridge(examples)
        repositories = {name: self._repository(name, naming) for name in get_args(ImageName)}
        self.storage = Storage(
            examples=examples,
            learning=private_bucket(self, "learning", naming, logs),
            artifacts=private_bucket(self, "artifacts", naming, logs),
            inference=private_bucket(self, "inference", naming, logs, expiring=INFERENCE_DAYS),
            detections=private_bucket(self, "detections", naming, logs),
            logs=logs,
            repositories=repositories,
        )
        for name in ("examples", "learning", "artifacts", "inference", "detections"):
            cdk.CfnOutput(self, f"{name.title()}Bucket", value=getattr(self.storage, name).bucket_name)

    def _repository(self, name: str, naming: Naming) -> ecr.Repository:
        return ecr.Repository(
            self,
            f"Repository-{name}",
            repository_name=f"sam3edge-{naming.stage}/{name}",
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.AES_256,
            empty_on_delete=naming.removal == cdk.RemovalPolicy.DESTROY,
            removal_policy=naming.removal,
            lifecycle_rules=[ecr.LifecycleRule(description="the last 20 images", max_image_count=20)],
        )
