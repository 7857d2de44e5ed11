"""Which operators may compute in a 16-bit format, and which must not.

``python -m sam3edge_export.onnx.precision.ablation BUNDLE FOLDER`` measures what the rules are worth, every 16-bit
operator rounding its result. With the demo bundle on six of the sample scenes the largest differences from float32
are, in float16 and bfloat16,

    rules                                           logits            scores              boxes
    as they are                                     0.027   0.14      0.0026   0.025      0.0016   0.009
    without ``exact_outputs`` and ``steep``         0.038   0.28      0.0058   0.063      0.0027   0.015
    LayerNormalization computed in float32, too     0.012   0.11      0.0026   0.020      0.0011   0.006

Most of what the first two protect is in both, the box refinement; either alone does as well on these graphs. Exact
normalisations are not worth two casts each, 64 times in the backbone. Softmax, also over the 5184 tokens of an image,
needs no rule: kernels accumulate it in float32, and its results are rounded like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from sam3edge_export.onnx.precision.formats import BFloat16, Float16, Format


def _names(spaced: str) -> frozenset[str]:
    return frozenset(spaced.split())


MOVEMENT = _names(
    "Concat Expand Flatten Gather GatherElements Identity IsNaN Pad Reshape Shape Size Slice Split "
    "Squeeze Tile Transpose Unsqueeze Where"
)
"""Operators that move numbers and leave them as they are: they follow their inputs."""

MATRIX = _names("MatMul Gemm Conv ConvTranspose Einsum LayerNormalization")
"""Operators that always go back to 16 bits. LayerNormalization is one: by the ONNX standard its statistics are computed
in ``stash_type``, float32, whatever its input."""

HOST_OUTPUTS = frozenset({"scores", "boxes", "logits", "presence", "quality"})
"""Outputs that the host reads as numbers. What leads to them from the last normalisation on is computed in float32: the
box refinement (each layer adds to the inverse sigmoid of the box before), the presence head, dot-product scoring with
its mean pooling, the score rule."""

STEEP = frozenset({"Sin", "Cos", "Log"})
"""Functions that turn a small relative error of a large argument, or of an argument near zero, into a large error: sine
position encodings of boxes and points, logarithmic distances. What they are functions of is computed in float32."""

TRAVELLERS = _names("fine medium coarse geometry tokens encoded prompt queries prompt_geometry embedding middle finest")
"""Tensors that go from graph to graph on the accelerator: they travel in 16 bits. All other inputs and outputs keep
their types: the host reads and writes them, and for it float32 is the fastest (numpy widens float16 in software)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to bring a graph to a 16-bit format.

    Attributes:
        form: the format.
        islands: operators that compute in float32 between two casts, since no kernel for 16 bits exists or the standard
            leaves open in what they accumulate.
        operators: the operators that have a kernel for the format, where that are few; None for all that the standard
            allows.
        exact_outputs: see ``HOST_OUTPUTS``.
        steep: see ``STEEP``.
        travellers: see ``TRAVELLERS``.
    """

    form: Format
    islands: frozenset[str]
    operators: frozenset[str] | None = None
    exact_outputs: frozenset[str] = HOST_OUTPUTS
    steep: frozenset[str] = STEEP
    travellers: frozenset[str] = TRAVELLERS


HALF = Rules(
    Float16(),
    # InstanceNormalization: the standard says nothing of its accumulator, and a group of a mask map has 2.6 million
    # numbers; RoiAlign and GridSample: no float16 kernel in ONNX Runtime's CUDA provider
    islands=frozenset({"InstanceNormalization", "RoiAlign", "GridSample"}),
)

BRAIN = Rules(
    BFloat16(),
    islands=frozenset({"InstanceNormalization"}),
    # what ONNX Runtime's CUDA provider has bfloat16 kernels for, by docs/OperatorKernels.md of its repository; Conv,
    # ConvTranspose and Einsum are not among them, and the standard does not allow them before opset 22
    operators=_names(
        "Add Concat Expand Gather GatherElements Gelu Gemm Identity IsNaN LayerNormalization MatMul "
        "Mul Neg Relu Reshape Shape Sigmoid Slice Softmax Split Squeeze Sub Transpose Unsqueeze"
    ),
)
