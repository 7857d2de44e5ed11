"""Log groups, which have an end and go with their stack."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct


def log_group(
    scope: Construct, id_: str, name: str, retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS
) -> logs.LogGroup:
    """A log group.

    Args:
        name: in CloudWatch; AWS expects some below a prefix of the service.
    """
    return logs.LogGroup(scope, id_, log_group_name=name, retention=retention, removal_policy=cdk.RemovalPolicy.DESTROY)
