"""A state machine with its log and a role that may call its functions."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account

_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)
_TRACING = (
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
)


def state_machine(
    scope: Construct, name: str, naming: Naming, definition: str, functions: Sequence[str]
) -> sfn.CfnStateMachine:
    """A state machine.

    Args:
        definition: ASL as text, which goes into the template as it is.
        functions: ARNs of the functions that it calls.
    """
    made = name.title().replace("-", "")
    role = iam.Role(
        scope,
        f"{made}MachineRole",
        assumed_by=for_account("states.amazonaws.com", naming),
        description=f"state machine {naming(name)}",
    )
    allow(
        role,
        Statement(["lambda:InvokeFunction"], functions),
        Statement(
            [*_LOG_DELIVERY, *_TRACING],
            ["*"],
            "log delivery and tracing know no resources: Step Functions' documentation asks for all",
        ),
    )
    log = log_group(scope, f"{made}MachineLog", f"/aws/vendedlogs/states/{naming(name)}")
    machine = sfn.CfnStateMachine(
        scope,
        f"{made}Machine",
        state_machine_name=naming(name),
        role_arn=role.role_arn,
        definition_string=definition,
        logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
            destinations=[
                sfn.CfnStateMachine.LogDestinationProperty(
                    cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                        log_group_arn=log.log_group_arn
                    )
                )
            ],
            include_execution_data=False,
            level="ALL",
        ),
        tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=True),
    )
    machine.node.add_dependency(role)  # its policy, too, or the log could not be set up
    return machine
