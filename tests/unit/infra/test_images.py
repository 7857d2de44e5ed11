"""The images of the Lambda functions, as far as that can be told without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import get_args

import grimp
import pytest

from sam3edge_infra.constructs.images import DOCKERFILES, BuiltImages, ImageName, copied
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
    sources = {source for kind, text in instructions(name) if kind == "COPY" for source in text.split()[:-1]}
    assert sources == set(copied(ROOT / DOCKERFILES[name]))
    assert {source.partition("/")[0] for source in sources} <= kept
    assert all((ROOT / source).exists() for source in sources)


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


ENTRIES: dict[ImageName, str] = {
    "endpoint-cpu": r"sam3edge_serving\.endpoint\.__main__",
    "endpoint-gpu": r"sam3edge_serving\.endpoint\.__main__",
    "pipeline": r"sam3edge_pipeline\.steps\.\w+",
    "functions": r"sam3edge_pipeline\.(\w+\.handlers|provisioning\.hook)",
    "api": r"sam3edge_serving\.api\.(handler|authorizer)",
}
"""Modules that are run in each image."""


@pytest.mark.parametrize("name", get_args(ImageName))
def test_an_image_copies_every_module_that_it_runs(name: ImageName) -> None:
    packages = {"sam3edge": "components", "sam3edge_export": "export"}
    packages |= dict.fromkeys(("sam3edge_pipeline", "sam3edge_serving"), "pipeline")
    graph = grimp.build_graph(*packages)
    entries = {module for module in graph.modules if re.fullmatch(ENTRIES[name], module)}
    assert entries
    reached = entries.union(*(graph.find_upstream_modules(module) for module in entries))
    sources = copied(ROOT / DOCKERFILES[name])
    files = {f"{packages[module.partition('.')[0]]}/{module.replace('.', '/')}" for module in reached}
    assert not {file for file in files if not any(f"{file}/".startswith(f"{source}/") for source in sources)}


REPOSITORY = (
    *("pyproject.toml", "constraints.txt", ".dockerignore", "README.md", "LICENSE"),
    *("components", "export", "pipeline"),
)


def digests(root: Path) -> dict[ImageName, str]:
    """Tags of all images that would be built of a repository: their contexts' digests."""
    import aws_cdk as cdk

    cdk.AssetStaging.clear_asset_hash_cache()
    stack = cdk.Stack(cdk.App(analytics_reporting=False, outdir=str(root / "build" / "cdk")), "images")
    return {name: BuiltImages(root).image(stack, name).tag for name in get_args(ImageName)}


@pytest.mark.skipif(shutil.which("node") is None, reason="the CDK needs Node.js")
def test_an_image_changes_with_what_is_in_it_and_with_nothing_else(tmp_path: Path) -> None:
    """Another image is another function, another model, and an update of the endpoint."""
    for name in REPOSITORY:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    before = digests(tmp_path)

    def changed_by(path: str) -> set[ImageName]:
        file = tmp_path / path
        kept = file.read_bytes()
        file.write_bytes(kept + b"\n# another line\n")
        after = digests(tmp_path)
        file.write_bytes(kept)
        return {name for name in after if after[name] != before[name]}

    for words in ("README.md", "LICENSE", "components/README.md", "pipeline/sam3edge_serving/api/README.md"):
        assert changed_by(words) == set(), words
    assert changed_by("pipeline/sam3edge_pipeline/rollout/steps.py") == {"pipeline", "functions"}
    assert changed_by("pipeline/sam3edge_serving/api/handler.py") == {"endpoint-cpu", "endpoint-gpu", "api"}
    assert changed_by("export/sam3edge_export/build.py") == {"endpoint-cpu", "endpoint-gpu", "pipeline"}
    assert changed_by("components/sam3edge/core/flow.py") == set(get_args(ImageName))
    assert changed_by("constraints.txt") == set(get_args(ImageName))
