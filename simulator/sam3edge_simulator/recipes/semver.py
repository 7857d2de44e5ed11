"""Semantic versions and the ranges in which Greengrass recipes write what they need.

Source: https://semver.org and the range grammar of npm, which the developer guide names for ``VersionRequirement``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_VERSION = re.compile(
    r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})"  # parts of at most six digits
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_PARTIAL = re.compile(r"(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?((?:-[0-9A-Za-z.-]+)?)(?:\+[0-9A-Za-z.-]+)?")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_OPERATOR = re.compile(r"(>=|<=|>|<|=|\^|~)\s*")


class VersionError(ValueError):
    """No semantic version, or no range of them."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """One semantic version; build metadata are dropped."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``1.2.3`` or ``1.2.3-rc.1``.

        Raises:
            VersionError: it is not a version.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            raise VersionError(f"expected a semantic version like 1.2.3, got {text!r}")
        major, minor, patch, pre, _ = match.groups()
        return cls(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else ())

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{'.'.join(self.pre)}" if self.pre else core

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def _key(self) -> tuple[object, ...]:
        # A release comes after its pre-releases; numbers before words, each compared as what it is.
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, pre)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A range of versions: alternatives, each of which is a list of comparisons that must all hold."""

    text: str
    alternatives: tuple[tuple[tuple[str, Version], ...], ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read ``>=1.0.0 <2.0.0``, ``^1.2.0``, ``~1.2``, ``1.x``, ``1.0.0 - 2.0.0``, ``*`` and ``||`` between them.

        Raises:
            VersionError: it is not a range.
        """
        return cls(text, tuple(tuple(_comparisons(part)) for part in text.split("||")))

    def allows(self, version: Version) -> bool:
        """Whether ``version`` is in the range; a pre-release only if the range names one of the same release."""
        return any(_holds(comparisons, version) for comparisons in self.alternatives)

    def __str__(self) -> str:
        return self.text


def _holds(comparisons: tuple[tuple[str, Version], ...], version: Version) -> bool:
    if version.pre and not any(
        bound.pre and (bound.major, bound.minor, bound.patch) == (version.major, version.minor, version.patch)
        for _, bound in comparisons
    ):
        return False
    return all(_compare(operator, version, bound) for operator, bound in comparisons)


def _compare(operator: str, version: Version, bound: Version) -> bool:
    if operator == ">=":
        return version >= bound
    if operator == "<=":
        return version <= bound
    if operator == ">":
        return version > bound
    if operator == "<":
        return version < bound
    return version == bound


def _comparisons(text: str) -> list[tuple[str, Version]]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        return [*_expand(">=", hyphen[1]), *_expand("<=", hyphen[2])]
    comparisons: list[tuple[str, Version]] = []
    for word in _OPERATOR.sub(r"\1", text).split():
        match = _OPERATOR.match(word)
        operator = match[1] if match else ""
        comparisons += _expand(operator, word[len(operator) :])
    return comparisons


def _expand(operator: str, text: str) -> list[tuple[str, Version]]:
    """One comparison of the range grammar as plain comparisons."""
    match = _PARTIAL.fullmatch(text)
    if match is None:
        raise VersionError(f"expected a version range like '>=1.0.0 <2.0.0', got {text!r} in it")
    given = [int(part) for part in match.groups()[:3] if part is not None and part.isdigit()]
    if len(given) == 3:
        exact = Version(given[0], given[1], given[2], tuple(match[4][1:].split(".")) if match[4] else ())
        if operator == "^":
            return [(">=", exact), ("<", _caret(exact))]
        if operator == "~":
            return [(">=", exact), ("<", Version(exact.major, exact.minor + 1, 0))]
        return [(operator or "=", exact)]
    return _expand_partial(operator, given)


def _expand_partial(operator: str, given: list[int]) -> list[tuple[str, Version]]:
    """``1``, ``1.2`` or ``*``: what is not given may be anything."""
    if not given:
        return []
    lowest = Version(given[0], given[1] if len(given) > 1 else 0, 0)
    beyond = Version(given[0] + 1, 0, 0) if len(given) == 1 else Version(given[0], given[1] + 1, 0)
    if operator in (">=", "<"):
        return [(operator, lowest)]
    if operator == ">":
        return [(">=", beyond)]
    if operator == "<=":
        return [("<", beyond)]
    return [(">=", lowest), ("<", _caret(lowest) if operator == "^" and lowest.major else beyond)]


def _caret(version: Version) -> Version:
    if version.major:
        return Version(version.major + 1, 0, 0)
    if version.minor:
        return Version(0, version.minor + 1, 0)
    return Version(0, 0, version.patch + 1)
