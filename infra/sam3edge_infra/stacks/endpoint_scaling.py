"""How many instances an endpoint has, and the alarms that turn an update back."""

from __future__ import annotations

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
FAILED_REQUESTS = 5
"""Within a minute, of two in a row, that turn an update back."""

SLOW_MICROSECONDS = 20_000_000
"""Of the model, 90 of 100 requests, that turn an update back; the endpoint's own deadline is 55 s."""


class Guard:
    """Alarms that an update is watched by; they go by the endpoint's name, so that they are there before it is."""

    def __init__(self, scope: Construct, naming: Naming, endpoint: str) -> None:
        self.alarms = (
            _alarm(scope, naming, endpoint, "failing", "Invocation5XXErrors", FAILED_REQUESTS, statistic="Sum"),
            _alarm(scope, naming, endpoint, "slow", "ModelLatency", SLOW_MICROSECONDS, percentile="p90"),
        )
        self.alarm_names = (naming("endpoint-failing"), naming("endpoint-slow"))


def _alarm(
    scope: Construct,
    naming: Naming,
    endpoint: str,
    name: str,
    metric: str,
    threshold: float,
    *,
    statistic: str | None = None,
    percentile: str | None = None,
) -> cloudwatch.CfnAlarm:
    return cloudwatch.CfnAlarm(
        scope,
        f"Alarm-{name}",
        alarm_name=naming(f"endpoint-{name}"),
        alarm_description=f"{metric} of {endpoint}: an update that is going on is turned back",
        namespace="AWS/SageMaker",
        metric_name=metric,
        dimensions=_dimensions(EndpointName=endpoint, VariantName=VARIANT),
        statistic=statistic,
        extended_statistic=percentile,
        period=60,
        evaluation_periods=2,
        threshold=threshold,
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
