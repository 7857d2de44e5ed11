"""How many instances an endpoint has, and the alarms that roll an update back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.stages.stage import AsyncEndpoint, InstanceEndpoint

VARIANT = "main"
"""The one variant of the endpoint."""

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
OUT_SECONDS, IN_SECONDS = 60, 600


@dataclass(frozen=True, slots=True)
class Limit:
    """What rolls an update back.

    Attributes:
        name: of the alarm.
        statistic: ``Sum``, or a percentile such as ``p90``.
        threshold: reached in each of ``periods`` periods of ``seconds`` in a row, it rolls back.
    """

    name: str
    metric: str
    statistic: str
    threshold: float
    seconds: int
    periods: int


LIMITS: Mapping[Literal["instance", "async"], tuple[Limit, ...]] = {
    "instance": (
        Limit("failing", "Invocation5XXErrors", "Sum", 5, seconds=60, periods=2),
        # microseconds; the endpoint's own deadline is 55 s
        Limit("slow", "ModelLatency", "p90", 20_000_000, seconds=60, periods=2),
    ),
    # an image of a gigabyte may take an hour: how long a request takes says nothing, and few end in a minute
    "async": (Limit("failing", "Invocation5XXErrors", "Sum", 5, seconds=300, periods=1),),
}
"""By the endpoint's kind."""


class Guard:
    """Alarms that an update is watched by; they go by the endpoint's name, so that they are there before it is."""

    def __init__(self, scope: Construct, naming: Naming, endpoint: str, kind: Literal["instance", "async"]) -> None:
        self.alarms = tuple(_alarm(scope, naming, endpoint, limit) for limit in LIMITS[kind])
        self.alarm_names = tuple(naming(f"endpoint-{limit.name}") for limit in LIMITS[kind])


def _alarm(scope: Construct, naming: Naming, endpoint: str, limit: Limit) -> cloudwatch.CfnAlarm:
    percentile = limit.statistic.startswith("p")
    return cloudwatch.CfnAlarm(
        scope,
        f"Alarm-{limit.name}",
        alarm_name=naming(f"endpoint-{limit.name}"),
        alarm_description=f"{limit.metric} of {endpoint}: an update in progress is rolled back",
        namespace="AWS/SageMaker",
        metric_name=limit.metric,
        dimensions=_dimensions(EndpointName=endpoint, VariantName=VARIANT),
        statistic=None if percentile else limit.statistic,
        extended_statistic=limit.statistic if percentile else None,
        period=limit.seconds,
        evaluation_periods=limit.periods,
        threshold=limit.threshold,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="notBreaching",
    )


def _dimensions(**values: str) -> list[cloudwatch.CfnAlarm.DimensionProperty]:
    return [cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in values.items()]


def _target(
    scope: Construct, endpoint: str, least: int, most: int, after: sagemaker.CfnEndpoint
) -> scaling.CfnScalableTarget:
    target = scaling.CfnScalableTarget(
        scope,
        "Instances",
        min_capacity=least,
        max_capacity=most,
        resource_id=f"endpoint/{endpoint}/variant/{VARIANT}",
        scalable_dimension=DIMENSION,
        service_namespace="sagemaker",
    )
    target.add_resource_dependency(after)
    return target


def scale_instances(scope: Construct, endpoint: str, options: InstanceEndpoint, after: sagemaker.CfnEndpoint) -> None:
    """As many instances as requests ask for."""
    target = _target(scope, endpoint, options.min_instances, options.max_instances, after)
    policy = scaling.CfnScalingPolicy
    policy(
        scope,
        "ByRequests",
        policy_name=f"{endpoint}-requests",
        policy_type="TargetTrackingScaling",
        scaling_target_id=target.ref,
        target_tracking_scaling_policy_configuration=policy.TargetTrackingScalingPolicyConfigurationProperty(
            target_value=options.requests_per_instance,
            predefined_metric_specification=policy.PredefinedMetricSpecificationProperty(
                predefined_metric_type="SageMakerVariantInvocationsPerInstance"
            ),
            scale_out_cooldown=OUT_SECONDS,
            scale_in_cooldown=IN_SECONDS,
        ),
    )


def scale_async(
    scope: Construct, naming: Naming, endpoint: str, options: AsyncEndpoint, after: sagemaker.CfnEndpoint
) -> None:
    """As many instances as requests wait for; none when none do. From none to one goes by an alarm of its own, since
    a backlog for each instance cannot be told without instances."""
    target = _target(scope, endpoint, options.min_instances, options.max_instances, after)
    policy = scaling.CfnScalingPolicy
    policy(
        scope,
        "ByBacklog",
        policy_name=f"{endpoint}-backlog",
        policy_type="TargetTrackingScaling",
        scaling_target_id=target.ref,
        target_tracking_scaling_policy_configuration=policy.TargetTrackingScalingPolicyConfigurationProperty(
            target_value=options.backlog_per_instance,
            customized_metric_specification=policy.CustomizedMetricSpecificationProperty(
                namespace="AWS/SageMaker",
                metric_name="ApproximateBacklogSizePerInstance",
                dimensions=[policy.MetricDimensionProperty(name="EndpointName", value=endpoint)],
                statistic="Average",
            ),
            scale_out_cooldown=OUT_SECONDS,
            scale_in_cooldown=IN_SECONDS,
        ),
    )
    if options.min_instances:
        return
    first = policy(
        scope,
        "First",
        policy_name=f"{endpoint}-first",
        policy_type="StepScaling",
        scaling_target_id=target.ref,
        step_scaling_policy_configuration=policy.StepScalingPolicyConfigurationProperty(
            adjustment_type="ChangeInCapacity",
            cooldown=OUT_SECONDS,
            metric_aggregation_type="Average",
            step_adjustments=[policy.StepAdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=1)],
        ),
    )
    cloudwatch.CfnAlarm(
        scope,
        "WaitingWithoutInstances",
        alarm_name=naming("endpoint-waiting"),
        alarm_description=f"requests wait and {endpoint} has no instance: it gets one",
        namespace="AWS/SageMaker",
        metric_name="HasBacklogWithoutCapacity",
        dimensions=_dimensions(EndpointName=endpoint),
        statistic="Average",
        period=60,
        evaluation_periods=1,
        threshold=1,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="missing",
        alarm_actions=[first.ref],
    )
