"""Versions of components: which content is new, what it is called, and what ran well.

A component version carries the digest of its content as a tag, so that what was published is known from Greengrass
itself: nothing beside it can disagree with it. Content that was published before, under whatever version, keeps that
version: a model that is approved again is not built again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

CONTENT_TAG = "sam3edge:content"
"""Tag of a component version: the digest of its content."""

MAX_LOOKED_AT = 100
"""Versions of a component that are searched for a content, the newest first."""

_LARGEST = 999_999
"""Parts of a version have at most six digits."""

_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_TARGET = re.compile(r"arn:(?P<partition>[^:]+):iot:(?P<region>[^:]+):(?P<account>\d{12}):thinggroup/(?P<name>.+)")

DEPLOYABLE = "DEPLOYABLE"
_USABLE = frozenset({"REQUESTED", "INITIATED", DEPLOYABLE})


class VersionError(ValueError):
    """A version or a target that cannot be."""


@dataclass(frozen=True, slots=True)
class Published:
    """A version of a component in Greengrass.

    Attributes:
        created: whether it was made now, not found.
    """

    name: str
    version: str
    arn: str
    created: bool


def next_version(wanted: str, published: Iterable[str]) -> str:
    """The version of new content: the one that is wanted, or the patch after the newest one if that is not newer.

    Args:
        wanted: the bundle's version, or the package's.
        published: versions that exist; pre-releases among them are of others and not counted.

    Raises:
        VersionError: ``wanted`` is not a version, or there are no more.
    """
    newest = max((found for text in published if (found := _parse(text)) is not None), default=None)
    first = _parse(wanted)
    if first is None:
        raise VersionError(f"expected a version like 1.2.3, got {wanted!r}; correct it")
    if newest is None or first > newest:
        return wanted
    major, minor, patch = newest
    if patch < _LARGEST:
        return f"{major}.{minor}.{patch + 1}"
    if minor < _LARGEST:
        return f"{major}.{minor + 1}.0"
    raise VersionError(f"expected a version below {major}.{minor}.{patch}, there is none after it; raise the major one")


def component_arn(target_arn: str, component: str) -> str:
    """ARN of a component in the account and region of a thing group.

    Raises:
        VersionError: the target is not a thing group.
    """
    match = _TARGET.fullmatch(target_arn)
    if match is None:
        raise VersionError(f"expected the ARN of a thing group, got {target_arn!r}; correct the settings")
    return f"arn:{match['partition']}:greengrass:{match['region']}:{match['account']}:components:{component}"


def published_versions(greengrass: Any, arn: str) -> list[tuple[str, str]]:
    """Versions of a component with their ARNs, the newest first; empty when there is no such component."""
    found = []
    try:
        for page in greengrass.get_paginator("list_component_versions").paginate(arn=arn):
            found += [(one["componentVersion"], one["arn"]) for one in page.get("componentVersions", [])]
    except greengrass.exceptions.ResourceNotFoundException:
        return []
    return sorted(found, key=lambda one: _parse(one[0]) or (-1, -1, -1), reverse=True)


def find_content(greengrass: Any, versions: Iterable[tuple[str, str]], digest: str) -> tuple[str, str] | None:
    """The newest version with this content, and its ARN; one that Greengrass could not make does not count."""
    for version, arn in _newest(versions):
        described = greengrass.describe_component(arn=arn)
        usable = described.get("status", {}).get("componentState") in _USABLE
        if usable and described.get("tags", {}).get(CONTENT_TAG) == digest:
            return version, arn
    return None


def _newest(versions: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(versions):
        if number == MAX_LOOKED_AT:
            return
        yield one


def _parse(text: str) -> tuple[int, int, int] | None:
    match = _RELEASE.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))
