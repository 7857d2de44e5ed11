"""Where the engines lie that TensorRT builds from a bundle's graphs.

Building takes minutes, and what was built fits one GPU, driver and runtime only: ONNX Runtime asks that the cache is
removed when any of them changes ("TensorRT Execution Provider" in its documentation). So all of them are in the name of
the folder, and folders that are no longer used are removed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sam3edge.engines.ort import ort

logger = logging.getLogger(__name__)

KEEP = 2
"""Folders that stay beside the one in use: the bundle before it, to go back to, and one for good measure."""

_OURS = re.compile(r"[0-9a-f]{16}(_.+)?")
_NVIDIA_SMI_SECONDS = 20.0
"""Without persistence mode the first call initialises the GPU."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a built engine depends on beside the graphs; empty where it cannot be told.

    Attributes:
        gpu: name of the GPU, or of the whole Jetson.
        capability: CUDA compute capability, such as ``9.0``.
        driver: version of the driver, or the release of Jetson Linux.
        tensorrt: version of TensorRT.
    """

    gpu: str = ""
    capability: str = ""
    driver: str = ""
    tensorrt: str = ""


def engine_cache(root: Path, digest: str, identify: Callable[[], Accelerator] | None = None) -> Path:
    """The folder for the engines of one bundle on this machine, made if it is not there.

    Args:
        root: of all such folders; those of other bundles, GPUs and drivers go, but for the ``KEEP`` used last.
        digest: of the bundle, ``sha256:<hex>``.
        identify: tells what the engines run on; ``this_accelerator`` when left out.
    """
    name = f"{digest.removeprefix('sha256:')[:16]}_{machine(identify)}"
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    others = [p for p in root.iterdir() if p.is_dir() and p != folder and _OURS.fullmatch(p.name)]
    for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[KEEP:]:
        logger.info("removing the old engine cache %s", old.name)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def machine(identify: Callable[[], Accelerator] | None = None) -> str:
    """What the result of a graph may depend on beside the graph: GPU, driver, TensorRT and ONNX Runtime, as a name."""
    accelerator = (identify or this_accelerator)()
    trt = f"trt{accelerator.tensorrt}" if accelerator.tensorrt else ""
    parts = (accelerator.gpu, accelerator.capability, accelerator.driver, trt, f"ort{ort.__version__}")
    return "_".join(_slug(part) for part in parts if part)


def this_accelerator(system: Path = Path("/"), query: Callable[[], str] | None = None) -> Accelerator:
    """What this machine computes on: by ``nvidia-smi``, else by what a Jetson or the driver's kernel module says.

    Args:
        system: root of the file system.
        query: returns lines of ``name, compute capability, driver``; raises OSError or SubprocessError.
    """
    try:
        lines = sorted(set((query or _nvidia_smi)().strip().splitlines()))
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("nvidia-smi does not tell what this machine has: %s", error)
        lines = []
    trt = _tensorrt(system)
    columns = [[column.strip() for column in line.split(",")] for line in lines]
    if columns and all(len(row) == 3 for row in columns):
        gpu, capability, driver = ("+".join(dict.fromkeys(column)) for column in zip(*columns, strict=True))
        return Accelerator(gpu, capability, driver, trt)
    release = re.search(r"R(\d+) .*REVISION: ([\d.]+)", _read(system / "etc/nv_tegra_release"))
    if release is not None:
        return Accelerator(_read(system / "proc/device-tree/model"), "", f"r{release[1]}.{release[2]}", trt)
    module = re.search(r"Kernel Module.*?(\d+\.\d[\d.]*)", _read(system / "proc/driver/nvidia/version"))
    return Accelerator(driver=module[1] if module is not None else "", tensorrt=trt)


def _tensorrt(system: Path) -> str:
    """By the name of its library where the system has it, else by pip's package."""
    libraries = [path.name for path in system.glob("usr/lib/*/libnvinfer.so.*.*")]
    versions = sorted(
        match[1] for name in libraries if (match := re.fullmatch(r"libnvinfer\.so\.(\d+\.\d[\d.]*)", name))
    )
    if versions:
        return versions[-1]
    for package in ("tensorrt_cu13", "tensorrt_cu12", "tensorrt"):
        with suppress(PackageNotFoundError):
            return version(package)
    return ""


def _nvidia_smi() -> str:
    command = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_NVIDIA_SMI_SECONDS).stdout


def _read(path: Path) -> str:
    """A small file of the system, empty if it is not there; the device tree ends its texts with a NUL."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-")[:60]
