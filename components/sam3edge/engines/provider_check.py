"""Which execution providers really run here: ``python -m sam3edge.engines.provider_check``.

ONNX Runtime's list of providers proves nothing: a wheel may be built for another CUDA, or have no kernels for this GPU.
So a small graph (a convolution, then Relu) is run on each of them and compared with what comes out by hand. Writes a
line of JSON for each provider: ``{"provider", "runs", "reason"}``; and first one with the version of ONNX Runtime.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import PROVIDERS, load_accelerator_libraries

GRAPH = base64.b64decode(
    "CAgSADqRAQoPCgF4CgF3EgFjIgRDb252CgwKAWMSAXkiBFJlbHUSBWNoZWNrKi8IAggBCAIIAhABQgF3SiAAAEDAAAAAwAAAgL8AAAAAAACAPwAAAEAA"
    "AEBAAACAQFobCgF4EhYKFAgBEhAKAggBCgIIAQoCCAMKAggDYhsKAXkSFgoUCAESEAoCCAEKAggCCgIIAgoCCAJCBAoAEA0="
)
"""x [1, 1, 3, 3] -> Conv with the weights -3 to 4 as [2, 1, 2, 2] -> Relu -> y [1, 2, 2, 2]; a test makes it again."""

INPUT = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
OUTPUT = np.array([[[[0, 0], [0, 0]], [[27, 37], [57, 67]]]], np.float32)


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a provider runs the graph; if not, why."""

    provider: str
    runs: bool
    reason: str = ""


def check_providers(available: Sequence[str] | None = None) -> Iterator[Checked]:
    """Run the graph on each of our providers that this ONNX Runtime says it has.

    Args:
        available: instead of what it says.
    """
    there = ort.get_available_providers() if available is None else available
    load_accelerator_libraries(there)
    for provider in PROVIDERS:
        if provider in there:
            reason = _failure(provider)
            yield Checked(provider, not reason, reason)


def _failure(provider: str) -> str:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = ort.InferenceSession(GRAPH, settings, providers=[provider])
        runs_on = session.get_providers()[0]
        if runs_on != provider:
            return f"its libraries do not load, {runs_on} would run instead"
        (found,) = session.run(None, {"x": INPUT})
    except Exception as error:  # ONNX Runtime's exceptions share no base but this one
        return " ".join(str(error).split())[:500]
    return "" if np.allclose(found, OUTPUT, atol=0.1) else f"it computes {found.ravel().tolist()}, which is wrong"


def main() -> int:
    """Write what runs."""
    sys.stdout.write(json.dumps({"onnxruntime": ort.__version__}) + "\n")
    for checked in check_providers():
        sys.stdout.write(json.dumps(asdict(checked)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
