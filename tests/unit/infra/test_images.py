"""The images of the Lambda functions, as far as that can be told without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from typing import get_args

import pytest

from sam3edge_infra.constructs.images import DOCKERFILES, ImageName
from sam3edge_infra.stages.files import ROOT
from unit.test_installs import PROJECT, closure

NOT_NEEDED = {"sam3edge", "certifi", "cloudpickle"}
"""This project; certificates, which botocore has of its own; and what pyarrow takes along where it is installed."""


def instructions(name: ImageName) -> list[tuple[str, str]]:
    """Instruction and arguments, lines that go on joined."""
    lines = [line for line in (ROOT / DOCKERFILES[name]).read_text().splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def test_every_image_has_a_dockerfile() -> None:
    assert set(DOCKERFILES) == set(get_args(ImageName))
    for path in DOCKERFILES.values():
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("name", ["functions", "api"])
def test_what_is_copied_is_there_and_is_in_the_builds_context(name: ImageName) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for kind, text in instructions(name) if kind == "COPY" for source in text.split()[:-1]}
    assert copied <= kept
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("name", ["functions", "api"])
def test_it_starts_as_lambda_starts_containers_and_without_rights(name: ImageName) -> None:
    told = dict(instructions(name))
    assert json.loads(told["ENTRYPOINT"]) == ["python", "-m", "awslambdaric"]
    assert told["USER"] != "root"
    assert re.fullmatch(r"BASE=[\w.-]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*", told["ARG"])


def distributions(module: str) -> set[str]:
    """Names of the distributions whose modules a module loads."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    of = metadata.packages_distributions()
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    return {of[name][0].lower().replace("_", "-") for name in loaded if name in of} - NOT_NEEDED


@pytest.mark.parametrize("package", ["rollout", "labeling", "retraining", "fleet_health"])
def test_the_functions_image_has_what_they_import(package: str) -> None:
    runs = " ".join(text for kind, text in instructions("functions") if kind == "RUN")
    [extras] = re.findall(r'"\.\[([\w,]+)\]"', runs)
    wanted = [one for extra in extras.split(",") for one in PROJECT["optional-dependencies"][extra]]
    edge = PROJECT["optional-dependencies"]["edge"]
    installed = closure([*PROJECT["dependencies"], *edge, *(one for one in wanted if not one.startswith("sam3edge"))])
    assert distributions(f"sam3edge_pipeline.{package}.handlers") <= installed
