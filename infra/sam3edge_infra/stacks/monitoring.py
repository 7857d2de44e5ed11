"""Alarms, the topic that they are sent to, the dashboard, and the heartbeats of devices.

    IoT Core (status) -> rule -> table -> function, every five minutes -> metrics of the thing groups

What is alarming is in ``constructs/alarm_specs.py`` and ``constructs/volume_alarms.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from sam3edge_infra.constructs.alarm_specs import (
    FIVE_MINUTES,
    Served,
    access_log,
    endpoint_alarms,
    group_alarms,
    resource_alarms,
    throttled,
)
from sam3edge_infra.constructs.alarms import AlarmTopic, alarm, alarm_topic
from sam3edge_infra.constructs.budget import monthly_budget
from sam3edge_infra.constructs.dashboard import dashboard
from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Images
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account
from sam3edge_infra.constructs.rule_errors import rule_errors
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.table import on_demand_table
from sam3edge_infra.constructs.volume_alarms import volume_alarms
from sam3edge_infra.constructs.watched import Watched
from sam3edge_infra.stages.delivery import Monitoring
from sam3edge_infra.stages.stage import Fleet
from sam3edge_pipeline.fleet_health.heartbeats import rule_sql

HEARTBEATS = "heartbeats"
HEALTH = "fleet-health"


@dataclass(frozen=True, slots=True)
class Alarms:
    """What other stacks get.

    Attributes:
        topic_arn: what alarms are sent to.
        names: of all alarms.
    """

    topic_arn: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that is sent to the topic of alarms.

    Attributes:
        name: of its rule.
        execution: JSONPath of what failed, which stands for ``<execution>`` in the text.
    """

    name: str
    execution: str
    text: str


TRAINING_FAILED = Failure(
    "training-failed",
    "$.detail.pipelineExecutionArn",
    "Training failed: <execution>. Open it in SageMaker Studio: the failed step says why. A gate that refused the "
    "model is a failure, too: read its evaluation report, label more examples, and train again.",
)
DELIVERY_FAILED = Failure(
    "delivery-failed",
    "$.detail.execution-id",
    "Delivery failed: execution <execution>. Open it in CodePipeline: the failed action's log says why. What was "
    "deployed before is unchanged, or rolled back by CloudFormation; push a repair, or retry the stage.",
)


class MonitoringStack(StageStack):
    """Monitoring of a stage.

    Args:
        watched: what is in the stacks before this one.
        endpoint: None where there is none.
    """

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        images: Images,
        watched: Watched,
        endpoint: Served | None,
        fleet: Fleet,
        options: Monitoring,
    ) -> None:
        super().__init__(scope, "monitoring", naming, "sam3edge: alarms, dashboard, heartbeats of devices")
        topic = alarm_topic(self, naming)
        if options.email is not None:
            topic.topic.add_subscription(subscriptions.EmailSubscription(options.email))
        self._heartbeats(naming)
        self._health(naming, images, fleet, options)
        self._failures(naming, watched, topic)
        for api in watched.apis:
            self._throttled(api)
        everything = replace(watched, functions=(*watched.functions, naming(HEALTH)))
        specs = (
            *group_alarms("canary", fleet.canary_group, naming, options),
            *group_alarms("fleet", fleet.fleet_group, naming, options),
            *(endpoint_alarms(endpoint, options) if endpoint is not None else ()),
            *resource_alarms(everything, naming, options),
            *volume_alarms(everything, endpoint, naming, options),
        )
        if options.budget_usd is not None:
            monthly_budget(self, options.budget_usd, topic)
        made = [alarm(self, spec, naming, topic.topic) for spec in specs]
        groups = (fleet.canary_group, fleet.fleet_group)
        dashboard(self, naming, made, groups, everything, endpoint, f"/aws/lambda/{naming(HEALTH)}")
        self.alarms = Alarms(naming.arn("sns", naming("alarms")), tuple(naming(spec.name) for spec in specs))
        cdk.CfnOutput(self, "AlarmsTopic", value=self.alarms.topic_arn)
        cdk.CfnOutput(
            self,
            "DashboardAddress",
            value=f"https://{naming.region}.console.aws.amazon.com/cloudwatch/home#dashboards:name={naming('overview')}",
        )

    def _heartbeats(self, naming: Naming) -> None:
        """The table of last heartbeats, and the rule that fills it."""
        table = on_demand_table(self, HEARTBEATS, naming, "device", sort="item", expires="expires")
        name = naming(HEARTBEATS).replace("-", "_")  # names of IoT rules know no dashes
        source = {
            "StringEquals": {"aws:SourceAccount": naming.account},
            "ArnEquals": {"aws:SourceArn": naming.arn("iot", f"rule/{name}")},
        }
        role = iam.Role(
            self,
            "HeartbeatsRole",
            assumed_by=iam.ServicePrincipal("iot.amazonaws.com").with_conditions(source),
            description="The rule that keeps the last heartbeat of each device",
        )
        allow(role, Statement(["dynamodb:PutItem"], [naming.table_arn(HEARTBEATS)]))
        rule = iot.CfnTopicRule(
            self,
            "HeartbeatsRule",
            rule_name=name,
            topic_rule_payload=iot.CfnTopicRule.TopicRulePayloadProperty(
                description="The last heartbeat of each device",
                aws_iot_sql_version="2016-03-23",
                sql=rule_sql(),
                actions=[
                    iot.CfnTopicRule.ActionProperty(
                        dynamo_d_bv2=iot.CfnTopicRule.DynamoDBv2ActionProperty(
                            put_item=iot.CfnTopicRule.PutItemInputProperty(table_name=naming(HEARTBEATS)),
                            role_arn=role.role_arn,
                        )
                    )
                ],
                error_action=rule_errors(self, HEARTBEATS, naming, role),
            ),
        )
        rule.node.add_dependency(table, role)

    def _health(self, naming: Naming, images: Images, fleet: Fleet, options: Monitoring) -> None:
        """The function that looks at the table."""
        spec = FunctionSpec(
            HEALTH,
            "sam3edge_pipeline.fleet_health.handlers.look",
            "Heartbeats of devices to metrics of thing groups",
            {
                "SAM3EDGE_FLEET_STAGE": naming.stage,
                "SAM3EDGE_FLEET_TABLE": naming(HEARTBEATS),
                "SAM3EDGE_FLEET_CANARY_GROUP": fleet.canary_group,
                "SAM3EDGE_FLEET_FLEET_GROUP": fleet.fleet_group,
                "SAM3EDGE_FLEET_SILENT_MINUTES": str(options.silent_minutes),
            },
            seconds=120,
        )
        function = image_function(self, spec, naming, images.image(self, "functions"))
        groups = [naming.arn("iot", f"thinggroup/{name}") for name in (fleet.canary_group, fleet.fleet_group)]
        allow(
            function.role,
            Statement(["iot:ListThingsInThingGroup"], groups),
            Statement(["dynamodb:Scan", "dynamodb:BatchWriteItem"], [naming.table_arn(HEARTBEATS)]),
        )
        events.Rule(
            self,
            "HealthSchedule",
            rule_name=naming(HEALTH),
            description="Looks at the heartbeats of devices",
            schedule=events.Schedule.rate(FIVE_MINUTES),
            targets=[targets.LambdaFunction(function, retry_attempts=0)],  # the next one is five minutes away
        )

    def _failures(self, naming: Naming, watched: Watched, topic: AlarmTopic) -> None:
        """What fails with an event and without a metric: training, and the delivery of this application."""
        role = iam.Role(
            self,
            "FailuresRole",
            assumed_by=for_account("events.amazonaws.com", naming),
            description="Rules that send failures to the topic of alarms",
        )
        allow(
            role,
            Statement(["sns:Publish"], [naming.arn("sns", naming("alarms"))]),
            Statement(["kms:Decrypt", "kms:GenerateDataKey"], [topic.key_arn]),
        )
        pipelines = [naming.arn("sagemaker", f"pipeline/{name}") for name in watched.pipelines]
        failures = [(DELIVERY_FAILED, failed_delivery(naming("delivery")))]
        if pipelines:
            failures.append((TRAINING_FAILED, failed_training(pipelines)))
        for failure, pattern in failures:
            target = events.CfnRule.TargetProperty(
                id="alarms",
                arn=topic.topic.topic_arn,
                role_arn=role.role_arn,
                input_transformer=events.CfnRule.InputTransformerProperty(
                    input_paths_map={"execution": failure.execution}, input_template=f'"{failure.text}"'
                ),
            )
            events.CfnRule(
                self,
                f"Failure-{failure.name}",
                name=naming(failure.name),
                description="A failure that is sent to the topic of alarms",
                event_pattern=pattern,
                state="ENABLED",
                targets=[target],
            )

    def _throttled(self, api: str) -> None:
        """Counts what an API has throttled."""
        metric = throttled(api)
        logs.MetricFilter(
            self,
            f"Throttled-{api}",
            log_group=logs.LogGroup.from_log_group_name(self, f"AccessLog-{api}", access_log(api)),
            metric_namespace=metric.namespace,
            metric_name=metric.metric_name,
            filter_pattern=logs.FilterPattern.string_value("$.status", "=", "429"),
            metric_value="1",
        )


def failed_delivery(pipeline: str) -> dict[str, Any]:
    """Executions of a pipeline of CodePipeline that failed."""
    return {
        "source": ["aws.codepipeline"],
        "detail-type": ["CodePipeline Pipeline Execution State Change"],
        "detail": {"pipeline": [pipeline], "state": ["FAILED"]},
    }


def failed_training(pipeline_arns: Sequence[str]) -> dict[str, Any]:
    """Executions of pipelines that failed."""
    return {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Building Pipeline Execution Status Change"],
        "detail": {"currentPipelineExecutionStatus": ["Failed"], "pipelineArn": list(pipeline_arns)},
    }
