"""OSML's environment variables as the torch engine's options. Only imported where torch is."""

from __future__ import annotations

import logging
from pathlib import Path

from sam3edge_export.torch_engine.options import Compilation, Launching, TorchOptions
from sam3edge_serving.endpoint.settings import Settings

logger = logging.getLogger(__name__)

_MODES: dict[str, tuple[Compilation, Launching]] = {
    "reduce-overhead": ("default", "cuda-graphs"),
    "max-autotune": ("max-autotune-no-cudagraphs", "cuda-graphs"),  # the engine records its own graphs
    "default": ("default", "static"),
}


def torch_options(settings: Settings, on_gpu: bool) -> TorchOptions:
    """What to run with; what is not set is chosen by whether there is a GPU.

    Raises:
        EngineError: the options contradict each other.
    """
    precision = settings.precision or ("bf16" if on_gpu else "fp32")
    if precision == "fp16":
        logger.warning(
            "MIXED_PRECISION=fp16 runs as bf16: SAM 3's activations leave the range of fp16, and both cost alike"
        )
        precision = "bf16"
    compilation, launching = _MODES[settings.compile_mode]
    if not (on_gpu if settings.compile is None else settings.compile):
        compilation, launching = "none", "eager"
    elif not on_gpu:
        launching = "static"
    return TorchOptions(
        "cuda" if on_gpu else "cpu",
        precision=precision,
        compilation=compilation,
        launching=launching,
        max_images=settings.max_batch,
        compiled=Path(settings.compiled) if settings.compiled else None,
    )
