"""A DynamoDB table: paid by the request, restorable, with a time to live."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from sam3edge_infra.constructs.names import Naming


def on_demand_table(
    scope: Construct, name: str, naming: Naming, key: str, *, sort: str | None = None, expires: str | None = None
) -> dynamodb.Table:
    """A table.

    Args:
        key, sort: names of its partition and sort key, both strings.
        expires: attribute that says when an item goes, seconds since 1970.
    """
    return dynamodb.Table(
        scope,
        name.title().replace("-", ""),
        table_name=naming(name),
        partition_key=dynamodb.Attribute(name=key, type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name=sort, type=dynamodb.AttributeType.STRING) if sort is not None else None,
        time_to_live_attribute=expires,
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.AWS_MANAGED,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=naming.removal == cdk.RemovalPolicy.RETAIN,
        removal_policy=naming.removal,
    )
