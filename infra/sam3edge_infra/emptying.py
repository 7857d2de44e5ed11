"""The buckets of a stage with ``data: delete`` are emptied before its stacks go, by ``destroy.py``.

CloudFormation deletes no bucket that holds something. The CDK's own way is a function that stays in the account and may
empty buckets at any time; this runs as whoever destroys the stage, once.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from botocore.exceptions import ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.checks import expect_deletable
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.delivery import BUCKETS as DELIVERY_BUCKETS
from sam3edge_infra.stacks.storage import Storage, storage_of
from sam3edge_infra.stages.stage import Stage


def empty(s3: Any, stage: Stage) -> int:
    """Delete every object, version and delete marker in the stage's buckets; how many there were.

    Args:
        s3: boto3's ``s3`` resource.

    Raises:
        SettingsError: the stage keeps its data, or a bucket is not the account's.
    """
    expect_deletable(stage)
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
