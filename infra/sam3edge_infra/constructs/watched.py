"""What alarms are about, as the stacks have it: what is added to them is watched without anybody thinking of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iot as iot
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import IConstruct


@dataclass(frozen=True, slots=True)
class Watched:
    """Names of resources, in order.

    Attributes:
        dead_letters: queues where messages end that could not be handled.
        functions: of Lambda, but for those that a state machine calls: it tries them again, and fails itself if that
            does not help.
        machines: ARNs of state machines, by their names.
        apis: REST APIs.
        pipelines: of SageMaker.
        topic_rules: of IoT Core.
    """

    dead_letters: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    topic_rules: tuple[str, ...] = ()


def watched_in(stacks: Sequence[IConstruct]) -> Watched:
    """What there is to watch in stacks.

    Raises:
        ValueError: a resource has no name of its own.
    """
    found: dict[type[IConstruct], list[str]] = {kind: [] for kind in _KINDS}
    for stack in stacks:
        for one in stack.node.find_all():
            for kind, attribute in _KINDS.items():
                if isinstance(one, kind) and not (isinstance(one, sqs.CfnQueue) and one.redrive_policy is not None):
                    found[kind].append(_name(one, getattr(one, attribute)))
    called = "".join(
        one.definition_string or ""
        for stack in stacks
        for one in stack.node.find_all()
        if isinstance(one, stepfunctions.CfnStateMachine)
    )
    by_itself = [name for name in found[lambda_.CfnFunction] if not re.search(rf":function:{name}(?![\w-])", called)]
    return Watched(*(tuple(sorted(names)) for names in {**found, lambda_.CfnFunction: by_itself}.values()))


def _name(one: IConstruct, name: str | None) -> str:
    if name is None or cdk.Token.is_unresolved(name):
        raise ValueError(f"expected a name by Naming for {one.node.path}, which alarms can name; it has none")
    return name


_KINDS: dict[type[IConstruct], str] = {
    sqs.CfnQueue: "queue_name",
    lambda_.CfnFunction: "function_name",
    stepfunctions.CfnStateMachine: "state_machine_name",
    apigateway.CfnRestApi: "name",
    sagemaker.CfnPipeline: "pipeline_name",
    iot.CfnTopicRule: "rule_name",
}
"""Kind to the attribute with its name, in the order of ``Watched``. A queue that has a queue for what it cannot handle
is not the end of anything."""
