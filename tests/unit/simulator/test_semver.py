"""Versions and version ranges."""

from __future__ import annotations

import itertools

import pytest

from sam3edge_simulator.recipes.semver import Requirement, Version, VersionError


def test_order_is_that_of_semver_org() -> None:
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.2.0 1.10.0"
    versions = [Version.parse(text) for text in ordered.split()]
    assert all(earlier < later for earlier, later in itertools.pairwise(versions))
    assert [str(version) for version in versions] == ordered.split()


@pytest.mark.parametrize(
    "text", ["1", "1.2", "v1.2.3", "1.2.3.4", "1234567.0.0", "", "NEXT_PATCH", "{COMPONENT_VERSION}"]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(VersionError, match="expected a semantic version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1.2.3", "1.2.3", "1.2.2 1.2.4 1.2.3-rc.1"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        (">=1.0.0 <2.0.0", "1.0.0 1.9.9", "0.9.9 2.0.0 1.5.0-rc.1"),
        (">= 1.0.0", "1.0.0 9.0.0", "0.9.9"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("1.x", "1.0.0 1.9.0", "2.0.0"),
        ("*", "0.0.1 9.9.9", "1.0.0-rc.1"),
        ("", "0.0.1 9.9.9", "1.0.0-rc.1"),
        ("1.0.0 - 2.0.0", "1.0.0 2.0.0", "2.0.1"),
        ("1.0.0 || ^3.0.0", "1.0.0 3.4.0", "2.0.0"),
        (">1.2", "1.3.0", "1.2.9"),
        ("<=1.2", "1.2.9", "1.3.0"),
        (">=1.0.0-rc.1", "1.0.0-rc.2 1.0.0", "1.0.1-rc.1"),
    ],
)
def test_ranges_are_those_of_npm(text: str, inside: str, outside: str) -> None:
    wanted = Requirement.parse(text)
    assert [v for v in inside.split() if not wanted.allows(Version.parse(v))] == []
    assert [v for v in outside.split() if wanted.allows(Version.parse(v))] == []


def test_what_is_no_range() -> None:
    with pytest.raises(VersionError, match="expected a version range"):
        Requirement.parse("newest")
