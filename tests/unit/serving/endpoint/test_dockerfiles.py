"""The two images, as far as that can be told without Docker: what they copy, install, and which CUDA they hold."""

from __future__ import annotations

import re
from pathlib import Path

import botocore.session
import pytest
import tomllib

from sam3edge_serving import endpoint

ROOT = Path(__file__).parents[4]
DOCKER = Path(endpoint.__file__).parent / "docker"
FILES = ("Dockerfile.cpu", "Dockerfile.gpu")
GPU_CONSTRAINTS = DOCKER / "constraints-gpu.txt"


def instructions(name: str) -> list[tuple[str, str]]:
    """Instruction and arguments, lines that go on joined."""
    lines = [line for line in (DOCKER / name).read_text().splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def pins(path: Path) -> dict[str, str]:
    """Versions by package."""
    lines = [line.split(";")[0].strip() for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines if "==" in line)


def variables(name: str) -> dict[str, str]:
    """What ENV sets."""
    pairs = [pair for kind, text in instructions(name) if kind == "ENV" for pair in text.split()]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_is_there_and_is_in_the_builds_context(name: str) -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored[0] == "*"
    sources = [s for kind, text in instructions(name) if kind == "COPY" for s in text.split()[:-1]]
    assert "pyproject.toml" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source.partition('/')[0]}" in ignored, source


def test_the_builds_context_has_nothing_that_is_not_copied() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {s for name in FILES for kind, text in instructions(name) if kind == "COPY" for s in text.split()[:-1]}
    assert kept == {source.partition("/")[0] for source in copied}


@pytest.mark.parametrize("name", FILES)
def test_the_extras_and_constraints_exist(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    runs = " ".join(text for kind, text in instructions(name) if kind == "RUN")
    asked = [extra for group in re.findall(r'"\.\[([\w,]+)\]"', runs) for extra in group.split(",")]
    assert "cloud" in asked
    assert set(asked) <= set(extras)
    constraints = re.findall(r"-c ([\w./-]+\.txt)", runs)
    assert constraints
    for path in constraints:
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("name", FILES)
def test_it_starts_as_sagemaker_starts_containers_and_without_rights(name: str) -> None:
    told = dict(instructions(name))
    assert told["ENTRYPOINT"] == '["python", "-m", "sam3edge_serving.endpoint"]'
    assert told["CMD"] == '["serve"]'
    assert told["USER"] != "root"
    assert told["ARG"].split("=")[0] == "BASE"
    assert re.fullmatch(r"BASE=[\w.-]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*", told["ARG"])  # a version, never latest
    assert variables(name)["SAM3EDGE_BIND_TO_HOST"] == "0.0.0.0"


def test_the_gpu_image_holds_one_generation_of_cuda() -> None:
    versions = pins(GPU_CONSTRAINTS)
    runtime = versions["nvidia-cuda-runtime"].split(".")
    generations = {found[1] for package in versions if (found := re.search(r"-cu(\d+)$", package))}
    assert generations == {runtime[0]}
    assert versions["cuda-toolkit"].split(".")[:2] == runtime[:2]
    told = variables("Dockerfile.gpu")
    assert told["NVIDIA_REQUIRE_CUDA"] == f"cuda>={runtime[0]}.{runtime[1]}"
    assert told["SAM3EDGE_PROVIDERS"] == "CUDAExecutionProvider"
    base = dict(instructions("Dockerfile.gpu"))["ARG"]
    assert "cuda" not in base  # all of it comes with pip


def test_the_gpu_image_has_the_versions_that_are_tested_here() -> None:
    ours, gpu = pins(ROOT / "constraints.txt"), pins(GPU_CONSTRAINTS)
    assert gpu["torch"] == ours["torch"]
    assert gpu["onnxruntime-gpu"] == ours["onnxruntime"].strip()


def test_sagemaker_has_hosts_with_the_driver() -> None:
    text = GPU_CONSTRAINTS.read_text()
    ami = re.search(r"InferenceAmiVersion: (\S+)", text)
    driver = re.search(r"driver (\d+) or newer", text)
    assert ami is not None
    assert driver is not None
    service = botocore.session.get_session().get_service_model("sagemaker")
    assert ami[1] in service.shape_for("ProductionVariantInferenceAmiVersion").enum
    described = service.shape_for("ProductionVariant").members["InferenceAmiVersion"].documentation
    about = re.sub(r"<[^>]+>", " ", described.split(f"<dt>{ami[1]}</dt>")[1].split("<dt>")[0])
    assert f"NVIDIA driver version: {driver[1]}" in about
    major, minor = pins(GPU_CONSTRAINTS)["nvidia-cuda-runtime"].split(".")[:2]
    assert f"CUDA version: {major}.{minor}" in about
