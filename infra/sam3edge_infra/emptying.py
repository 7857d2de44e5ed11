"""What a stage with ``data: delete`` holds, deleted before its stacks are: objects in buckets, and models.

CloudFormation deletes no bucket and no group of models that holds something. The CDK's own way is a function that stays
in the account and may empty buckets at any time; this runs as whoever destroys the stage, once (``destroying.py``).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from botocore.exceptions import ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.delivery import BUCKETS as DELIVERY_BUCKETS
from sam3edge_infra.stacks.registry import registry_of
from sam3edge_infra.stacks.storage import Storage, storage_of
from sam3edge_infra.stages.stage import Stage


def empty(s3: Any, stage: Stage) -> int:
    """Delete every object, version and delete marker in the stage's buckets; how many there were.

    Args:
        s3: boto3's ``s3`` resource.

    Raises:
        SettingsError: the stage keeps its data, or a bucket is not the account's.
    """
    stage.check_deletes_data()
    naming = naming_of(stage)
    storage = storage_of(naming)
    # logs last: emptying the others is logged
    names = sorted((one.name for one in fields(Storage)), key=lambda name: name == "logs")
    buckets = [getattr(storage, name) for name in names]
    if stage.delivery is not None:
        buckets += [naming.bucket(name) for name in DELIVERY_BUCKETS]
    deleted = 0
    for one in buckets:
        bucket = s3.Bucket(one.name)
        try:
            s3.meta.client.head_bucket(Bucket=bucket.name, ExpectedBucketOwner=stage.account)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                continue
            raise SettingsError(
                f"expected {bucket.name} to be a bucket of {stage.account}, got {error}; nothing was deleted in it"
            ) from error
        deleted += sum(len(page.get("Deleted", ())) for page in bucket.object_versions.delete())
    return deleted


def delete_models(sagemaker: Any, stage: Stage) -> int:
    """Delete every model package of the stage's group; how many there were.

    Args:
        sagemaker: boto3's client.

    Raises:
        SettingsError: the stage keeps its data.
    """
    stage.check_deletes_data()
    group = registry_of(naming_of(stage)).group_name
    groups = sagemaker.get_paginator("list_model_package_groups").paginate(NameContains=group)
    if not any(
        one["ModelPackageGroupName"] == group for page in groups for one in page["ModelPackageGroupSummaryList"]
    ):
        return 0  # its stack is gone, or was never there
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    packages = [one["ModelPackageArn"] for page in pages for one in page["ModelPackageSummaryList"]]
    for arn in packages:
        sagemaker.delete_model_package(ModelPackageName=arn)
    return len(packages)
