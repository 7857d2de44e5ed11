"""Policies of IAM, as far as the templates use them: identity policies with allowing statements and few conditions.

Stricter than IAM where it is simpler: a condition that is not known here, or whose key the request does not say, does
not hold; a resource that CloudFormation fills in matches only itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What somebody wants to do."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """Everything that a role may do."""

    statements: Sequence[Mapping[str, Any]]

    def allows(self, request: Request) -> bool:
        """Whether a statement allows it, and none denies it."""
        applying = [one["Effect"] for one in self.statements if _applies(one, request)]
        return "Allow" in applying and "Deny" not in applying

    def actions(self) -> set[str]:
        """Every action that is named."""
        return {action for one in self.statements for action in _listed(one.get("Action", ()))}


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotAction" in statement:
        acts = not any(_like(one, request.action, re.IGNORECASE) for one in _listed(statement["NotAction"]))
    else:
        acts = any(_like(one, request.action, re.IGNORECASE) for one in _listed(statement["Action"]))
    concerns = any(_like(_text(one), request.resource) for one in _listed(statement["Resource"]))
    holds = all(_holds(kind, told, request.context) for kind, told in statement.get("Condition", {}).items())
    return acts and concerns and holds


def _holds(kind: str, told: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    likes = {"StringEquals": re.escape, "ArnEquals": _pattern, "StringLike": _pattern, "ArnLike": _pattern}
    if kind not in likes:
        return False
    return all(
        key in context and any(re.fullmatch(likes[kind](_text(one)), context[key]) for one in _listed(values))
        for key, values in told.items()
    )


def _like(pattern: str, value: str, flags: int = 0) -> bool:
    return re.fullmatch(_pattern(pattern), value, flags) is not None


def _pattern(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def policy_of(template: Mapping[str, Any], role: str) -> Policy:
    """What a role of a template may do.

    Args:
        role: its logical id.
    """
    resources = template["Resources"]
    own = [one["PolicyDocument"] for one in resources[role]["Properties"].get("Policies", ())]
    attached = [
        one["Properties"]["PolicyDocument"]
        for one in resources.values()
        if one["Type"] == "AWS::IAM::Policy" and {"Ref": role} in one["Properties"]["Roles"]
    ]
    return Policy([statement for document in (*own, *attached) for statement in document["Statement"]])


def function_policies(template: Mapping[str, Any]) -> Iterator[tuple[str, Policy]]:
    """Names of a template's functions, and what each may do."""
    for one in template["Resources"].values():
        if one["Type"] == "AWS::Lambda::Function":
            role = one["Properties"]["Role"]["Fn::GetAtt"][0]
            yield one["Properties"]["FunctionName"], policy_of(template, role)
