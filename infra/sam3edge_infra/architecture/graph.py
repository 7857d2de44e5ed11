"""What is in a cloud assembly: stacks, their main resources, and which stack names whose resources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS: Mapping[str, str] = {
    "AWS::S3::Bucket": "S3 bucket",
    "AWS::ECR::Repository": "ECR repository",
    "AWS::EC2::VPC": "VPC",
    "AWS::EC2::VPCEndpoint": "VPC endpoint",
    "AWS::EC2::NatGateway": "NAT gateway",
    "AWS::SageMaker::Endpoint": "SageMaker endpoint",
    "AWS::SageMaker::Pipeline": "SageMaker pipeline",
    "AWS::SageMaker::ModelPackageGroup": "model registry",
    "AWS::ApiGateway::RestApi": "REST API",
    "AWS::ApiGateway::UsagePlan": "usage plan",
    "AWS::WAFv2::WebACL": "WAF",
    "AWS::StepFunctions::StateMachine": "state machine",
    "AWS::Lambda::Function": "Lambda function",
    "AWS::SQS::Queue": "SQS queue",
    "AWS::DynamoDB::Table": "DynamoDB table",
    "AWS::Events::Rule": "EventBridge rule",
    "AWS::Events::EventBus": "event bus",
    "AWS::IoT::TopicRule": "IoT rule",
    "AWS::IoT::ThingGroup": "thing group",
    "AWS::IoT::Policy": "IoT policy",
    "AWS::IoT::RoleAlias": "role alias",
    "AWS::IoT::ProvisioningTemplate": "provisioning template",
    "AWS::GreengrassV2::ComponentVersion": "component version",
    "AWS::GreengrassV2::Deployment": "Greengrass deployment",
    "AWS::KinesisFirehose::DeliveryStream": "Firehose stream",
    "AWS::EC2::Instance": "EC2 instance",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::SNS::Topic": "SNS topic",
    "AWS::CodePipeline::Pipeline": "CodePipeline",
    "AWS::CodeBuild::Project": "CodeBuild project",
}
"""Types of resources that are drawn, in the order in which they are."""

NAMED_BY = (
    *("BucketName", "RepositoryName", "EndpointName", "PipelineName", "ModelPackageGroupName", "StateMachineName"),
    *("FunctionName", "QueueName", "TableName", "RuleName", "ThingGroupName", "PolicyName", "RoleAlias"),
    *("TemplateName", "DeliveryStreamName", "TopicName", "DashboardName", "AlarmName", "Name"),
)
"""Properties that hold a resource's name."""

OWN = ("AWS::CloudWatch::Alarm", "AWS::Events::Rule", "AWS::CloudWatch::Dashboard")
"""Types whose names others do not use to reach them: a mention is no arrow."""


@dataclass(frozen=True, slots=True)
class StackNode:
    """A stack.

    Attributes:
        name: without the prefix of the stage.
        resources: kind to short names, sorted.
        topics: MQTT topics that its IoT rules are about.
    """

    name: str
    resources: Mapping[str, tuple[str, ...]]
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One stack names resources of another; ``what`` are their short names."""

    by: str
    of: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Stacks in alphabetical order, and who uses whom."""

    stage: str
    stacks: tuple[StackNode, ...]
    uses: tuple[Use, ...]


def read_graph(assembly: Path, stage: str) -> Graph:
    """The graph of an assembly, nested ones included.

    Raises:
        ValueError: there is no stack of that stage.
    """
    prefix = f"sam3edge-{stage}-"
    templates = {
        name.removeprefix(prefix): template for name, template in _templates(assembly) if name.startswith(prefix)
    }
    if not templates:
        raise ValueError(f"expected stacks {prefix}... in {assembly}, got none; make synth STAGE={stage} first")
    nodes: list[StackNode] = []
    owners: dict[str, str] = {}
    for name, template in sorted(templates.items()):
        found = list(_resources(template))
        for kind, full, _ in found:
            if full.startswith((prefix, f"sam3edge-{stage}/")) and kind not in OWN:
                owners.setdefault(full, name)
        nodes.append(_node(name, found, prefix))
    return Graph(stage, tuple(nodes), tuple(_uses(templates, owners, prefix)))


def _templates(assembly: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    manifest = json.loads((assembly / "manifest.json").read_text())
    for artifact in manifest["artifacts"].values():
        properties = artifact.get("properties", {})
        if artifact["type"] == "aws:cloudformation:stack":
            yield properties["stackName"], json.loads((assembly / properties["templateFile"]).read_text())
        elif artifact["type"] == "cdk:cloud-assembly":
            yield from _templates(assembly / properties["directoryName"])


def _resources(template: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Type, name (empty for none) and properties of what is drawn."""
    for one in template.get("Resources", {}).values():
        if one["Type"] in KINDS:
            properties = one.get("Properties", {})
            names = (properties.get(key) for key in NAMED_BY)
            yield one["Type"], next((name for name in names if isinstance(name, str)), ""), properties


def _node(name: str, found: list[tuple[str, str, Mapping[str, Any]]], prefix: str) -> StackNode:
    resources: dict[str, tuple[str, ...]] = {}
    for kind, label in KINDS.items():
        names = sorted(_short(full, prefix) for type_, full, _ in found if type_ == kind)
        if names:
            resources[label] = tuple(names)
    said = (json.dumps(properties.get("TopicRulePayload", {}).get("Sql", "")) for _, _, properties in found)
    topics = sorted({topic for sql in said for topic in re.findall(r"FROM '[^/']+/\+/([\w/+#-]+)'", sql)})
    return StackNode(name, resources, tuple(topics))


def _short(name: str, prefix: str) -> str:
    """A name without stage, account and region."""
    short = re.sub(r"-\d{12}-[a-z]{2}-[a-z]+-\d$", "", name)
    return short.removeprefix(prefix).removeprefix(prefix.replace("-", "_")).removeprefix(prefix.rstrip("-") + "/")


def _uses(templates: Mapping[str, Any], owners: Mapping[str, str], prefix: str) -> Iterator[Use]:
    for name, template in sorted(templates.items()):
        text = json.dumps(template)
        used: dict[str, set[str]] = {}
        for full, owner in owners.items():
            if owner != name and re.search(rf"(?<![\w-]){re.escape(full)}(?![\w-])", text):
                used.setdefault(owner, set()).add(_short(full, prefix))
        parameters = f"/{prefix.rstrip('-').replace('-', '/')}/"  # of Systems Manager, /sam3edge/<stage>/<stack>/...
        for read in re.findall(rf'"{re.escape(parameters)}([a-z]+)/[\w-]+"', text):
            if read != name:
                used.setdefault(read, set())
        yield from (Use(name, owner, tuple(sorted(what))) for owner, what in sorted(used.items()))
