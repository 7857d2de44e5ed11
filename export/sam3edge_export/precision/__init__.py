"""What exported graphs compute in: ``fp32``, ``fp16-weights``, ``fp16``, ``bf16``, ``int8``."""

from sam3edge_export.precision.choices import (
    PRECISIONS,
    Brain,
    Half,
    HalfStorage,
    Int8,
    Precision,
    Single,
    precision_named,
)
from sam3edge_export.precision.emulation import emulate
from sam3edge_export.precision.errors import PrecisionError

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
