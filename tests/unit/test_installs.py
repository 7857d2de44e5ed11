"""What a device has to install, and what its programs load."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import tomllib

import sam3edge

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORBIDDEN = {"torch", "torchvision", "transformers", "onnx", "scipy", "boto3", "rasterio", "pyproj", "pyogrio"}


def closure(requirements: list[str]) -> set[str]:
    """Names of all distributions that these requirements bring, as installed here."""
    found: set[str] = set()
    todo = [r for r in requirements if "extra ==" not in r]
    while todo:
        name = re.split(r"[ ;<>=!~\[(]", todo.pop())[0].lower().replace("_", "-")
        if name in found:
            continue
        try:
            requires = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        found.add(name)
        todo += [r for r in requires if "extra ==" not in r]
    return found


def megabytes(name: str) -> float:
    files = metadata.distribution(name).files or []
    return sum(path.stat().st_size for f in files if (path := Path(str(f.locate()))).is_file()) / 2**20


def test_the_device_installs_no_torch(figure: Callable[[str], None]) -> None:
    edge = closure(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["edge"])
    assert not edge & FORBIDDEN
    sizes = {name: megabytes(name) for name in edge}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:4]
    most = ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)
    figure(f"sam3edge[edge]: {sum(sizes.values()):.0f} MB in {len(edge)} packages, most of it {most}")


@pytest.mark.parametrize(
    "module", ["sam3edge.segmenter.__main__", "sam3edge.model.__main__", "sam3edge.uploader.__main__"]
)
def test_the_programs_load_no_torch(module: str, figure: Callable[[str], None]) -> None:
    code = (
        "import sys, time; before = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - before); "
        f"print([name for name in {sorted(FORBIDDEN)!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = result.stdout.splitlines()
    assert loaded == "[]"
    figure(f"{module} imports in {float(seconds):.2f} s")


def test_the_install_step_asks_for_what_the_extra_asks_for() -> None:
    def normal(lines: list[str]) -> set[str]:
        return {line.split("#")[0].replace(" ", "") for line in lines if line.split("#")[0].strip()}

    step = (Path(sam3edge.__file__).parent / "requirements.txt").read_text().splitlines()
    assert normal(step) == normal(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["edge"])


@pytest.mark.parametrize(
    ("extra", "module"),
    [
        ("edge", "sam3edge.segmenter.__main__"),
        ("edge", "sam3edge.invocations.http"),
        ("edge", "sam3edge.uploader.__main__"),
        ("geo", "sam3edge.geo.frames"),
        ("geo", "sam3edge.geo.stage"),
        ("geo", "sam3edge.rasters.segment"),
        ("vector", "sam3edge.vector.files"),
        ("vector", "sam3edge.cli.convert"),
        ("vector", "sam3edge_pipeline.evaluation.vector.__main__"),
        ("batch", "sam3edge_pipeline.batch.__main__"),
        ("client", "sam3edge.cli.main"),
        ("client", "sam3edge.cli.listening"),
        ("subscriber", "sam3edge.cli.main"),
        ("subscriber", "sam3edge.cli.listening"),
        ("subscriber", "sam3edge.subscriber.sinks.geopackages"),
        ("subscriber", "sam3edge.subscriber.subscriber"),
        ("client", "sam3edge.cli.detect"),
        ("export", "sam3edge_export.cli"),
        ("train", "sam3edge_pipeline.training.train"),
        ("train", "sam3edge_pipeline.datasets.__main__"),
        ("train", "sam3edge_pipeline.labeling.__main__"),
        ("train", "sam3edge_pipeline.evaluation.report"),
        ("simulator", "sam3edge_simulator.demo.__main__"),
        ("api", "sam3edge_serving.api.handler"),
        ("api", "sam3edge_simulator.api_gateway.__main__"),
        ("cloud", "sam3edge_serving.endpoint.app"),
    ],
)
def test_every_extra_brings_what_its_package_imports(extra: str, module: str) -> None:
    """In a process that does not see any distribution but those that the extra brings."""
    extras, requirements = PROJECT["optional-dependencies"], list(PROJECT["dependencies"])
    todo = [extra]
    while todo:
        for line in extras[todo.pop()]:
            nested = re.match(r"sam3edge\[(.*)\]", line)
            todo += nested.group(1).split(",") if nested else []
            requirements += [] if nested else [line]
    allowed = closure(requirements)
    hidden = sorted(
        module
        for module, owners in metadata.packages_distributions().items()
        if not module.startswith("sam3edge") and not {o.lower().replace("_", "-") for o in owners} & allowed
    )
    code = (
        "from importlib.machinery import PathFinder\n"
        f"hidden = set({hidden!r})\n"
        "seen = PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        "    return None if name.split('.')[0] in hidden else seen(name, path, target)\n"
        "PathFinder.find_spec = find_spec\n"
        f"import {module}\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
