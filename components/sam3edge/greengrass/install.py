"""The install step of both components: a Python for the component, at ``<work>/python``.

Runs with the device's own Python and nothing installed. The environment is built once for each list of requirements and
kept, so that a restart or a new version of our code needs no network.

    python3 install.py --work WORK --requirements requirements.txt [--onnxruntime PACKAGE] [--packages PACKAGES]
        [--interpreter PYTHON]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)
CHECK_SECONDS = 300.0
"""TensorRT loads for long when it is loaded for the first time."""


def main() -> int:
    """Provide ``<work>/python``; says on standard error what it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--onnxruntime", default="", help="another build of ONNX Runtime: a package, wheel or URL")
    parser.add_argument("--packages", default="", help="more packages, with spaces between them: boto3 for SageMaker")
    parser.add_argument("--interpreter", default="", help="a Python that has everything already; nothing is installed")
    arguments = parser.parse_args()
    if sys.version_info < OLDEST:
        sys.stderr.write(f"expected Python {OLDEST[0]}.{OLDEST[1]} or newer, this is {sys.version.split()[0]}\n")
        return 1
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.interpreter:
        python = Path(arguments.interpreter)
    else:
        requirements = "\n".join([arguments.requirements.read_text(), *arguments.packages.split()])
        python = environment(arguments.work, requirements, arguments.onnxruntime)
    launcher = arguments.work / "python"
    fresh = arguments.work / "python.new"
    # a launcher and not a link: through a link, Python would not find the environment that it belongs to
    fresh.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    fresh.chmod(0o755)
    fresh.replace(launcher)
    check = subprocess.run(
        [str(launcher), "-c", "import cv2, numpy, onnxruntime, shapely, awsiot, urllib3"], check=False
    )
    if check.returncode:
        sys.stderr.write(
            f"{python} lacks packages of the component; install them or let Install.Interpreter be empty\n"
        )
        return check.returncode
    report_providers(launcher)
    return 0


def report_providers(python: Path) -> None:
    """Say which execution providers run here. It is no reason not to install: the CPU always does."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [str(python), "-m", "sam3edge.greengrass.provider_report"]
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=CHECK_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"the execution providers could not be checked: {error}\n")
    else:
        sys.stderr.write(ran.stdout)


def environment(work: Path, requirements: str, onnxruntime: str) -> Path:
    """The Python of a virtual environment that has the requirements."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    wanted = [line for line in lines if line]
    if onnxruntime:
        wanted = [line for line in wanted if not line.startswith("onnxruntime")] + [onnxruntime]
    name = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:12]
    target = work / f"environment-{name}"
    if not (target / "complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
        install = [str(target / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", *wanted]
        subprocess.run(install, check=True)
        (target / "complete").touch()
    for old in work.glob("environment-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
