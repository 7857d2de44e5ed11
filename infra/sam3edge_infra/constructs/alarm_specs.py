"""What is alarming, by what it is about. Thresholds are the stage's (``stages/delivery.py``, ``Monitoring``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from sam3edge_infra.constructs.alarms import QUIET_IS_AS_BEFORE, QUIET_IS_BAD, AlarmSpec
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.watched import Watched
from sam3edge_infra.stages.delivery import Monitoring
from sam3edge_pipeline.fleet_health.health import NAMESPACE

FIVE_MINUTES = cdk.Duration.minutes(5)
MAX_OVERHEAD_MS = 1000
"""That SageMaker itself takes for a request, where an instance is always there."""
MAX_WAIT_SECONDS = 3600
"""Of a request to an asynchronous endpoint; scaling up from zero takes some minutes of it."""
MAX_REFUSED_PERCENT = 50
"""Of the API's requests, refused as the caller's fault."""

MACHINE_ADVICE: Mapping[str, str] = {
    "rollout": "Read the execution's cause and outcome#<execution> in the records table: it says why a model was "
    "rolled back. To try the same approval again, invoke start with the event and attempt: 2.",
    "labeling": "Open the failed execution in Step Functions, mend what its cause names, and begin again; uploads "
    "that were not labeled stay in the bucket.",
}
"""Name of a state machine, without the stage's prefix, to what to do."""


class Served(Protocol):
    """An endpoint by its names."""

    @property
    def name(self) -> str:
        """Of the endpoint."""

    @property
    def variant(self) -> str:
        """Of its only variant."""

    @property
    def kind(self) -> Literal["instance", "async", "serverless"]:
        """See ``stages.stage``."""


def metric(
    namespace: str, name: str, statistic: str, dimensions: Mapping[str, str], period: cdk.Duration = FIVE_MINUTES
) -> cloudwatch.Metric:
    """A metric."""
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        statistic=statistic,
        dimensions_map=dict(dimensions),
        period=period,
    )


def total(*metrics: cloudwatch.Metric, period: cdk.Duration = FIVE_MINUTES) -> cloudwatch.MathExpression:
    """The sum of metrics, of which each may be silent."""
    named = {f"m{number}": one for number, one in enumerate(metrics)}
    expression = " + ".join(f"FILL({name}, 0)" for name in named)
    label = " + ".join(str(one.metric_name) for one in metrics)
    return cloudwatch.MathExpression(expression=expression, using_metrics=named, period=period, label=label)


def fleet_metric(name: str, stage: str, group: str) -> cloudwatch.Metric:
    """A metric of a thing group, see ``sam3edge_pipeline.fleet_health``."""
    return metric(NAMESPACE, name, "Maximum", {"Stage": stage, "Group": group})


def group_alarms(role: str, group: str, naming: Naming, options: Monitoring) -> tuple[AlarmSpec, ...]:
    """Of the devices of a thing group.

    Args:
        role: of the group, ``canary`` or ``fleet``.
    """
    log = f"their names are in the log group /aws/lambda/{naming('fleet-health')}"

    def of_group(name: str) -> cloudwatch.Metric:
        return fleet_metric(name, naming.stage, group)

    return (
        AlarmSpec(
            f"{role}-silent",
            f"Devices of {group} sent no heartbeat for {options.silent_minutes} minutes, or never did; {log}.",
            "See to power, network and the nucleus of each; a device that is gone for good leaves the thing group. If "
            "all are silent, or this has no data, look for errors of the IoT rule and of that function first.",
            of_group("SilentDevices"),
            0,
            periods=2,
            quiet=QUIET_IS_BAD,
        ),
        AlarmSpec(
            f"{role}-without-model",
            f"Devices of {group} have been waiting for a model for half an hour; {log}.",
            "Look at the errors topic of one for why com.sam3edge.Model refused its bundle, or deploy that component.",
            of_group("DevicesWithoutModel"),
            0,
            periods=6,
        ),
        AlarmSpec(
            f"{role}-drift",
            f"What devices of {group} see is not distributed as in their reference window; {log}.",
            "status.drift of a device says which camera, prompt and metric. Look at the camera; if the scene has "
            "changed for good, label its hard examples and train.",
            of_group("DriftingDevices"),
            0,
        ),
        AlarmSpec(
            f"{role}-outbox-messages",
            f"More than {options.outbox_messages} messages wait on a device of {group}.",
            "Its delivery.last_error in status says why they do not leave; see to its network, or lower Source.MaxFps "
            "if it makes more than its line carries.",
            of_group("OutboxMessages"),
            options.outbox_messages,
            periods=2,
        ),
        AlarmSpec(
            f"{role}-outbox-age",
            f"A message has been waiting for more than {options.outbox_minutes} minutes on a device of {group}.",
            "Its delivery.last_error in status says why: no network, an IoT policy without iot:Publish on its topics, "
            "or a message that IoT Core refuses.",
            of_group("OutboxSeconds"),
            options.outbox_minutes * 60,
            periods=2,
        ),
        AlarmSpec(
            f"{role}-rejected",
            f"A device of {group} could not use more than {options.error_percent:g} % of its frames; {log}.",
            "Messages on its errors topic say which and why; the files are in its quarantine.",
            of_group("RejectedPercent"),
            options.error_percent,
            quiet=QUIET_IS_AS_BEFORE,
        ),
    )


def endpoint_alarms(endpoint: Served, options: Monitoring) -> tuple[AlarmSpec, ...]:
    """Of an endpoint; which metrics there are depends on its kind."""
    variant = {"EndpointName": endpoint.name, "VariantName": endpoint.variant}
    logs = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    alarms = [
        AlarmSpec(
            "endpoint-errors",
            f"More than {options.error_percent:g} % of the requests to {endpoint.name} ended with 5xx.",
            f"Read {logs}. An update that causes this is rolled back by itself; else name the bundle before in the "
            "stage and deploy.",
            metric("AWS/SageMaker", "Invocation5XXErrors", "Average", variant),
            options.error_percent / 100,
            periods=2,
        ),
    ]
    if endpoint.kind != "async":  # where a request may take an hour, and what waits has an alarm of its own
        alarms.append(
            AlarmSpec(
                "endpoint-latency",
                f"One of ten requests to {endpoint.name} took the model more than {options.latency_ms} ms.",
                "Compare prompts and sizes of images with those before; raise max_instances, or take a larger "
                "instance.",
                metric("AWS/SageMaker", "ModelLatency", "p90", variant),
                options.latency_ms * 1000,  # SageMaker says microseconds
                periods=3,
            )
        )
    if endpoint.kind == "instance":  # elsewhere there is no such metric, or cold starts are part of it
        alarms.append(
            AlarmSpec(
                "endpoint-overhead",
                f"SageMaker itself took more than {MAX_OVERHEAD_MS} ms for one of ten requests to {endpoint.name}.",
                "Requests queue before the container, or are large: raise max_instances, send smaller images, or take "
                "an async endpoint.",
                metric("AWS/SageMaker", "OverheadLatency", "p90", variant),
                MAX_OVERHEAD_MS * 1000,
                periods=3,
            )
        )
    if endpoint.kind == "async":
        alarms.append(
            AlarmSpec(
                "endpoint-backlog",
                f"A request to {endpoint.name} has been waiting for more than {MAX_WAIT_SECONDS // 60} minutes.",
                "See whether instances start (the endpoint's events, quotas of the account), or raise max_instances.",
                metric("AWS/SageMaker", "ApproximateAgeOfOldestRequest", "Maximum", {"EndpointName": endpoint.name}),
                MAX_WAIT_SECONDS,
            )
        )
    return tuple(alarms)


def access_log(api: str) -> str:
    """Name of the log group of a REST API's requests."""
    return f"/aws/apigateway/{api}"


def throttled(api: str) -> cloudwatch.Metric:
    """Requests that a REST API answered 429, of which API Gateway has no metric: they are counted in its access log."""
    return metric(NAMESPACE, f"Throttled-{api}", "Sum", {})


def api_alarms(api: str, options: Monitoring) -> tuple[AlarmSpec, ...]:
    """Of a REST API."""
    name = {"ApiName": api}
    return (
        AlarmSpec(
            "api-errors",
            f"More than {options.error_percent:g} % of the requests to {api} ended with 5xx.",
            "Read the log of the API's function, and the endpoint's alarms: a 504 is an endpoint that took too long.",
            metric("AWS/ApiGateway", "5XXError", "Average", name),
            options.error_percent / 100,
            periods=2,
        ),
        AlarmSpec(
            "api-refused",
            f"More than {MAX_REFUSED_PERCENT} % of the requests to {api} were refused (4xx) for a quarter of an hour.",
            f"The access log, {access_log(api)}, says which: 403 is a revoked or unknown key.",
            metric("AWS/ApiGateway", "4XXError", "Average", name),
            MAX_REFUSED_PERCENT / 100,
            periods=3,
        ),
        AlarmSpec(
            "api-throttled",
            f"Requests to {api} were throttled (429) for a quarter of an hour.",
            f"Whose, says {access_log(api)}. Raise rate, burst or quota of the stage's api, or of that key's usage "
            "plan; if Lambda's function is throttled, too, its concurrency.",
            throttled(api),
            0,
            periods=3,
        ),
    )


def machine_alarm(machine: str, naming: Naming) -> AlarmSpec:
    """Of a state machine, by its name."""
    name = machine.removeprefix(naming(""))
    arn = {"StateMachineArn": naming.arn("states", f"stateMachine:{machine}")}
    ends = [
        metric("AWS/States", end, "Sum", arn) for end in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
    ]
    advice = MACHINE_ADVICE.get(name, "Open the execution in Step Functions; its cause says what failed.")
    return AlarmSpec(
        f"executions-{name}", f"An execution of {machine} failed, timed out or was aborted.", advice, total(*ends), 0
    )


def function_alarm(function: str, naming: Naming) -> AlarmSpec:
    """Of a Lambda function, by its name."""
    name = {"FunctionName": function}
    return AlarmSpec(
        f"function-{function.removeprefix(naming(''))}",
        f"{function} raised an error, or was not started because too many functions run.",
        f"Read /aws/lambda/{function}. Throttled: ask for a higher concurrency quota of Lambda.",
        total(metric("AWS/Lambda", "Errors", "Sum", name), metric("AWS/Lambda", "Throttles", "Sum", name)),
        0,
    )


def dead_letters_alarm(queue: str, naming: Naming) -> AlarmSpec:
    """Of a queue that should be empty, by its name."""
    return AlarmSpec(
        f"queue-{queue.removeprefix(naming(''))}",
        f"Messages are in {queue}: they came several times and could not be handled.",
        "Read one, mend what it fails at (the log of the function that reads the queue before it), then start a "
        "redrive in SQS.",
        metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": queue}),
        0,
    )


def resource_alarms(watched: Watched, naming: Naming, options: Monitoring) -> tuple[AlarmSpec, ...]:
    """Of everything that was found in the stacks."""
    return (
        *(one for api in watched.apis for one in api_alarms(api, options)),
        *(machine_alarm(machine, naming) for machine in watched.machines),
        *(dead_letters_alarm(queue, naming) for queue in watched.dead_letters),
        *(function_alarm(function, naming) for function in watched.functions),
    )
