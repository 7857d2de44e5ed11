"""The templates of a stage in moto's CloudFormation: deployed as far as it goes, and deleted again.

moto passes over the types of ``UNKNOWN``, knows no instance types of SageMaker that are younger than it is, and deletes
a VPC before what is in it, which it then refuses: so the network stays. REST APIs it cannot delete by a stack. What it
makes is looked for by the services' own calls.
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
ORDER = ("storage", "registry", "labeling", "training", "rollout", "endpoint", "api")
STAGE = "dev"

UNKNOWN = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::UsagePlan",
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CloudWatch::Alarm",
    "AWS::IoT::TopicRule",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::Pipeline",
}
"""Types that moto does not make: the snapshots and cfn-lint are all that judges them here."""

OLD_INSTANCE = "ml.m5.xlarge"


def deployable(template: Mapping[str, Any]) -> str:
    """The template without what asks for the account's bootstrap, and with an instance type that moto knows."""
    document = json.loads(json.dumps(template))
    document.pop("Rules", None)
    document.get("Parameters", {}).pop("BootstrapVersion", None)
    for one in document["Resources"].values():
        for variant in one.get("Properties", {}).get("ProductionVariants", ()):
            variant["InstanceType"] = OLD_INSTANCE
    return json.dumps(document)


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

    return {
        "buckets": names("s3", "list_buckets", "Buckets", "Name"),
        "repositories": names("ecr", "describe_repositories", "repositories", "repositoryName"),
        "tables": names("dynamodb", "list_tables", "TableNames", None),
        "queues": {url.rpartition("/")[2] for url in names("sqs", "list_queues", "QueueUrls", None)},
        "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
        "machines": names("stepfunctions", "list_state_machines", "stateMachines", "name"),
        "rules": names("events", "list_rules", "Rules", "Name"),
        "groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "roles": names("iam", "list_roles", "Roles", "RoleName"),
        "endpoints": names("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "models": names("sagemaker", "list_models", "Models", "ModelName"),
        "apis": names("apigateway", "get_rest_apis", "items", "name"),
    }


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    stage = read_stage(STAGE)
    monkeypatch.setenv("AWS_DEFAULT_REGION", stage.region)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", stage.account)
    with mock_aws():
        yield


def test_a_stage_is_deployed_and_leaves_nothing_behind(
    templates: Templates, cloud: None, caplog: pytest.LogCaptureFixture
) -> None:
    formation = boto3.client("cloudformation")

    def deploy(stack: str) -> None:
        body = deployable(templates.stages[STAGE][stack])
        formation.create_stack(StackName=stack, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        [made] = formation.describe_stacks(StackName=stack)["Stacks"]
        assert made["StackStatus"] == "CREATE_COMPLETE"

    deploy(NETWORK)
    before = everything()
    passed_over: set[str] = set()
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.ERROR):
        warnings.simplefilter("always")
        for stack in ORDER:
            deploy(stack)
        for one in warned:
            if str(one.message).startswith("Tried to parse "):
                passed_over.add(str(one.message).split()[3])
    assert passed_over == UNKNOWN

    there = everything()
    stage = read_stage(STAGE)
    prefix = f"sam3edge-{STAGE}"
    kinds = ("artifacts", "detections", "examples", "inference", "learning", "logs")
    assert there["buckets"] == {f"{prefix}-{kind}-{stage.account}-{stage.region}" for kind in kinds}
    assert {f"{prefix}-rollout-records", f"{prefix}-api-keys"} <= there["tables"]
    assert {f"{prefix}-{rollout_name(task)}" for task in (*FUNCTIONS, "start", "observe")} <= there["functions"]
    assert there["machines"] == {f"{prefix}-rollout", f"{prefix}-labeling"}
    assert {f"{prefix}-approved", f"{prefix}-labeled"} <= there["rules"]
    assert len(there["endpoints"]) == 1  # under a name that moto chooses
    assert there["apis"] == {f"{prefix}-api"}

    boto3.client("s3").put_object(Bucket=f"{prefix}-examples-{stage.account}-{stage.region}", Key="x", Body=b"1")
    assert empty(boto3.resource("s3"), stage) == 1
    for stack in reversed(ORDER):
        formation.delete_stack(StackName=stack)
    assert [one["StackName"] for one in formation.describe_stacks()["Stacks"]] == [NETWORK]
    left = {kind: names - before[kind] for kind, names in everything().items()}
    kept = {kind: {name.partition("-")[0] for name in names} for kind, names in left.items() if names}
    assert kept == {"roles": {"api"}, "apis": {"sam3edge"}}
    assert all("-LogRole" in name for name in left["roles"])  # API Gateway's, which other stages may log by


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
