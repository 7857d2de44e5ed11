"""The templates of stages in moto's CloudFormation: deployed as far as it goes, and deleted again.

Every stack of three stages is deployed. What moto does not do is in ``UNKNOWN`` and ``UNDELETED``, and three things are
given to it in other words (``deployable``). What it makes is looked for by the services' own calls.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge_infra.emptying import empty
from sam3edge_infra.stacks.rollout import rollout_name
from sam3edge_infra.stages.files import read_stage
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS
from support.infra_templates import Templates

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

NETWORK = "network"
ORDER = (
    *("storage", "registry", "labeling", "training", "rollout", "endpoint", "api"),
    *("fleet", "simulator", "page", "monitoring", "delivery"),
)
STAGE = "dev"

EVERYWHERE = {
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::GreengrassV2::ComponentVersion",
    "AWS::GreengrassV2::Deployment",
    "AWS::IoT::ProvisioningTemplate",
    "AWS::IoT::ThingGroup",
    "AWS::IoT::TopicRule",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::Pipeline",
}
SERVED = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::UsagePlan",
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Logs::MetricFilter",
}
UNKNOWN = {
    "dev": EVERYWHERE | SERVED | {"AWS::KinesisFirehose::DeliveryStream", "AWS::Logs::LogStream", "AWS::Pipes::Pipe"},
    "sim": EVERYWHERE | {"AWS::IoT::Authorizer", "AWS::SecretsManager::Secret"},
    "delivered": EVERYWHERE | SERVED | {"AWS::CodeBuild::Project", "AWS::CodePipeline::Pipeline"},
}
"""Types that moto's CloudFormation passes over, by stage. Snapshots, cfn-lint, cdk-nag and the tests of single stacks
are all that judges them here."""

UNDELETED = {
    "apis": "moto does not delete REST APIs by a stack",
    "keys": "moto does not give KMS' keys up to deletion by a stack",
    "roles": "API Gateway's role for logs is the account's: other stages may log by it, so the template keeps it",
}
"""What is left by deleting, by kind, with the reason. Beside it the network: moto deletes a VPC before what is in it,
which it then refuses."""

OLD_INSTANCE = "ml.m5.xlarge"
IMAGE = "ami-12c6146b"


def deployable(template: Mapping[str, Any]) -> str:
    """The template in words that moto knows: without what asks for the account's bootstrap, with an instance type and
    an image that it has, other code of functions that are no images, and a made-up ARN for what only a type that it
    passes over could say."""
    document = json.loads(json.dumps(template))
    document.pop("Rules", None)
    parameters = document.get("Parameters", {})
    parameters.pop("BootstrapVersion", None)
    for one in parameters.values():
        if one["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>":
            one |= {"Type": "String", "Default": IMAGE}
    for one in document["Resources"].values():
        properties = one.get("Properties", {})
        for variant in properties.get("ProductionVariants", ()):
            variant["InstanceType"] = OLD_INSTANCE
        if "S3Key" in properties.get("Code", {}):  # in the bucket of the bootstrap, which is not there
            properties["Code"] = {"ZipFile": "def handle(event, context): ..."}
    kinds = {name: one["Type"] for name, one in document["Resources"].items()}
    missing = {name for name, kind in kinds.items() if any(kind in unknown for unknown in UNKNOWN.values())}
    return json.dumps(without_references(document, missing))


def without_references(value: Any, missing: set[str]) -> Any:
    """The same, with ARNs in place of references to what is missing."""
    if isinstance(value, list):
        return [without_references(one, missing) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"} and value["Ref"] in missing:
        return f"arn:aws:missing:::{value['Ref']}"
    if value.keys() == {"Fn::GetAtt"} and value["Fn::GetAtt"][0] in missing:
        return f"arn:aws:missing:::{'.'.join(value['Fn::GetAtt'])}"
    return {name: without_references(one, missing) for name, one in value.items()}


def everything() -> dict[str, set[str]]:
    """Names of what there is, by kind."""

    def names(service: str, operation: str, member: str, name: str | None) -> set[str]:
        client = boto3.client(service)
        pages = (
            client.get_paginator(operation).paginate()
            if client.can_paginate(operation)
            else [getattr(client, operation)()]
        )
        found = [one for page in pages for one in page.get(member, ())]
        return {one if name is None else one[name] for one in found}

    running = boto3.client("ec2").describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    return {
        "buckets": names("s3", "list_buckets", "Buckets", "Name"),
        "repositories": names("ecr", "describe_repositories", "repositories", "repositoryName"),
        "tables": names("dynamodb", "list_tables", "TableNames", None),
        "queues": {url.rpartition("/")[2] for url in names("sqs", "list_queues", "QueueUrls", None)},
        "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
        "machines": names("stepfunctions", "list_state_machines", "stateMachines", "name"),
        "rules": names("events", "list_rules", "Rules", "Name"),
        "buses": names("events", "list_event_buses", "EventBuses", "Name"),
        "groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "roles": names("iam", "list_roles", "Roles", "RoleName"),
        "profiles": names("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
        "endpoints": names("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "models": names("sagemaker", "list_models", "Models", "ModelName"),
        "apis": names("apigateway", "get_rest_apis", "items", "name"),
        "policies of devices": names("iot", "list_policies", "policies", "policyName"),
        "role aliases": names("iot", "list_role_aliases", "roleAliases", None),
        "topics": names("sns", "list_topics", "Topics", "TopicArn"),
        "keys": names("kms", "list_keys", "Keys", "KeyId"),
        "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "instances": {one["InstanceId"] for found in running["Reservations"] for one in found["Instances"]},
        "security groups": names("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    }


class Cloud:
    """moto's account with a stage in it.

    Attributes:
        before: what there was with the network alone.
        passed_over: types that were not made.
    """

    def __init__(self, stage: str, templates: Templates) -> None:
        self._formation = boto3.client("cloudformation")
        self._templates = templates.stages[stage]
        self._stacks = [stack for stack in ORDER if stack in self._templates]
        assert {NETWORK, *self._stacks} == self._templates.keys()
        self._deploy(NETWORK)
        self.before = everything()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for stack in self._stacks:
                self._deploy(stack)
        said = [str(one.message) for one in warned]
        self.passed_over = {one.split()[3] for one in said if one.startswith("Tried to parse ")}

    def _deploy(self, stack: str) -> None:
        body = deployable(self._templates[stack])
        self._formation.create_stack(StackName=stack, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        [made] = self._formation.describe_stacks(StackName=stack)["Stacks"]
        assert made["StackStatus"] == "CREATE_COMPLETE"

    def delete(self) -> dict[str, set[str]]:
        """Delete all stacks but the network; what is left, by kind."""
        for stack in reversed(self._stacks):
            self._formation.delete_stack(StackName=stack)
        assert [one["StackName"] for one in self._formation.describe_stacks()["Stacks"]] == [NETWORK]
        left = {kind: names - self.before[kind] for kind, names in everything().items()}
        return {kind: names for kind, names in left.items() if names}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    stage = read_stage(STAGE)
    monkeypatch.setenv("AWS_DEFAULT_REGION", stage.region)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", stage.account)
    with mock_aws(), caplog.at_level(logging.ERROR):
        yield


def test_a_stage_is_deployed_and_leaves_nothing_behind(templates: Templates, cloud: None) -> None:
    deployed = Cloud(STAGE, templates)
    assert deployed.passed_over == UNKNOWN[STAGE]
    there = everything()
    stage = read_stage(STAGE)
    prefix = f"sam3edge-{STAGE}"
    kinds = ("artifacts", "detections", "examples", "inference", "learning", "logs")
    assert there["buckets"] == {f"{prefix}-{kind}-{stage.account}-{stage.region}" for kind in kinds}
    tables = ("rollout-records", "api-keys", "devices", "heartbeats")
    assert {f"{prefix}-{name}" for name in tables} <= there["tables"]
    functions = (
        *(rollout_name(task) for task in (*FUNCTIONS, "start", "observe")),
        "provisioning-hook",
        "fleet-health",
    )
    assert {f"{prefix}-{name}" for name in functions} <= there["functions"]
    assert there["machines"] == {f"{prefix}-rollout", f"{prefix}-labeling"}
    assert {f"{prefix}-approved", f"{prefix}-labeled"} <= there["rules"]
    assert len(there["endpoints"]) == 1  # under a name that moto chooses
    assert there["apis"] == {f"{prefix}-api"}
    assert there["policies of devices"] == {f"{prefix}-{name}" for name in ("claim", "device", "device-nucleus")}
    assert there["role aliases"] == {f"{prefix}-devices"}
    assert f"{prefix}-detections" in there["buses"] & there["queues"]
    assert there["dashboards"] == {f"{prefix}-overview"}

    boto3.client("s3").put_object(Bucket=f"{prefix}-examples-{stage.account}-{stage.region}", Key="x", Body=b"1")
    assert empty(boto3.resource("s3"), stage) == 1
    left = deployed.delete()
    assert left.keys() == UNDELETED.keys()
    assert left["apis"] == {f"{prefix}-api"}
    assert all("-LogRole" in name for name in left["roles"])


def test_a_simulator_comes_and_goes(templates: Templates, cloud: None) -> None:
    deployed = Cloud("sim", templates)
    assert deployed.passed_over == UNKNOWN["sim"]
    there = everything()
    assert len(there["instances"]) == len(there["profiles"]) == 1
    assert len(there["security groups"] - deployed.before["security groups"]) == 1
    assert deployed.delete().keys() == {"keys"}


def test_a_delivered_stage_that_keeps_its_data_keeps_that_and_nothing_else(
    templates: Templates, cloud: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = read_stage("delivered")
    monkeypatch.setenv("AWS_DEFAULT_REGION", stage.region)
    deployed = Cloud(stage.name, templates)
    assert deployed.passed_over == UNKNOWN[stage.name]
    there = everything()
    kept = ("buckets", "tables", "repositories")
    assert all(there[kind] for kind in kept)
    left = deployed.delete()
    assert left.keys() == {*kept, *UNDELETED}
    assert all(left[kind] == there[kind] for kind in kept)


KEPT = {("api", "AWS::ApiGateway::Account"), ("api", "AWS::IAM::Role")}
"""See ``UNDELETED``."""


@pytest.mark.parametrize("stage", ["dev", "lite", "none", "sim"])
def test_templates_of_a_stage_that_deletes_its_data_keep_nothing_but_the_accounts(
    templates: Templates, stage: str
) -> None:
    assert read_stage(stage).data == "delete"
    kept = {
        (stack, one["Type"])
        for stack, template in templates.stages[stage].items()
        for one in template["Resources"].values()
        if one.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == (KEPT if "api" in templates.stages[stage] else set())


def test_buckets_of_a_stage_that_keeps_its_data_are_not_emptied(cloud: None) -> None:
    with pytest.raises(SettingsError, match="keeps its data"):
        empty(boto3.resource("s3"), read_stage("prod"))


def test_emptying_deletes_every_version_and_passes_over_buckets_that_are_gone(cloud: None) -> None:
    stage = read_stage(STAGE)
    s3 = boto3.client("s3")
    bucket = f"sam3edge-{STAGE}-learning-{stage.account}-{stage.region}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": stage.region})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="x", Body=body)
    s3.delete_object(Bucket=bucket, Key="x")
    assert empty(boto3.resource("s3"), stage) == 3
    s3.delete_bucket(Bucket=bucket)
