"""Alarms: each with a description that says what to do, all of them sent to one topic."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from sam3edge_infra.constructs.names import PARTITION, Naming

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
QUIET_IS_FINE = cloudwatch.TreatMissingData.NOT_BREACHING
"""Of what is reported only while something happens: errors, messages, executions."""
QUIET_IS_BAD = cloudwatch.TreatMissingData.BREACHING
"""Of what is reported every few minutes, whatever happens."""
QUIET_IS_AS_BEFORE = cloudwatch.TreatMissingData.IGNORE
"""Of what cannot always be said."""


@dataclass(frozen=True, slots=True)
class AlarmSpec:
    """An alarm.

    Attributes:
        name: alone in the stage.
        what, todo: sentences of its description: what has happened, and what to do about it.
        above: the metric's threshold.
        periods: of the metric, one after the other.
        quiet: what missing data means.
    """

    name: str
    what: str
    todo: str
    metric: cloudwatch.IMetric
    above: float
    periods: int = 1
    quiet: cloudwatch.TreatMissingData = QUIET_IS_FINE

    @property
    def description(self) -> str:
        """As CloudWatch shows and sends it."""
        return f"{self.what} {self.todo}"


def alarm(scope: Construct, spec: AlarmSpec, naming: Naming, topic: sns.ITopic) -> cloudwatch.Alarm:
    """The alarm, which says when it begins and when it is over."""
    made = cloudwatch.Alarm(
        scope,
        f"Alarm-{spec.name}",
        alarm_name=naming(spec.name),
        alarm_description=spec.description,
        metric=spec.metric,
        threshold=spec.above,
        comparison_operator=ABOVE,
        evaluation_periods=spec.periods,
        datapoints_to_alarm=spec.periods,
        treat_missing_data=spec.quiet,
    )
    action = actions.SnsAction(topic)
    made.add_alarm_action(action)
    made.add_ok_action(action)
    return made


@dataclass(frozen=True, slots=True)
class AlarmTopic:
    """Where alarms are sent to, and the key that whoever sends something needs."""

    topic: sns.Topic
    key_arn: str


def alarm_topic(scope: Construct, naming: Naming) -> AlarmTopic:
    """The topic: encrypted by a key of its own, for AWS's own key for SNS does not let CloudWatch in."""
    key = kms.Key(
        scope,
        "AlarmsKey",
        alias=naming("alarms"),
        description="Encrypts alarms on their way to whoever gets them",
        enable_key_rotation=True,
        pending_window=cdk.Duration.days(7),
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    topic = sns.Topic(scope, "Alarms", topic_name=naming("alarms"), master_key=key, enforce_ssl=True)
    senders = {
        "cloudwatch": naming.arn("cloudwatch", f"alarm:{naming('*')}"),
        "budgets": f"arn:{PARTITION}:budgets::{naming.account}:*",
    }
    for service, source in senders.items():
        sender, on_behalf = iam.ServicePrincipal(f"{service}.amazonaws.com"), {"ArnLike": {"aws:SourceArn": source}}
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[sender],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions=on_behalf,
            )
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[sender], actions=["sns:Publish"], resources=[topic.topic_arn], conditions=on_behalf
            )
        )
    return AlarmTopic(topic, key.key_arn)
