"""What the log of an installation says of execution providers: ``python -m sam3edge.greengrass.provider_report``.

One line for each that this ONNX Runtime has: whether it runs a small graph, and if not, why. On a Jetson on which no
accelerator runs, also which builds of ONNX Runtime cannot work there and which ones can.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sam3edge.engines.ort import ort
from sam3edge.engines.provider_check import Checked, check_providers
from sam3edge.engines.runtime import ACCELERATORS
from sam3edge.greengrass.jetpack import advice


def report(version: str, checked: Sequence[Checked], system: Path = Path("/")) -> Iterator[str]:
    """The lines.

    Args:
        version: of ONNX Runtime.
        system: root of the file system.
    """
    for one in checked:
        yield f"onnxruntime {version}: {one.provider} {'runs' if one.runs else f'does not run: {one.reason}'}"
    said = advice(system)
    if said and not any(one.runs for one in checked if one.provider in ACCELERATORS):
        yield f"the model will run on the CPU: {said}"


def main() -> int:
    """Write them."""
    sys.stdout.writelines(f"{line}\n" for line in report(ort.__version__, list(check_providers())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
