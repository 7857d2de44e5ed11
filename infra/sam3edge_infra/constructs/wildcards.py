"""Wildcards in policies that CDK writes itself: accepted one kind at a time, each for the actions it was read for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from sam3edge_infra.constructs.acknowledged import acknowledge


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Statements that are accepted.

    Attributes:
        actions: all that such a statement may have, as it is written.
        resource: pattern of the whole resource, as cdk-nag writes it: ``<LogicalId.Arn>/*``.
        reason: why it cannot be narrower, or need not be.
    """

    actions: frozenset[str]
    resource: str
    reason: str


def accept_wildcards(scope: IConstruct, accepted: Sequence[Wildcard]) -> None:
    """Acknowledge what is accepted in the policies below a construct; anything else stays and stops synthesis."""
    for one in scope.node.find_all():
        if isinstance(one, iam.CfnPolicy):
            document = cdk.Stack.of(one).resolve(one.policy_document)
            pairs = (pair for statement in document["Statement"] for pair in _found(statement, accepted))
            found = dict(pairs)
            if found:
                acknowledge(one, found)


def _found(statement: dict[str, Any], accepted: Sequence[Wildcard]) -> Iterator[tuple[str, str]]:
    actions = _listed(statement["Action"])
    for resource in map(resource_text, _listed(statement["Resource"])):
        for kind in accepted:
            if set(actions) <= kind.actions and re.fullmatch(kind.resource, resource):
                yield f"AwsSolutions-IAM5[Resource::{resource}]", kind.reason
                yield from ((f"AwsSolutions-IAM5[Action::{name}]", kind.reason) for name in actions if "*" in name)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def resource_text(resource: Any) -> str:
    """A resource of a template as cdk-nag writes it.

    Raises:
        ValueError: it is none of the forms that CDK writes.
    """
    if isinstance(resource, str):
        return resource
    if "Ref" in resource:
        return f"<{resource['Ref']}>"
    if "Fn::GetAtt" in resource:
        return f"<{'.'.join(resource['Fn::GetAtt'])}>"
    if "Fn::Sub" in resource:
        return str(resource["Fn::Sub"])
    if "Fn::Join" in resource:
        separator, parts = resource["Fn::Join"]
        return str(separator).join(map(resource_text, parts))
    raise ValueError(f"expected text, Ref, Fn::GetAtt, Fn::Sub or Fn::Join for a resource, got {resource!r}")
