"""What a role may do: actions by their names, on resources by theirs.

CDK's own grants allow groups of actions (``s3:GetObject*``, ``s3:List*``); these allow what is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import aws_iam as iam

from sam3edge_infra.constructs.acknowledged import acknowledge


def allow(
    role: iam.Role,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    because: str = "",
    conditions: Mapping[str, object] | None = None,
) -> None:
    """Allow actions on resources.

    Args:
        because: why a resource with a wildcard is as narrow as it can be; cdk-nag refuses those without.

    Raises:
        ValueError: an action has a wildcard.
    """
    if wild := [action for action in actions if "*" in action]:
        raise ValueError(f"expected actions by their names, got {', '.join(wild)}")
    role.add_to_policy(
        iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=dict(conditions or {}))
    )
    if because:
        acknowledge(role, {f"AwsSolutions-IAM5[Resource::{one}]": because for one in resources if "*" in one})
