"""Alarms on how much there is of what costs by the piece: what a stolen device, a stolen key or a loop in somebody's
program would be noticed by, days before the bill. Limits are the stage's (``stages/delivery.py``, ``Monitoring``).

Nothing here stops anything: AWS has no limit for messages of one device or calls of one role. An endpoint's instances
and its concurrency are limited by the stage, and requests of one key by its usage plan.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from sam3edge_infra.constructs.alarm_specs import Served, metric, total
from sam3edge_infra.constructs.alarms import AlarmSpec
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.watched import Watched
from sam3edge_infra.stages.delivery import Monitoring

HOUR, DAY = cdk.Duration.hours(1), cdk.Duration.days(1)

ASYNC_COUNTS = ("InvocationsProcessed", "InvocationsProcesssed")
"""Requests of an asynchronous endpoint, which has no ``Invocations``; AWS' documentation has the second spelling."""

FROM_OUTSIDE = ("examples", "inference")
"""Buckets that devices and clients write into."""


def volume_alarms(
    watched: Watched, endpoint: Served | None, naming: Naming, options: Monitoring
) -> tuple[AlarmSpec, ...]:
    """Of messages, requests and stored bytes."""
    matches = [metric("AWS/IoT", "TopicMatch", "Sum", {"RuleName": rule}, HOUR) for rule in watched.topic_rules]
    alarms = []
    if matches:
        alarms.append(
            AlarmSpec(
                "volume-messages",
                f"Rules of IoT Core took more than {options.messages_per_hour} messages of devices within an hour.",
                "A device that floods is known by its topic: subscribe to sam3edge/# in the console, and make the "
                "certificate of that device INACTIVE. If it is the fleet that has grown, raise messages_per_hour.",
                total(*matches, period=HOUR),
                options.messages_per_hour,
            )
        )
    if endpoint is not None:
        variant = {"EndpointName": endpoint.name, "VariantName": endpoint.variant}
        names = ASYNC_COUNTS if endpoint.kind == "async" else ("Invocations",)
        alarms.append(
            AlarmSpec(
                "volume-requests",
                f"{endpoint.name} was asked more than {options.requests_per_hour} times within an hour.",
                "The API's access log says which key, CloudTrail's events of InvokeEndpoint which device. Revoke what "
                "is not yours; else raise requests_per_hour.",
                total(*(metric("AWS/SageMaker", name, "Sum", variant, HOUR) for name in names), period=HOUR),
                options.requests_per_hour,
            )
        )
    return (*alarms, *(_stored(bucket, naming, options.bucket_gb) for bucket in FROM_OUTSIDE))


def _stored(bucket: str, naming: Naming, gigabytes: int) -> AlarmSpec:
    name = naming.bucket(bucket).name
    return AlarmSpec(
        f"volume-{bucket}",
        f"{name} holds more than {gigabytes} GB.",
        "S3 Storage Lens, or a listing, says below which prefix, that is of which device or key. Revoke what is not "
        "yours; else raise bucket_gb, or keep files for fewer days (retention).",
        _standard_bytes(name),
        gigabytes * 1024**3,
    )


def _standard_bytes(bucket: str) -> cloudwatch.Metric:
    """Of what was written lately; S3 reports it once a day."""
    dimensions = {"BucketName": bucket, "StorageType": "StandardStorage"}
    return metric("AWS/S3", "BucketSizeBytes", "Average", dimensions, DAY)
