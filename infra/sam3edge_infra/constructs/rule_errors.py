"""Where a rule of IoT Core says what it could not do."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from constructs import Construct

from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow


def rule_errors(scope: Construct, name: str, naming: Naming, role: iam.Role) -> iot.CfnTopicRule.ActionProperty:
    """The error action of a rule: into the log group ``/sam3edge/<stage>/<name>-rule``.

    Args:
        name: of the rule, within the stage.
        role: the rule's, which may then write the log. What it needs, and that IoT Core looks for streams first:
            https://docs.aws.amazon.com/iot/latest/developerguide/cloudwatch-logs-rule-action.html.
    """
    group = f"/sam3edge/{naming.stage}/{name}-rule"
    log = log_group(scope, f"{name.title()}RuleLog", group)
    allow(
        role,
        Statement(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [naming.arn("logs", f"log-group:{group}:*")],
            "IoT Core names the streams of the group",
        ),
    )
    return iot.CfnTopicRule.ActionProperty(
        cloudwatch_logs=iot.CfnTopicRule.CloudwatchLogsActionProperty(
            log_group_name=log.log_group_name, role_arn=role.role_arn
        )
    )
