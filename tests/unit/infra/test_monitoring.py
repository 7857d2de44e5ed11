"""Alarms, the topic they are sent to, the dashboard, and what becomes of heartbeats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from cdk_nag import AwsSolutionsChecks
from moto import mock_aws
from moto.events.models import EventPattern

from sam3edge_infra.app import FLAGS
from sam3edge_infra.constructs.alarm_specs import endpoint_alarms
from sam3edge_infra.constructs.images import PulledImages
from sam3edge_infra.constructs.names import Naming, naming_of
from sam3edge_infra.constructs.volume_alarms import volume_alarms
from sam3edge_infra.constructs.watched import Watched, watched_in
from sam3edge_infra.costs.estimate import read_usage
from sam3edge_infra.stacks.monitoring import MonitoringStack
from sam3edge_infra.stages.delivery import Monitoring
from sam3edge_infra.stages.files import read_stage
from sam3edge_pipeline.fleet_health.handlers import Fleet, FleetHealthSettings
from sam3edge_pipeline.fleet_health.health import NAMESPACE, UNITS
from sam3edge_pipeline.fleet_health.heartbeats import STATUS, rule_sql
from support.iam import function_policies
from support.infra_templates import STAGES, Templates
from support.recorded_calls import Recorder, readable, renamed

Resources = dict[str, dict[str, Any]]

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="the CDK needs Node.js"),
    pytest.mark.timeout(900),  # of synthesis, on a machine that does other things
    pytest.mark.long,
]

STAGE = read_stage("dev")
NAMING = naming_of(STAGE)
OPTIONS = Monitoring(email="yard@example.org", latency_ms=2500, error_percent=4)
WATCHED = Watched(
    dead_letters=("sam3edge-dev-observations-dead",),
    functions=("sam3edge-dev-rollout-start",),
    machines=("sam3edge-dev-rollout", "sam3edge-dev-labeling"),
    apis=("sam3edge-dev-api",),
    pipelines=("sam3edge-dev-training",),
    topic_rules=("sam3edge_dev_detections", "sam3edge_dev_observe_status"),
)


@dataclass(frozen=True)
class Served:
    kind: Literal["instance", "async", "serverless"]
    name: str = "sam3edge-dev-endpoint"
    variant: str = "main"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The stack alone, with every kind of thing to watch; cdk-nag ends its synthesis where it finds something."""
    out: Path = tmp_path_factory.mktemp("monitoring")
    app = cdk.App(outdir=str(out), analytics_reporting=False, context=FLAGS)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    MonitoringStack(app, NAMING, PulledImages("p", "1"), WATCHED, Served("instance"), STAGE.fleet, OPTIONS)
    app.synth()
    return dict(json.loads((out / "monitoring.template.json").read_text()))


@pytest.fixture(scope="module")
def resources(template: dict[str, Any]) -> Resources:
    return dict(template["Resources"])


def of_type(resources: Resources, kind: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in resources.values() if one["Type"] == kind]


def alarms(resources: Resources) -> dict[str, dict[str, Any]]:
    made = of_type(resources, "AWS::CloudWatch::Alarm")
    return {one["AlarmName"].removeprefix("sam3edge-dev-"): one for one in made}


def test_everything_that_is_watched_has_an_alarm(resources: Resources) -> None:
    per_group = {"silent", "without-model", "drift", "outbox-messages", "outbox-age", "rejected"}
    assert set(alarms(resources)) == {
        *(f"{group}-{name}" for group in ("canary", "fleet") for name in per_group),
        *("endpoint-errors", "endpoint-latency", "endpoint-overhead"),
        *("api-errors", "api-refused", "api-throttled"),
        *("executions-rollout", "executions-labeling", "queue-observations-dead"),
        *("function-rollout-start", "function-fleet-health"),
        *("volume-messages", "volume-requests", "volume-examples", "volume-inference"),
    }


def test_every_alarm_says_what_to_do_and_is_sent_when_it_begins_and_ends(resources: Resources) -> None:
    (topic,) = (name for name, one in resources.items() if one["Type"] == "AWS::SNS::Topic")
    for name, alarm in alarms(resources).items():
        what, _, todo = alarm["AlarmDescription"].partition(". ")
        assert len(what) > 20, name
        assert len(todo) > 20, name
        assert len(alarm["AlarmDescription"]) <= 1024, name  # CloudWatch's limit
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}], name


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("fleet-silent", "breaching"),  # the function reports always: without it nobody looks
        ("fleet-rejected", "ignore"),  # a fleet at night looks at no frames
        ("queue-observations-dead", "notBreaching"),
        ("endpoint-errors", "notBreaching"),
    ],
)
def test_what_missing_data_means_is_stated(resources: Resources, name: str, missing: str) -> None:
    assert alarms(resources)[name]["TreatMissingData"] == missing


def test_thresholds_are_the_stages_in_the_units_of_the_metrics(resources: Resources) -> None:
    made = alarms(resources)
    thresholds = {name: made[name]["Threshold"] for name in ("endpoint-latency", "endpoint-errors", "api-errors")}
    assert thresholds == {"endpoint-latency": 2_500_000, "endpoint-errors": 0.04, "api-errors": 0.04}
    assert (made["fleet-outbox-age"]["Threshold"], made["fleet-outbox-messages"]["Threshold"]) == (3600, 1000)


def test_alarms_of_groups_are_on_metrics_that_the_function_writes(resources: Resources) -> None:
    on_groups = [one for one in alarms(resources).values() if one.get("Namespace") == NAMESPACE and "Dimensions" in one]
    assert {one["MetricName"] for one in on_groups} <= set(UNITS)
    assert {tuple(sorted(d["Name"] for d in one["Dimensions"])) for one in on_groups} == {("Group", "Stage")}
    groups = {d["Value"] for one in on_groups for d in one["Dimensions"] if d["Name"] == "Group"}
    assert groups == {STAGE.fleet.canary_group, STAGE.fleet.fleet_group}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("instance", {"endpoint-errors", "endpoint-latency", "endpoint-overhead"}),
        ("serverless", {"endpoint-errors", "endpoint-latency"}),
        ("async", {"endpoint-errors", "endpoint-backlog"}),
    ],
)
def test_an_endpoints_alarms_are_on_metrics_that_its_kind_has(
    kind: Literal["instance", "async", "serverless"], names: set[str]
) -> None:
    assert {spec.name for spec in endpoint_alarms(Served(kind), OPTIONS)} == names


def test_a_flood_is_noticed_by_what_each_rule_takes_and_each_endpoint_is_asked(resources: Resources) -> None:
    made = alarms(resources)
    counted = {
        query["MetricStat"]["Metric"]["Dimensions"][0]["Value"]: query["MetricStat"]["Period"]
        for query in made["volume-messages"]["Metrics"]
        if "MetricStat" in query
    }
    assert counted == dict.fromkeys(WATCHED.topic_rules, 3600)
    assert made["volume-messages"]["Threshold"] == OPTIONS.messages_per_hour
    (asked,) = (query for query in made["volume-requests"]["Metrics"] if "MetricStat" in query)
    assert (asked["MetricStat"]["Metric"]["MetricName"], asked["MetricStat"]["Period"]) == ("Invocations", 3600)
    stored = made["volume-inference"]
    assert (stored["Threshold"], stored["Period"]) == (OPTIONS.bucket_gb * 2**30, 86_400)
    assert {d["Name"]: d["Value"] for d in stored["Dimensions"]}["BucketName"] == NAMING.bucket("inference").name


def test_a_stage_counts_what_all_its_rules_of_iot_core_take(templates: Templates) -> None:
    for stage in STAGES:
        rules = {
            one["RuleName"]
            for stack in templates.stages[stage]
            if stack != "monitoring"
            for one in templates.resources(stage, stack, "AWS::IoT::TopicRule").values()
        }
        made = templates.resources(stage, "monitoring", "AWS::CloudWatch::Alarm").values()
        (flood,) = (one for one in made if one["AlarmName"].endswith("volume-messages"))
        queries = [query["MetricStat"]["Metric"] for query in flood["Metrics"] if "MetricStat" in query]
        assert {query["Dimensions"][0]["Value"] for query in queries} == rules


def test_requests_of_an_async_endpoint_are_counted_by_the_metric_that_it_has() -> None:
    (spec,) = (one for one in volume_alarms(WATCHED, Served("async"), NAMING, OPTIONS) if one.name == "volume-requests")
    assert isinstance(spec.metric, cloudwatch.MathExpression)
    assert "Invocations" not in {one.metric_name for one in spec.metric.using_metrics.values()}  # type: ignore[attr-defined]


def test_the_bill_of_a_month_has_a_budget_and_somebody_is_told(resources: Resources) -> None:
    (budget,) = of_type(resources, "AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": OPTIONS.budget_usd, "Unit": "USD"}
    assert (budget["Budget"]["BudgetType"], budget["Budget"]["TimeUnit"]) == ("COST", "MONTHLY")
    assert "BudgetName" not in budget["Budget"]  # a change of notifications replaces it
    (topic,) = (name for name, one in resources.items() if one["Type"] == "AWS::SNS::Topic")
    told = budget["NotificationsWithSubscribers"]
    assert {(one["Notification"]["NotificationType"], one["Notification"]["Threshold"]) for one in told} == {
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    }
    assert all(one["Subscribers"] == [{"SubscriptionType": "SNS", "Address": {"Ref": topic}}] for one in told)
    (made,) = (one for one in resources.values() if one["Type"] == "AWS::Budgets::Budget")
    (policy,) = (name for name, one in resources.items() if one["Type"] == "AWS::SNS::TopicPolicy")
    assert policy in made["DependsOn"]


def test_throttled_requests_are_counted_under_the_name_that_the_alarm_looks_at(resources: Resources) -> None:
    (counted,) = of_type(resources, "AWS::Logs::MetricFilter")
    (counts,) = counted["MetricTransformations"]
    alarm = alarms(resources)["api-throttled"]
    assert (counts["MetricNamespace"], counts["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
    assert counted["LogGroupName"] == "/aws/apigateway/sam3edge-dev-api"


def test_the_topic_is_encrypted_and_those_who_send_to_it_may_use_its_key(resources: Resources) -> None:
    (topic,) = of_type(resources, "AWS::SNS::Topic")
    (key_name,) = (name for name, one in resources.items() if one["Type"] == "AWS::KMS::Key")
    assert topic["KmsMasterKeyId"] == {"Fn::GetAtt": [key_name, "Arn"]}
    statements = resources[key_name]["Properties"]["KeyPolicy"]["Statement"]
    services = {one["Principal"]["Service"]: one for one in statements if "Service" in one["Principal"]}
    assert all(set(one["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"} for one in services.values())
    sources = {name: one["Condition"]["ArnLike"]["aws:SourceArn"] for name, one in services.items()}
    assert sources == {
        "cloudwatch.amazonaws.com": "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:sam3edge-dev-*",
        "budgets.amazonaws.com": "arn:aws:budgets::111122223333:*",
    }
    (policy,) = of_type(resources, "AWS::SNS::TopicPolicy")
    senders = {
        one["Principal"]["Service"]: one["Condition"]["ArnLike"]["aws:SourceArn"]
        for one in policy["PolicyDocument"]["Statement"]
        if one["Effect"] == "Allow"
    }
    assert senders == sources
    (subscription,) = of_type(resources, "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "yard@example.org")


def test_nobody_publishes_without_tls(resources: Resources) -> None:
    (policy,) = of_type(resources, "AWS::SNS::TopicPolicy")
    denied = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
    assert [one["Condition"] for one in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


def test_the_rule_keeps_heartbeats_in_the_table_that_the_function_reads(resources: Resources) -> None:
    (rule,) = of_type(resources, "AWS::IoT::TopicRule")
    (table,) = of_type(resources, "AWS::DynamoDB::Table")
    (function,) = of_type(resources, "AWS::Lambda::Function")
    payload = rule["TopicRulePayload"]
    put = payload["Actions"][0]["DynamoDBv2"]["PutItem"]
    told = function["Environment"]["Variables"]
    assert payload["Sql"] == rule_sql()
    assert put["TableName"] == table["TableName"] == told["SAM3EDGE_FLEET_TABLE"]
    assert {key["AttributeName"] for key in table["KeySchema"]} == {"device", "item"}
    assert f"'{STATUS}' AS item" in payload["Sql"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert "AS expires" in payload["Sql"]


def test_the_function_accepts_its_environment(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    (function,) = of_type(resources, "AWS::Lambda::Function")
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    settings = FleetHealthSettings()
    assert (settings.stage, settings.canary_group, settings.fleet_group, settings.silent_minutes) == (
        "dev",
        STAGE.fleet.canary_group,
        STAGE.fleet.fleet_group,
        OPTIONS.silent_minutes,
    )


def test_the_function_may_do_what_its_code_does(
    template: dict[str, Any], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls against moto, compared with its policy; its role may nothing else, but write its log."""
    (function,) = of_type(resources, "AWS::Lambda::Function")
    for name, value in function["Environment"]["Variables"].items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", STAGE.region)
    settings = FleetHealthSettings()
    recorder = Recorder()
    with mock_aws(), recorder.recording():
        iot = boto3.client("iot")
        for group in (settings.canary_group, settings.fleet_group):
            iot.create_thing_group(thingGroupName=group)
            iot.create_thing(thingName=f"one-of-{group}")
            iot.add_thing_to_thing_group(thingGroupName=group, thingName=f"one-of-{group}")
        (made,) = of_type(resources, "AWS::DynamoDB::Table")
        taken = ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode")
        table = boto3.resource("dynamodb").create_table(**{name: made[name] for name in taken})
        counts = {"uptime_s": 60, "frames": 100, "rejected": 0, "queued": 0, "oldest_age_s": 0, "state": "running"}
        device = f"one-of-{settings.canary_group}"
        table.put_item(Item={"device": device, "item": STATUS, "received_ms": 1_800_000_000_000, **counts})
        fleet = Fleet(settings, iot, table, lambda: 1_800_000_001.0, lambda line: None)
        with recorder.acting("fleet-health"):
            fleet.look()
    ((name, policy),) = function_policies(template)
    calls = renamed(recorder.calls["fleet-health"], {"123456789012": STAGE.account})
    assert name == "sam3edge-dev-fleet-health"
    assert [readable([one]) for one in calls if not policy.lets(one)] == []
    assert policy.actions() - {one.action for one in calls} == {"logs:CreateLogStream", "logs:PutLogEvents"}


def test_roles_may_do_what_they_do_and_nothing_else(resources: Resources) -> None:
    allowed: dict[str, set[str]] = {}
    for policy in of_type(resources, "AWS::IAM::Policy"):
        for one in policy["PolicyDocument"]["Statement"]:
            actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
            allowed.setdefault(policy["PolicyName"].split("Role")[0], set()).update(actions)
            assert one["Resource"] != "*"
    assert allowed == {
        "Heartbeats": {
            "dynamodb:PutItem",
            *("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        },
        "FleetHealth": {
            *("logs:CreateLogStream", "logs:PutLogEvents", "dynamodb:Scan", "dynamodb:BatchWriteItem"),
            "iot:ListThingsInThingGroup",
        },
        "Failures": {"sns:Publish", "kms:Decrypt", "kms:GenerateDataKey"},
    }


def pattern_of(resources: Resources, rule: str) -> dict[str, Any]:
    (pattern,) = (one["EventPattern"] for one in of_type(resources, "AWS::Events::Rule") if one["Name"] == rule)
    return dict(pattern)


@pytest.mark.parametrize(("pipeline", "matches"), [("sam3edge-dev-delivery", True), ("sam3edge-prod-delivery", False)])
def test_a_delivery_that_failed_is_an_event_of_the_rule(resources: Resources, pipeline: str, matches: bool) -> None:
    """The event is the one of CodePipeline's documentation, "Pipeline-level state change events"."""
    event = {
        "source": "aws.codepipeline",
        "detail-type": "CodePipeline Pipeline Execution State Change",
        "detail": {"pipeline": pipeline, "execution-id": "12345678-1234", "state": "FAILED", "version": 3.0},
    }
    pattern = pattern_of(resources, "sam3edge-dev-delivery-failed")
    assert EventPattern.load(json.dumps(pattern)).matches_event(event) is matches


@pytest.mark.parametrize(
    ("pipeline", "status", "matches"),
    [
        ("sam3edge-dev-training", "Failed", True),
        ("sam3edge-dev-training", "Succeeded", False),
        ("sam3edge-prod-training", "Failed", False),
    ],
)
def test_training_that_failed_is_an_event_of_the_rule(
    resources: Resources, pipeline: str, status: str, matches: bool
) -> None:
    pattern = pattern_of(resources, "sam3edge-dev-training-failed")
    event: Mapping[str, Any] = {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "detail": {
            "currentPipelineExecutionStatus": status,
            "pipelineArn": f"arn:aws:sagemaker:eu-central-1:111122223333:pipeline/{pipeline}",
        },
    }
    assert EventPattern.load(json.dumps(pattern)).matches_event(dict(event)) is matches


def test_the_dashboard_shows_alarms_first_and_every_metric_of_devices(resources: Resources) -> None:
    (board,) = of_type(resources, "AWS::CloudWatch::Dashboard")
    parts = board["DashboardBody"]
    text = parts if isinstance(parts, str) else "".join(p if isinstance(p, str) else "x" for p in parts["Fn::Join"][1])
    widgets = json.loads(text)["widgets"]
    assert widgets[0]["type"] == "alarm"
    assert len(widgets[0]["properties"]["alarms"]) == len(alarms(resources))
    shown = json.dumps(widgets)
    assert all(f'"{name}"' in shown for name in set(UNITS) - {"RejectedPercent"})
    assert "SOURCE '/aws/lambda/sam3edge-dev-fleet-health'" in shown


def stack_with(naming: Naming) -> tuple[cdk.App, cdk.Stack]:
    app = cdk.App(analytics_reporting=False)
    return app, cdk.Stack(app, "some", stack_name=naming("some"))


def with_functions(stack: cdk.Stack, *names: str, called: str) -> None:
    """Functions, and a state machine that calls one of them."""
    for name in names:
        lambda_.CfnFunction(
            stack, name, function_name=f"x-{name}", role="r", code=lambda_.CfnFunction.CodeProperty(image_uri="i")
        )
    stepfunctions.CfnStateMachine(
        stack,
        "Machine",
        state_machine_name="x-machine",
        role_arn="r",
        definition_string=json.dumps({"Resource": NAMING.arn("lambda", f"function:x-{called}")}),
    )


def test_what_is_added_to_a_stack_is_watched() -> None:
    _, stack = stack_with(NAMING)
    dead = sqs.Queue(stack, "Dead", queue_name="x-dead")
    letters = sqs.DeadLetterQueue(queue=dead, max_receive_count=3)
    sqs.Queue(stack, "Main", queue_name="x-main", dead_letter_queue=letters)
    with_functions(stack, "step", "start", called="step")
    found = watched_in([stack])
    assert found == Watched(dead_letters=("x-dead",), functions=("x-start",), machines=("x-machine",))


def test_a_function_is_by_itself_though_its_name_begins_like_one_that_a_machine_calls() -> None:
    _, stack = stack_with(NAMING)
    with_functions(stack, "step", "step-two", called="step-two")
    assert watched_in([stack]).functions == ("x-step",)


def test_what_has_no_name_cannot_be_watched() -> None:
    _, stack = stack_with(NAMING)
    sqs.Queue(stack, "Nameless")
    with pytest.raises(ValueError, match=r"expected a name by Naming for some/Nameless/Resource"):
        watched_in([stack])


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_watches_what_can_fail_in_it(templates: Templates, stage: str) -> None:
    """By the templates and not by ``watched_in``: queues that nothing is redriven from, machines, APIs, endpoints."""
    prefix = f"sam3edge-{stage}-"
    names = {
        one["AlarmName"].removeprefix(prefix)
        for one in templates.resources(stage, "monitoring", "AWS::CloudWatch::Alarm").values()
    }
    others = [stack for stack in templates.stages[stage] if stack != "monitoring"]

    def of(kind: str) -> list[dict[str, Any]]:
        return [one for stack in others for one in templates.resources(stage, stack, kind).values()]

    queues = [one["QueueName"] for one in of("AWS::SQS::Queue") if "RedrivePolicy" not in one]
    machines = [one["StateMachineName"] for one in of("AWS::StepFunctions::StateMachine")]
    assert queues
    assert machines
    assert {f"queue-{name.removeprefix(prefix)}" for name in queues} <= names
    assert {f"executions-{name.removeprefix(prefix)}" for name in machines} <= names
    assert bool(of("AWS::SageMaker::Endpoint")) == ("endpoint-errors" in names)
    assert bool(of("AWS::ApiGateway::RestApi")) == ("api-throttled" in names)
    functions = {one["FunctionName"].removeprefix(prefix) for one in of("AWS::Lambda::Function")} | {"fleet-health"}
    assert {name.removeprefix("function-") for name in names if name.startswith("function-")} <= functions


def test_the_cost_table_counts_as_many_alarms_as_there_are_or_a_few_more(templates: Templates) -> None:
    usage = read_usage()["alarm_metrics"]
    counts = [
        sum(
            sum("MetricStat" in query for query in one["Metrics"]) if "Metrics" in one else 1
            for stack in templates.stages[stage]
            for one in templates.resources(stage, stack, "AWS::CloudWatch::Alarm").values()
        )
        for stage in STAGES
    ]
    assert max(counts) <= usage <= 1.5 * max(counts)
