"""Which build of ONNX Runtime can work on a Jetson: a table by JetPack (``jetpack.json``)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("jetpack.json")


@dataclass(frozen=True, slots=True)
class JetPack:
    """One line of the table.

    Attributes:
        jetpack: its versions.
        jetson_linux: the release of Jetson Linux, or the beginning of it; empty where CUDA tells.
        cannot: which build does not work, and why.
        can: which builds can.
    """

    jetpack: str
    jetson_linux: str
    cuda: str
    tensorrt: str
    python: str
    cannot: str
    can: list[str]


def read_table() -> list[JetPack]:
    """All lines."""
    return [JetPack(**line) for line in json.loads(TABLE.read_text())]


def jetson_linux(system: Path = Path("/")) -> str:
    """The release of Jetson Linux such as ``36.4.3``; empty where this is not a Jetson."""
    try:
        text = (system / "etc" / "nv_tegra_release").read_text(errors="replace")
    except OSError:
        return ""
    release = re.search(r"R(\d+) .*REVISION: ([\d.]+)", text)
    return f"{release[1]}.{release[2]}" if release else ""


def cuda(system: Path = Path("/")) -> str:
    """The version of CUDA that the system has, such as ``13.2``; empty where it has none."""
    found = [re.fullmatch(r"cuda-(\d+)\.(\d+)", path.name) for path in (system / "usr" / "local").glob("cuda-*")]
    versions = sorted((int(match[1]), int(match[2])) for match in found if match)
    return "{}.{}".format(*versions[-1]) if versions else ""


def this_jetpack(system: Path = Path("/")) -> JetPack | None:
    """The line of this device; None where it is not a Jetson, or a newer one than the table knows."""
    release, version = jetson_linux(system), cuda(system)
    if not release:
        return None
    lines = [line for line in read_table() if line.jetson_linux and _begins(release, line.jetson_linux)]
    best = max(lines, key=lambda line: len(line.jetson_linux), default=None)
    return best or next((line for line in read_table() if line.cuda == version), None)


def advice(system: Path = Path("/")) -> str:
    """What to set ``Install.OnnxRuntime`` to on this device; empty where it is not a Jetson."""
    line = this_jetpack(system)
    if line is None:
        release = jetson_linux(system)
        return f"Jetson Linux {release} is newer than docs/jetson.md knows; try an own build" if release else ""
    return (
        f"this is JetPack {line.jetpack} (CUDA {line.cuda}, TensorRT {line.tensorrt}, Python {line.python}). What "
        f"cannot work: {line.cannot}. What can, as Install.OnnxRuntime: {'; '.join(line.can)}"
    )


def _begins(release: str, known: str) -> bool:
    return release == known or release.startswith(known + ".")
