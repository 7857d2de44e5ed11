"""Policies as AWS evaluates them, as far as those of the templates go: wildcards, variables, a few conditions, denials.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Context = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Policy:
    """Statements that hold together. What is not allowed is denied."""

    statements: tuple[Mapping[str, Any], ...]

    def allows(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether an action on a resource is allowed.

        Args:
            context: values of condition keys and policy variables.

        Raises:
            ValueError: a statement has a condition that is not known here.
        """
        effects = {one["Effect"] for one in self.statements if _about(one, action, resource, context or {})}
        return effects == {"Allow"}

    def actions(self) -> set[str]:
        """All that are allowed on something."""
        return {action for one in self.statements if one["Effect"] == "Allow" for action in _list(one["Action"])}

    def resources(self, action: str) -> set[str]:
        """On which an action is allowed."""
        allowed = [one for one in self.statements if one["Effect"] == "Allow" and action in _list(one["Action"])]
        return {_text(resource) for one in allowed for resource in _list(one["Resource"])}


def policy_of(document: Mapping[str, Any]) -> Policy:
    """The policy of a document."""
    return Policy(tuple(document["Statement"]))


def role_policy(template: Mapping[str, Any], role: str) -> Policy:
    """All that a role of a template may do.

    Args:
        role: what its logical id begins with, before CDK's digest.

    Raises:
        ValueError: there is not exactly one such role.
    """
    resources: Mapping[str, Mapping[str, Any]] = template["Resources"]
    named = re.compile(rf"{role}[0-9A-F]{{8}}")
    found = [name for name, one in resources.items() if one["Type"] == "AWS::IAM::Role" and named.fullmatch(name)]
    if len(found) != 1:
        raise ValueError(f"expected one role {role}, got {found}")
    return Policy(tuple(_statements(resources, found[0])))


def _statements(resources: Mapping[str, Mapping[str, Any]], role: str) -> Iterator[Mapping[str, Any]]:
    for one in resources[role]["Properties"].get("Policies", ()):
        yield from one["PolicyDocument"]["Statement"]
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy" and {"Ref": role} in resource["Properties"].get("Roles", ()):
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


def _about(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    return (
        any(_matches(one, action, {}) for one in _list(statement["Action"]))
        and any(_matches(_text(one), resource, context) for one in _list(statement["Resource"]))
        and all(
            _holds(operator, key, wanted, context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, key: str, wanted: Any, context: Context) -> bool:
    given, values = context.get(key), [str(one) for one in _list(wanted)]
    if operator == "ForAllValues:StringEquals":
        return all(one in values for one in _list(given or []))
    if given is None:
        return False
    if operator in ("StringEquals", "ArnEquals", "StringLike", "ArnLike", "Bool"):
        return any(_matches(one, str(given), {}) for one in values)
    raise ValueError(f"expected a condition that is known here, got {operator}")


def _matches(pattern: str, text: str, context: Context) -> bool:
    """Whether a text is as a pattern says; a variable that has no value matches nothing."""
    for variable in re.findall(r"\$\{([^}]+)\}", pattern):
        if variable not in context:
            return False
        pattern = pattern.replace(f"${{{variable}}}", str(context[variable]))
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def _text(resource: Any) -> str:
    """A resource as text; a reference to another of the template as ``<id>`` or ``<id.attribute>``."""
    if isinstance(resource, str):
        return resource
    (kind, what), *_ = resource.items()
    return f"<{what}>" if kind == "Ref" else f"<{'.'.join(what)}>"


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
