"""How the torch engine runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from sam3edge.core.errors import EngineError

Precision = Literal["fp32", "bf16"]
Compilation = Literal["none", "default", "max-autotune-no-cudagraphs"]
Launching = Literal["eager", "static", "cuda-graphs"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a model is called in the answers: ``name``, ``version`` and ``digest`` as in ``ModelInfo``."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How to run the model.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, or ``bf16`` with what is sensitive kept in single precision, see ``precision.py``. There is
            no fp16: the activations of a 32 layer ViT leave its range, and bf16 costs the same.
        compilation: mode of ``torch.compile`` for the repeated layers, or ``none``.
        launching: ``eager`` runs every stage at its own size; ``static`` at a few fixed sizes on fixed memory;
            ``cuda-graphs`` records these and replays them, so that a run costs the host three launches.
        max_images: images in one run of the vision graph; more are answered in several runs. What bounds it is memory:
            at 1008 pixels and bf16 each holds 56 MB of feature maps.
        max_pairs: (image, prompt) pairs in one run of the decoder; more are answered in several runs.
        max_exemplars: boxes of a prompt, unless launching is ``eager``, where any number will do. Every prompt carries
            so many tokens for them beside its words, which costs next to nothing.
        max_instances: at most this many instances a prompt, best first.
        max_phrases: phrases whose text features are kept, the least recently used leave; 32 KB each.
        compiled: folder that keeps compiled code for the next start, see ``compiled_code.py``.

    Raises:
        EngineError: the options contradict each other, or torch sees no such device.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    compilation: Compilation = "none"
    launching: Launching = "eager"
    max_images: int = 16
    max_pairs: int = 16
    max_exemplars: int = 8
    max_instances: int = 100
    max_phrases: int = 4096
    compiled: Path | None = None

    def __post_init__(self) -> None:
        for name in ("max_images", "max_pairs", "max_exemplars", "max_instances", "max_phrases"):
            if getattr(self, name) < 1:
                raise EngineError(f"{name} must be 1 or more, not {getattr(self, name)}")
        kind = self.device.split(":")[0]
        if kind not in ("cpu", "cuda"):
            raise EngineError(f"the device must be cpu, cuda or cuda:N, not {self.device!r}")
        if kind == "cpu" and self.launching == "cuda-graphs":
            raise EngineError("CUDA graphs need a CUDA device; give device='cuda' or launching='eager'")
        if kind == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                f"torch {torch.__version__} sees no CUDA device; install its CUDA build and the driver, or choose "
                "device='cpu'"
            )

    @property
    def dtype(self) -> torch.dtype:
        """What the bulk of the model is computed in."""
        return DTYPES[self.precision]


REFERENCE = TorchOptions()
"""What exports are compared with: the CPU, single precision, nothing compiled."""


def cloud_options(device: str = "cuda") -> TorchOptions:
    """What the endpoint runs with."""
    return TorchOptions(device, precision="bf16", compilation="default", launching="cuda-graphs")
