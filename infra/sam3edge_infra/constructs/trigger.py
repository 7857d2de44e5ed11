"""EventBridge calls a function: what it cannot deliver goes into a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.names import Naming

RETRY_HOURS = 24


def trigger(
    scope: Construct,
    name: str,
    naming: Naming,
    function: lambda_.IFunction,
    undelivered: sqs.Queue,
    *,
    pattern: Mapping[str, Any] | None = None,
    schedule: str | None = None,
    told: Mapping[str, int] | None = None,
) -> events.CfnRule:
    """A rule that calls a function.

    Args:
        pattern: of events, or else
        schedule: ``rate(...)`` or ``cron(...)``.
        told: numbers that the function gets by name, beside the event's ``time``; None for the event itself.
        undelivered: gets events that the function did not take for a day.
    """
    made = name.title().replace("-", "")
    rule = events.CfnRule(
        scope,
        made,
        name=naming(name),
        event_pattern=dict(pattern) if pattern is not None else None,
        schedule_expression=schedule,
        state="ENABLED",
        targets=[
            events.CfnRule.TargetProperty(
                id="function",
                arn=function.function_arn,
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
                input_transformer=_transformer(told) if told is not None else None,
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=RETRY_HOURS * 3600, maximum_retry_attempts=24
                ),
            )
        ],
    )
    source = naming.arn("events", f"rule/{naming(name)}")
    lambda_.CfnPermission(
        scope,
        f"{made}Permission",
        action="lambda:InvokeFunction",
        function_name=function.function_arn,
        principal="events.amazonaws.com",
        source_arn=source,
    )
    undelivered.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[undelivered.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": source}},
        )
    )
    return rule


def _transformer(told: Mapping[str, int]) -> events.CfnRule.InputTransformerProperty:
    members = ['"time": <time>', *(f'"{name}": {value}' for name, value in told.items())]
    return events.CfnRule.InputTransformerProperty(
        input_paths_map={"time": "$.time"}, input_template="{" + ", ".join(members) + "}"
    )


def undelivered_queue(scope: Construct, name: str, naming: Naming) -> sqs.Queue:
    """A queue for what rules could not deliver; somebody looks at it, nothing reads it."""
    queue = sqs.Queue(
        scope,
        f"{name.title().replace('-', '')}Undelivered",
        queue_name=naming(f"{name}-undelivered"),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    acknowledge(queue, {"AwsSolutions-SQS3": "it is a queue of dead letters: those of EventBridge's rules"})
    return queue
