"""Buckets and image repositories: everything that outlives a deployment.

| bucket | holds |
|---|---|
| `examples` | `hard-examples/`: what devices upload |
| `learning` | `labeling/` jobs, `datasets/`, `checkpoints/`, `pipeline/` outputs, `bundles/` |
| `artifacts` | components of Greengrass |
| `inference` | `uploads/`, `jobs/`, `answers/`, `async/`: requests and responses, which expire |
| `detections` | what the IoT rules bring to Firehose |
| `logs` | access logs of the others |
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from sam3edge_infra.constructs.bucket import notify_eventbridge, private_bucket
from sam3edge_infra.constructs.images import ImageName
from sam3edge_infra.constructs.names import BucketName, Naming
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stages.retention import Retention

EXAMPLES_PREFIX = "hard-examples"
"""The uploader's default, see components/README.md."""

BUNDLES_PREFIX = ("pipeline/", "bundles/")
"""Of the bucket ``learning``: where bundles are that the pipeline has made, or somebody has put."""

INFERENCE_DAYS = {"uploads/": 7, "jobs/": 7, "answers/": 7, "async/": 7}
TIERED_DAYS = 30
"""Of what is kept for long and seldom read."""

UNTAGGED_DAYS = 30
"""Of images that no deployment can name any more."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What other stacks get."""

    examples: BucketName
    learning: BucketName
    artifacts: BucketName
    inference: BucketName
    detections: BucketName
    logs: BucketName


def storage_of(naming: Naming) -> Storage:
    """The buckets of a stage."""
    return Storage(**{one.name: naming.bucket(one.name) for one in fields(Storage)})


class StorageStack(StageStack):
    """Buckets and repositories."""

    def __init__(self, scope: Construct, naming: Naming, options: Retention) -> None:
        super().__init__(scope, "storage", naming, "sam3edge: buckets and image repositories")
        self.storage = storage_of(naming)
        logs = private_bucket(self, "logs", naming, None, expiring={"": options.logs})
        kept = {f"{EXAMPLES_PREFIX}/": options.examples}
        examples = private_bucket(self, "examples", naming, logs, expiring=kept, tiered_days=TIERED_DAYS)
        notify_eventbridge(examples)
        private_bucket(self, "learning", naming, logs, tiered_days=TIERED_DAYS)
        private_bucket(self, "artifacts", naming, logs, tiered_days=TIERED_DAYS)
        # clients may send an upload as often as they like: without versions only the last is kept
        private_bucket(self, "inference", naming, logs, expiring=INFERENCE_DAYS, versions_days=None)
        detected = {"": options.detections} if options.detections is not None else {}
        private_bucket(self, "detections", naming, logs, expiring=detected, tiered_days=TIERED_DAYS)
        for name in get_args(ImageName):
            self._repository(name, naming)
        for one in fields(Storage):
            cdk.CfnOutput(self, f"{one.name.title()}Bucket", value=getattr(self.storage, one.name).name)

    def _repository(self, name: str, naming: Naming) -> None:
        ecr.Repository(
            self,
            f"Repository-{name}",
            repository_name=f"sam3edge-{naming.stage}/{name}",
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            encryption=ecr.RepositoryEncryption.AES_256,
            empty_on_delete=naming.removal == cdk.RemovalPolicy.DESTROY,
            removal_policy=naming.removal,
            # an image with a tag may be that of a function, which fails without it
            lifecycle_rules=[
                ecr.LifecycleRule(
                    description="images without a tag",
                    tag_status=ecr.TagStatus.UNTAGGED,
                    max_image_age=cdk.Duration.days(UNTAGGED_DAYS),
                )
            ],
        )
