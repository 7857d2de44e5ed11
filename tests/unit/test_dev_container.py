"""The dev container has what continuous integration has. It is not built here: that takes Docker."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".devcontainer"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
CONFIGURATION = json.loads((FOLDER / "devcontainer.json").read_text())


def packages(text: str) -> set[str]:
    """Of Debian, that a script installs."""
    (line,) = re.findall(r"apt-get install (.+)", text)
    return {word for word in line.split() if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word)}


def argument(name: str) -> set[str]:
    """Words of an argument of the Dockerfile."""
    (value,) = re.findall(rf'^ARG {name}="?([^"\n]+)"?$', DOCKERFILE, re.MULTILINE)
    return set(value.split())


def test_debians_packages_are_those_of_continuous_integration() -> None:
    assert argument("CI_PACKAGES") == packages((ROOT / ".ci" / "run").read_text())


def test_what_make_and_the_cdk_call_is_installed() -> None:
    assert {"make", "git"} <= argument("TOOLS")
    assert "${CI_PACKAGES} ${TOOLS}" in DOCKERFILE
    assert "/usr/local/bin/node" in DOCKERFILE


def test_versions_are_pinned_and_accepted_by_the_project() -> None:
    (python,) = argument("PYTHON")
    (node,) = argument("NODE")
    minor = re.fullmatch(r"3\.(\d+)\.\d+-slim-bookworm", python)
    assert minor is not None
    assert 10 <= int(minor[1]) < 14  # requires-python of pyproject.toml
    assert re.fullmatch(r"(22|24)\.\d+\.\d+-bookworm-slim", node)  # the CDK's library supports no older one
    assert all(re.search(r":\d+\.\d+\.\d+$", feature) for feature in CONFIGURATION["features"])


def test_the_configuration_names_what_is_there() -> None:
    assert (FOLDER / CONFIGURATION["build"]["dockerfile"]).is_file()
    assert f"useradd --create-home --shell /bin/bash --uid 1000 {CONFIGURATION['remoteUser']}" in DOCKERFILE
    target = CONFIGURATION["postCreateCommand"].removeprefix("make ")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
