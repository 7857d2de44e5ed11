"""``make destroy``: before the stacks of a stage with ``data: delete`` go, its buckets are emptied.

    python -m sam3edge_infra.emptying --stage dev

CloudFormation deletes no bucket that holds something. The CDK's own way is a function that stays in the account and may
empty buckets at any time; this runs as whoever destroys the stage, once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import boto3
from botocore.exceptions import ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.delivery import BUCKETS as DELIVERY_BUCKETS
from sam3edge_infra.stacks.storage import Storage, storage_of
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import Stage


def empty(s3: Any, stage: Stage) -> int:
    """Delete every object, version and delete marker in the stage's buckets; how many there were.

    Args:
        s3: boto3's ``s3`` resource.

    Raises:
        SettingsError: the stage keeps its data, or a bucket is not the account's.
    """
    if stage.data == "keep":
        raise SettingsError(f"{stage.name} keeps its data; set data: delete, deploy, and destroy it again")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sam3edge_infra.emptying",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", required=True, help="name of a file in infra/stages")
    try:
        stage = read_stage(parser.parse_args(arguments).stage)
        deleted = empty(boto3.resource("s3", region_name=stage.region), stage)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{deleted} objects deleted\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
