"""The precisions that a bundle can have.

name            graphs compute in                 weights   needs
fp32            float32                           fp32
fp16-weights    float32                           fp16      nothing: what devices without a GPU run
fp16            float16 but for ``rules.HALF``    fp16      a GPU to be fast
bf16            bfloat16 but for ``rules.BRAIN``  bf16      a CUDA provider to run at all
int8            backbone int8, rest float32       int8      images to calibrate on; TensorRT to be fast on a GPU
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from onnx import TensorProto, helper

from sam3edge.core.types import RgbImage
from sam3edge.engines.ort import ort
from sam3edge_export.onnx.precision.calibration import channel_magnitudes, computed, largest_magnitudes
from sam3edge_export.onnx.precision.errors import PrecisionError
from sam3edge_export.onnx.precision.graph import Graph, read_graph, write_graph
from sam3edge_export.onnx.precision.half_precision import narrow_graph
from sam3edge_export.onnx.precision.quantization import products_before, quantize_products, smooth_products
from sam3edge_export.onnx.precision.rules import BRAIN, HALF
from sam3edge_export.onnx.precision.storage import store_in_half

logger = logging.getLogger(__name__)

Numbers = Literal["fp32", "fp16", "bf16", "int8"]

VISION = "vision.onnx"

HEADROOM = 4.0
"""Activations that come within this factor of float16's largest number on the images given are kept in float32."""

LOOKED_AT = 2
"""Images that activations are measured on for float16. At full size each takes half a minute on two cores, and what
leaves the range, a handful of channels, does so on every image; the gate has the last word."""


class Precision(Protocol):
    """What the graphs of a bundle compute in and how their weights are stored."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    @property
    def computes_in(self) -> Numbers:
        """``precision`` of the manifest."""
        ...

    @property
    def stores(self) -> Numbers:
        """``weights`` of the manifest."""
        ...

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """Rewrite every graph in ``folder``, which ``export_graphs`` wrote in float32.

        Names of inputs and outputs stay, and so do the types of those that the host reads or writes; the tensors that
        go from graph to graph (``rules.TRAVELLERS``) may change theirs, in all graphs alike.

        Args:
            folder: holds ``vision.onnx`` and others.
            images: uint8 [H, W, 3] RGB of any sizes, like those that the device will see: activations are measured on
                them.

        Raises:
            PrecisionError: a graph is not as expected, or there are no images where some are needed. Some graphs may
                have been rewritten.
        """
        ...

    def runs_on(self, provider: str) -> bool:
        """Whether the execution provider of the ONNX Runtime installed here has kernels for it."""
        ...


class Single:
    """Everything in float32."""

    name = "fp32"
    computes_in: ClassVar[Numbers] = "fp32"
    stores: ClassVar[Numbers] = "fp32"

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """See ``Precision``: nothing is to be done."""

    def runs_on(self, provider: str) -> bool:
        """See ``Precision``."""
        return provider in ort.get_available_providers()


class HalfStorage:
    """Large weights stored in float16 and widened at load; computed in float32."""

    name = "fp16-weights"
    computes_in: ClassVar[Numbers] = "fp32"
    stores: ClassVar[Numbers] = "fp16"

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """See ``Precision``; images are not looked at."""
        for path in graphs_in(folder):
            graph = read_graph(path)
            graph.require_float32()
            store_in_half(graph)
            write_graph(graph, path)

    def runs_on(self, provider: str) -> bool:
        """See ``Precision``."""
        return provider in ort.get_available_providers()


class Half:
    """Computed in float16, but for what needs float32.

    On images, the backbone's activations are measured first, and those near the end of float16's range are kept in
    float32 with what computes with them. Without images weights alone are looked at.
    """

    name = "fp16"
    computes_in: ClassVar[Numbers] = "fp16"
    stores: ClassVar[Numbers] = "fp16"

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """See ``Precision``."""
        for path in graphs_in(folder):
            # before the graph is read to be rewritten: at full size it is 1.8 GB, and measuring needs the room
            wide = self._wide(path, images) if path.name == VISION and images else []
            graph = read_graph(path)
            narrow_graph(graph, HALF, wide)
            write_graph(graph, path)

    def runs_on(self, provider: str) -> bool:
        """See ``Precision``. The CPU provider runs float16 graphs in float32 for the most part (``emulation``)."""
        return _multiplies(TensorProto.FLOAT16, provider)

    def _wide(self, path: Path, images: Sequence[RgbImage]) -> list[str]:
        limit = HALF.form.largest / HEADROOM
        found = largest_magnitudes(path, _computed_in(path), images[:LOOKED_AT])
        wide = {value: largest for value, largest in found.items() if not largest <= limit}
        for value, largest in wide.items():
            logger.warning("%s: %s reaches %.3g on the images given and stays float32", path.stem, value, largest)
        return list(wide)


def _computed_in(path: Path) -> list[str]:
    graph = read_graph(path)
    return computed(graph.nodes, graph.floats)


class Brain:
    """Matrix products, attention and their neighbours in bfloat16; convolutions, for which ONNX Runtime has no bfloat16
    kernels, in float32."""

    name = "bf16"
    computes_in: ClassVar[Numbers] = "bf16"
    stores: ClassVar[Numbers] = "bf16"

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """See ``Precision``; images are not looked at, bfloat16 has float32's range."""
        for path in graphs_in(folder):
            graph = read_graph(path)
            narrow_graph(graph, BRAIN)
            write_graph(graph, path)

    def runs_on(self, provider: str) -> bool:
        """See ``Precision``. The CPU provider of ONNX Runtime 1.31 has no bfloat16 matrix product."""
        return _multiplies(TensorProto.BFLOAT16, provider)


class Int8:
    """The backbone's matrix products in int8, calibrated; the rest in float32 with weights stored in float16."""

    name = "int8"
    computes_in: ClassVar[Numbers] = "int8"
    stores: ClassVar[Numbers] = "int8"

    def apply(self, folder: Path, images: Sequence[RgbImage]) -> None:
        """See ``Precision``."""
        if not images:
            raise PrecisionError(
                "int8 is calibrated on images and got none; give a folder with some ten images like those that the "
                "device will see, or choose another precision"
            )
        for path in graphs_in(folder):
            graph = read_graph(path)
            graph.require_float32()
            if path.name == VISION:
                self._quantize(path, graph, images)
            store_in_half(graph)
            write_graph(graph, path)

    def runs_on(self, provider: str) -> bool:
        """See ``Precision``."""
        return provider in ort.get_available_providers()

    def _quantize(self, path: Path, graph: Graph, images: Sequence[RgbImage]) -> None:
        products = products_before(graph, "fine")
        widths = {p.activation: graph.weights[p.weight].dims[0] for p in products}
        magnitudes = channel_magnitudes(path, widths, images)
        products, limits = smooth_products(graph, products, magnitudes)
        quantize_products(graph, products, limits)


PRECISIONS: tuple[Precision, ...] = (Single(), HalfStorage(), Half(), Brain(), Int8())


def precision_named(name: str) -> Precision:
    """The precision of that name.

    Raises:
        PrecisionError: there is none.
    """
    for precision in PRECISIONS:
        if precision.name == name:
            return precision
    raise PrecisionError(f"no precision is called {name!r}; there are {', '.join(p.name for p in PRECISIONS)}")


def graphs_in(folder: Path) -> list[Path]:
    """The ONNX files of a folder.

    Raises:
        PrecisionError: there is no vision graph among them.
    """
    if not (folder / VISION).is_file():
        raise PrecisionError(f"{folder.name} holds no {VISION}; expected a folder that export_graphs wrote")
    return sorted(folder.glob("*.onnx"))


def _multiplies(kind: int, provider: str) -> bool:
    """Whether a provider has a matrix product for an element type: asked of the provider itself."""
    if provider not in ort.get_available_providers():
        return False
    values = {name: helper.make_tensor_value_info(name, kind, [8, 8]) for name in ("a", "b", "c")}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "ask", [*values.values()][:2], [values["c"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    if provider != "CPUExecutionProvider":
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        ort.InferenceSession(model.SerializeToString(), settings, providers=[provider])
    except Exception:  # ONNX Runtime's exceptions share no base but this one; any means that it does not run
        return False
    return True
