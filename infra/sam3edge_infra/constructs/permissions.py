"""What a role may do: actions by their names, on resources by theirs.

CDK's own grants allow groups of actions (``s3:GetObject*``, ``s3:List*``); these allow what is called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.names import Naming

NO_RESOURCES = "the action knows no resources"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy.

    Attributes:
        actions: without wildcards.
        because: why a resource with a wildcard is as narrow as it can be; cdk-nag refuses those without.
    """

    actions: Sequence[str]
    resources: Sequence[str]
    because: str = ""
    conditions: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if wild := [action for action in self.actions if "*" in action]:
            raise ValueError(f"expected actions by their names, got {', '.join(wild)}")


def allow(role: iam.IRole, *statements: Statement) -> None:
    """Allow a role what statements say, and acknowledge their wildcards with the reasons that they have."""
    for one in statements:
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(one.actions), resources=list(one.resources), conditions=dict(one.conditions) or None
            )
        )
        if one.because:
            # cdk-nag writes a variable of a policy, ${...}, as it does a reference: <...>
            wild = [re.sub(r"\$\{(.+?)\}", r"<\1>", arn) for arn in one.resources if "*" in arn]
            acknowledge(role, {f"AwsSolutions-IAM5[Resource::{arn}]": one.because for arn in wild})


def for_account(service: str, naming: Naming) -> iam.ServicePrincipal:
    """A service of AWS that may take a role on behalf of the stage's account, and of no other.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    return iam.ServicePrincipal(service, conditions={"StringEquals": {"aws:SourceAccount": naming.account}})


def limit_trusts(scope: IConstruct, naming: Naming) -> None:
    """Let services take the roles below a construct, which CDK has made, as ``for_account`` does."""
    for one in scope.node.find_all():
        if isinstance(one, iam.CfnRole):
            trust = cdk.Stack.of(one).resolve(one.assume_role_policy_document)
            for number, statement in enumerate(trust["Statement"]):
                if "Service" in statement["Principal"]:
                    account = f"AssumeRolePolicyDocument.Statement.{number}.Condition.StringEquals.aws:SourceAccount"
                    one.add_property_override(account, naming.account)


def in_network(naming: Naming, subnets: Sequence[str], groups: Sequence[str]) -> tuple[Statement, ...]:
    """What SageMaker does as a role to put containers into subnets."""
    interfaces = naming.arn("ec2", "network-interface/*")
    places = [naming.arn("ec2", f"subnet/{one}") for one in subnets]
    places += [naming.arn("ec2", f"security-group/{one}") for one in groups]
    return (
        Statement(
            ["ec2:CreateNetworkInterface"],
            [interfaces, *places],
            "interfaces are named by EC2; where they are is limited",
        ),
        Statement(
            [
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            [interfaces],
            "interfaces are named by EC2; only those in the stage's subnets",
            {"ArnEquals": {"ec2:Subnet": [naming.arn("ec2", f"subnet/{one}") for one in subnets]}},
        ),
        Statement(
            [
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeVpcs",
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeSubnets",
                "ec2:DescribeSecurityGroups",
            ],
            ["*"],
            NO_RESOURCES,
        ),
    )


def pulls(repository_arn: str) -> tuple[Statement, ...]:
    """Pulling an image."""
    return (
        Statement(
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [repository_arn]
        ),
        Statement(["ecr:GetAuthorizationToken"], ["*"], NO_RESOURCES),
    )
