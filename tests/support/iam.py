"""Identity policies as AWS evaluates them, those of IAM and of AWS IoT alike.

What is denied anywhere is denied, what is allowed nowhere, too. Conditions, wildcards and variables are in
``iam_conditions``. What AWS does not document is not guessed at: it raises.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sam3edge_infra.constructs.wildcards import resource_text
from support.iam_conditions import Context, check_operator, holds, listed, matches, matches_arn

ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
"""Of statements that are known here; one with a principal is of a resource's policy, or of a trust."""


@dataclass(frozen=True)
class Request:
    """What somebody wants to do.

    Attributes:
        context: values of condition keys and policy variables.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Statements that hold together.

    Raises:
        ValueError: an element, an effect or an operator is not known here.
    """

    statements: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        for one in self.statements:
            if unknown := one.keys() - ELEMENTS:
                raise ValueError(
                    f"expected elements of {', '.join(sorted(ELEMENTS))}; got {', '.join(sorted(unknown))}"
                )
            if one["Effect"] not in ("Allow", "Deny"):
                raise ValueError(f"expected the effect Allow or Deny, got {one['Effect']!r}")
            for operator in one.get("Condition", {}):
                check_operator(operator)

    def allows(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether an action on a resource is allowed.

        Args:
            context: values of condition keys and policy variables.

        Raises:
            ValueError: what is asked is not documented.
        """
        effects = {one["Effect"] for one in self.statements if _applies(one, Request(action, resource, context or {}))}
        return effects == {"Allow"}

    def lets(self, request: Request) -> bool:
        """``allows``, of a request."""
        return self.allows(request.action, request.resource, request.context)

    def actions(self) -> set[str]:
        """All that are allowed on something, as they are written."""
        return {action for one in self._allowing() for action in listed(one["Action"])}

    def resources(self, action: str) -> set[str]:
        """On which an action, as it is written, is allowed."""
        allowed = [one for one in self._allowing() if action in listed(one["Action"])]
        return {resource_text(resource) for one in allowed for resource in listed(one["Resource"])}

    def _allowing(self) -> list[Mapping[str, Any]]:
        return [one for one in self.statements if one["Effect"] == "Allow"]


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    return (
        _names(statement, "Action", lambda one: matches(one, request.action, ignore_case=True))
        and _names(
            statement, "Resource", lambda one: matches_arn(resource_text(one), request.resource, request.context)
        )
        and all(holds(operator, keys, request.context) for operator, keys in statement.get("Condition", {}).items())
    )


def _names(statement: Mapping[str, Any], element: str, matching: Callable[[Any], bool]) -> bool:
    """Whether an element, or its contrary, is about a request."""
    if f"Not{element}" in statement:
        return not any(map(matching, listed(statement[f"Not{element}"])))
    return any(map(matching, listed(statement[element])))


def policy_of(*documents: Mapping[str, Any]) -> Policy:
    """The policy of documents.

    Raises:
        ValueError: a document's version knows no variables.
    """
    for one in documents:
        if one.get("Version") != "2012-10-17":
            raise ValueError(f"expected the version 2012-10-17, got {one.get('Version')!r}: variables would be text")
    return Policy(tuple(statement for one in documents for statement in listed(one["Statement"])))


def role_policy(template: Mapping[str, Any], role: str) -> Policy:
    """All that a role of a template may do.

    Args:
        role: its logical id, or what that begins with, before CDK's digest.

    Raises:
        ValueError: there is not exactly one such role.
    """
    resources: Mapping[str, Mapping[str, Any]] = template["Resources"]
    named = re.compile(rf"{role}([0-9A-F]{{8}})?")
    found = [name for name, one in resources.items() if one["Type"] == "AWS::IAM::Role" and named.fullmatch(name)]
    if len(found) != 1:
        raise ValueError(f"expected one role {role}, got {found}")
    return policy_of(*_documents(resources, found[0]))


def _documents(resources: Mapping[str, Mapping[str, Any]], role: str) -> Iterator[Mapping[str, Any]]:
    for one in resources[role]["Properties"].get("Policies", ()):
        yield one["PolicyDocument"]
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy" and {"Ref": role} in resource["Properties"].get("Roles", ()):
            yield resource["Properties"]["PolicyDocument"]


def function_policies(template: Mapping[str, Any]) -> Iterator[tuple[str, Policy]]:
    """Names of a template's functions, and what each may do."""
    for one in template["Resources"].values():
        if one["Type"] == "AWS::Lambda::Function":
            role = one["Properties"]["Role"]["Fn::GetAtt"][0]
            yield one["Properties"]["FunctionName"], role_policy(template, role)
