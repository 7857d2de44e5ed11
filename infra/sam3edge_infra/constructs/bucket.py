"""A bucket: private, encrypted, reached by TLS only, its requests logged."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.names import Naming

VERSIONS_DAYS = 30
UNFINISHED_DAYS = 7
"""After which parts of uploads that were never completed go."""


def private_bucket(
    scope: Construct,
    name: str,
    naming: Naming,
    logs: s3.IBucket | None,
    *,
    expiring: Mapping[str, int] | None = None,
    versions_days: int | None = VERSIONS_DAYS,
    tiered_days: int | None = None,
    cors: s3.CorsRule | None = None,
) -> s3.Bucket:
    """A bucket.

    Args:
        logs: where its requests are logged; None for the bucket of the logs itself.
        expiring: prefix to days after which what is below it goes.
        versions_days: that an object is kept after it was replaced or deleted; None for a bucket without versions.
        tiered_days: after which S3 itself puts an object where it costs less, by how often it is read, and can be
            read at once nevertheless; None for never, which is right for what is small or goes soon.
        cors: who may send to it from pages in browsers.
    """
    rules = [
        s3.LifecycleRule(id=f"expire-{prefix.strip('/') or 'all'}", prefix=prefix, expiration=cdk.Duration.days(days))
        for prefix, days in (expiring or {}).items()
    ]
    unfinished = s3.LifecycleRule(
        id="unfinished-uploads",
        abort_incomplete_multipart_upload_after=cdk.Duration.days(UNFINISHED_DAYS),
        noncurrent_version_expiration=cdk.Duration.days(versions_days) if versions_days is not None else None,
        transitions=[
            s3.Transition(
                storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=cdk.Duration.days(tiered_days)
            )
        ]
        if tiered_days is not None
        else None,
    )
    bucket = s3.Bucket(
        scope,
        name.title().replace("-", ""),
        bucket_name=naming.bucket(name).name,
        encryption=s3.BucketEncryption.S3_MANAGED,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=versions_days is not None,
        lifecycle_rules=[*rules, unfinished],
        removal_policy=naming.removal,
        server_access_logs_bucket=logs,
        server_access_logs_prefix=f"{name}/" if logs is not None else None,
        cors=[cors] if cors is not None else None,
    )
    if logs is None:
        acknowledge(
            bucket, {"AwsSolutions-S1": "the bucket of access logs: logging its own requests would never come to rest"}
        )
    return bucket


def notify_eventbridge(bucket: s3.Bucket) -> None:
    """Send what happens in a bucket to EventBridge: by the property that S3 has for it, where CDK would make a
    function that may set the notifications of every bucket."""
    resource = bucket.node.default_child
    resource.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)
