"""The dashboard of a stage: alarms first, then devices, then what serves and trains."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from sam3edge_infra.constructs.alarm_specs import Served, fleet_metric, metric, throttled
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.watched import Watched

FULL, HALF, THIRD = 24, 12, 8
"""Columns of a widget."""

WHO = (
    "fields @timestamp, Group, SilentDevices, silent.0, silent.1, silent.2, drifting.0, drifting.1, without_model.0",
    "filter SilentDevices > 0 or DriftingDevices > 0 or DevicesWithoutModel > 0",
    "sort @timestamp desc",
    "limit 20",
)
"""Query of the log of ``fleet_health``."""


def dashboard(
    scope: Construct,
    naming: Naming,
    alarms: Sequence[cloudwatch.IAlarm],
    groups: Sequence[str],
    watched: Watched,
    endpoint: Served | None,
    health_log: str,
) -> cloudwatch.Dashboard:
    """The dashboard.

    Args:
        groups: names of the thing groups.
        health_log: name of the log group of ``fleet_health``.
    """
    made = cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=naming("overview"),
        period_override=cloudwatch.PeriodOverride.INHERIT,
        start="-P1D",
    )
    made.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=FULL, height=6))
    made.add_widgets(*_fleet(naming, groups))
    made.add_widgets(
        cloudwatch.LogQueryWidget(
            title="Which devices",
            log_group_names=[health_log],
            query_lines=list(WHO),
            view=cloudwatch.LogQueryVisualizationType.TABLE,
            width=FULL,
        )
    )
    made.add_widgets(
        _graph("Executions that failed", _of_machines(naming, watched.machines, "ExecutionsFailed")),
        _graph("Executions that succeeded", _of_machines(naming, watched.machines, "ExecutionsSucceeded")),
        _graph("Dead letters", [_dead(one) for one in watched.dead_letters]),
    )
    if endpoint is not None:
        made.add_widgets(*_endpoint(endpoint))
    for api in watched.apis:
        name = {"ApiName": api}
        made.add_widgets(
            _graph("API: requests, throttled", [metric("AWS/ApiGateway", "Count", "Sum", name), throttled(api)]),
            _graph(
                "API: share refused (4xx) and failed (5xx)",
                [metric("AWS/ApiGateway", f"{code}Error", "Average", name) for code in ("4XX", "5XX")],
            ),
            _graph("API: latency, ms", [metric("AWS/ApiGateway", "Latency", p, name) for p in ("p50", "p90", "p99")]),
        )
    return made


def _fleet(naming: Naming, groups: Sequence[str]) -> list[cloudwatch.IWidget]:
    def of_groups(*names: str) -> list[cloudwatch.Metric]:
        return [fleet_metric(name, naming.stage, group) for group in groups for name in names]

    return [
        _graph("Devices: all, silent", of_groups("Devices", "SilentDevices")),
        _graph("Devices: drifting, without a model", of_groups("DriftingDevices", "DevicesWithoutModel")),
        _graph("Worst outbox: messages; age, s", of_groups("OutboxMessages"), of_groups("OutboxSeconds")),
    ]


def _endpoint(endpoint: Served) -> list[cloudwatch.IWidget]:
    variant = {"EndpointName": endpoint.name, "VariantName": endpoint.variant}
    errors = [metric("AWS/SageMaker", f"Invocation{code}Errors", "Sum", variant) for code in ("4XX", "5XX")]
    widgets: list[cloudwatch.IWidget] = [
        _graph("Endpoint: errors", errors),
        _graph(
            "Endpoint: latency of the model, µs",
            [metric("AWS/SageMaker", "ModelLatency", p, variant) for p in ("p50", "p90", "p99")],
        ),
    ]
    if endpoint.kind == "async":
        whole = {"EndpointName": endpoint.name}
        waiting = metric("AWS/SageMaker", "ApproximateBacklogSize", "Maximum", whole)
        age = metric("AWS/SageMaker", "ApproximateAgeOfOldestRequest", "Maximum", whole)
        return [*widgets, _graph("Endpoint: backlog; age of the oldest, s", [waiting], [age])]
    overhead = [metric("AWS/SageMaker", "OverheadLatency", p, variant) for p in ("p50", "p90")]
    return [*widgets, _graph("Endpoint: SageMaker's own time, µs", overhead)]


def _of_machines(naming: Naming, machines: Sequence[str], name: str) -> list[cloudwatch.Metric]:
    arns = {one.removeprefix(naming("")): naming.arn("states", f"stateMachine:{one}") for one in machines}
    return [
        metric("AWS/States", name, "Sum", {"StateMachineArn": arn}).with_(label=short) for short, arn in arns.items()
    ]


def _dead(queue: str) -> cloudwatch.Metric:
    return metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": queue})


def _graph(
    title: str, left: Sequence[cloudwatch.IMetric], right: Sequence[cloudwatch.IMetric] = ()
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(left), right=list(right), width=THIRD)
