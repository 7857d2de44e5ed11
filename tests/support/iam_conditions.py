"""Conditions, wildcards and variables of policies, as AWS documents them.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import ipaddress
import operator as compare
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeAlias

Context: TypeAlias = Mapping[str, str | Sequence[str]]
"""Values of condition keys and policy variables; several for a key that has several."""

Test: TypeAlias = Callable[[str, str, Context], bool]
"""Whether the context's value is as the policy's says."""

ARN_PARTS = 6
_TOKEN = re.compile(r"\$\{([^}]+)\}|.", re.DOTALL)
_LITERALS = {"*", "?", "$"}
"""What ``${*}`` and the like stand for."""


def matches(pattern: str, text: str, context: Context | None = None, *, ignore_case: bool = False) -> bool:
    """Whether a text is as a pattern with wildcards says; one with a variable that has no value matches nothing.

    Args:
        context: values of variables; None where AWS knows none.
    """
    parts = []
    for token in _TOKEN.finditer(pattern):
        variable = token[1]
        if variable is not None and context is not None:
            value = _value(variable, context)
            if value is None:
                return False
            parts.append(re.escape(value))
        else:
            parts.append({"*": ".*", "?": "."}.get(token[0], re.escape(token[0])))
    return re.fullmatch("".join(parts), text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _value(variable: str, context: Context) -> str | None:
    name, comma, default = variable.partition(",")
    if name in _LITERALS:
        return name
    found = _lookup(name.strip(), context)
    if isinstance(found, str):
        return found
    if found is not None:
        raise ValueError(f"expected one value of the variable {name}, got {len(found)}")
    return default.strip().strip("'") if comma else None


def matches_arn(pattern: str, text: str, context: Context | None = None) -> bool:
    """Whether an ARN is as a pattern says, part by part: a wildcard ends at a colon, but for the resource's own part.

    Parts that a pattern leaves out at its end are wildcards. What is no ARN, as ``*`` or a reference of a template,
    is compared as a whole.
    """
    if not pattern.startswith("arn:") or not text.startswith("arn:"):
        return matches(pattern, text, context)
    wanted, given = _parts(pattern), _parts(text)
    wanted += ["*"] * (ARN_PARTS - len(wanted))
    return len(given) == ARN_PARTS and all(
        matches(one, other, context) for one, other in zip(wanted, given, strict=True)
    )


def _parts(arn: str) -> list[str]:
    """Of an ARN; colons within variables are none between them."""
    return re.split(r":(?![^{]*\})", arn, maxsplit=ARN_PARTS - 1)


def _equal(wanted: str, given: str, context: Context, *, ignore_case: bool = False) -> bool:
    """As it is written, but for variables: a star is a star."""
    literal = re.sub(r"(?<!\$\{)[*?](?!\})", r"${\g<0>}", wanted)
    return matches(literal, given, context, ignore_case=ignore_case)


def _numbers(test: Callable[[Any, Any], bool]) -> Test:
    return lambda wanted, given, context: test(float(given), float(wanted))


def _dates(test: Callable[[Any, Any], bool]) -> Test:
    return lambda wanted, given, context: test(_moment(given), _moment(wanted))


def _moment(text: str) -> datetime:
    if re.fullmatch(r"\d+", text):
        return datetime.fromtimestamp(int(text), timezone.utc)
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def _in_range(wanted: str, given: str, context: Context) -> bool:
    return ipaddress.ip_address(given) in ipaddress.ip_network(wanted)


_ORDERS = {
    "Equals": compare.eq,
    "LessThan": compare.lt,
    "LessThanEquals": compare.le,
    "GreaterThan": compare.gt,
    "GreaterThanEquals": compare.ge,
}
TESTS: dict[str, Test] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": partial(_equal, ignore_case=True),
    "StringLike": matches,
    "ArnEquals": matches_arn,
    "ArnLike": matches_arn,
    "Bool": lambda wanted, given, context: wanted.lower() == given.lower(),
    "BinaryEquals": lambda wanted, given, context: wanted == given,
    "IpAddress": _in_range,
    **{f"Numeric{name}": _numbers(test) for name, test in _ORDERS.items()},
    **{f"Date{name}": _dates(test) for name, test in _ORDERS.items()},
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
_OPERATOR = re.compile(r"(?P<over>ForAllValues|ForAnyValue)?(?(over):)(?P<base>\w+?)(?P<lenient>IfExists)?")


def check_operator(operator: str) -> tuple[str, str, bool]:
    """An operator's quantifier, its base, and whether it holds where the key is missing.

    Raises:
        ValueError: AWS has none of that name.
    """
    found = _OPERATOR.fullmatch(operator)
    if found is not None and (found["base"] in TESTS or found["base"] in NEGATED):
        return found["over"] or "", found["base"], found["lenient"] is not None
    if operator == "Null":
        return "", operator, False
    raise ValueError(f"expected an operator of conditions that AWS has, got {operator}")


def holds(operator: str, keys: Mapping[str, Any], context: Context) -> bool:
    """Whether a condition holds: all of its keys, each by one of its values, or by none where the operator is negated.

    Raises:
        ValueError: the operator is not known, or what it says of these values is not documented.
    """
    return all(_key_holds(operator, key, listed(values), context) for key, values in keys.items())


def _key_holds(operator: str, key: str, values: list[Any], context: Context) -> bool:
    over, base, lenient = check_operator(operator)
    given = _lookup(key, context)
    wanted = [str(one).lower() if isinstance(one, bool) else str(one) for one in values]
    if base == "Null":
        return str(given is None).lower() in [one.lower() for one in wanted]
    if given is None or (over and not listed(given)):
        return lenient or over == "ForAllValues" or (not over and base in NEGATED)
    if not over and not isinstance(given, str):
        raise ValueError(
            f"expected one value of {key} with {operator}, got {len(given)}: AWS has ForAnyValue for several"
        )
    if base in NEGATED:
        _must_resolve(wanted, context)
    test = TESTS[NEGATED.get(base, base)]
    fits = [any(test(one, value, context) for one in wanted) != (base in NEGATED) for value in listed(given)]
    return any(fits) if over == "ForAnyValue" else all(fits)


def _must_resolve(wanted: Sequence[str], context: Context) -> None:
    for variable in (token[1] for one in wanted for token in _TOKEN.finditer(one) if token[1]):
        if _value(variable, context) is None:
            raise ValueError(f"expected a value of {variable}: AWS does not say what a negated operator makes of none")


def _lookup(key: str, context: Context) -> str | Sequence[str] | None:
    """Names of keys know no case."""
    return next((value for name, value in context.items() if name.casefold() == key.casefold()), None)


def listed(value: Any) -> list[Any]:
    """One or several, as several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
