"""What exported graphs compute in: ``fp32``, ``fp16-weights``, ``fp16``, ``bf16``, ``int8``."""

from sam3edge_export.onnx.precision.emulation import emulate
from sam3edge_export.onnx.precision.errors import PrecisionError
from sam3edge_export.onnx.precision.presets import (
    PRECISIONS,
    Brain,
    Half,
    HalfStorage,
    Int8,
    Precision,
    Single,
    precision_named,
)

__all__ = [
    "PRECISIONS",
    "Brain",
    "Half",
    "HalfStorage",
    "Int8",
    "Precision",
    "PrecisionError",
    "Single",
    "emulate",
    "precision_named",
]
