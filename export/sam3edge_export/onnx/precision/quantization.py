"""The vision encoder's matrix products in 8-bit integers.

Symmetric, as TensorRT asks for and as processors without VNNI compute without saturation: activations with one scale a
tensor, weights with one scale an output channel, written as pairs of QuantizeLinear and DequantizeLinear that execution
providers fuse with the product between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge_export.onnx.precision.errors import PrecisionError
from sam3edge_export.onnx.precision.graph import Graph

LEVELS = 127
"""-127..127: symmetric, so that zero is exact."""

MIGRATION = 0.7
"""How much of an activation's range goes into the weights. Of 0, 0.3, 0.5, 0.6, 0.7, 0.8 and 1 it changes the fewest
masks of the demo model: IoU with float32's 0.9936 on average; 0.983 with 0, that is, without smoothing. Cutting
outliers at a percentile, or where the squared error is least, did no better than the largest magnitude."""

TINY = 1e-5
"""Channels smaller than this count as this large: a dead one would ask for an endless factor."""

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with constant weights.

    Attributes:
        node: its name.
        activation: name of what goes in, float32 [..., K].
        weight: name of the constant, float32 [K, N].
    """

    node: str
    activation: str
    weight: str


def products_before(graph: Graph, output: str) -> list[Product]:
    """The matrix products with constant weights that lead to ``output``, in the graph's order.

    Before ``fine`` of the vision graph these are the projections of the attentions and the MLPs of the backbone: the
    patch embedding and the feature pyramid are convolutions, the geometry encoder comes after it.

    Raises:
        PrecisionError: there are none.
    """
    nodes = graph.nodes
    maker = {value: index for index, node in enumerate(nodes) for value in node.output}
    found: set[int] = set()
    open_ = [maker[output]] if output in maker else []
    while open_:
        index = open_.pop()
        if index not in found:
            found.add(index)
            open_ += [maker[v] for v in nodes[index].input if v in maker]
    products = [
        Product(node.name, node.input[0], node.input[1])
        for node in (nodes[i] for i in sorted(found))
        if node.op_type == "MatMul"
        and node.input[1] in graph.weights
        and len(graph.weights[node.input[1]].dims) == 2
        and graph.weights[node.input[1]].data_type == TensorProto.FLOAT
    ]
    if not products:
        raise PrecisionError(f"{graph.name} has no float32 matrix products before {output}; expected a vision graph")
    return products


def smooth_products(
    graph: Graph, products: list[Product], magnitudes: Mapping[str, Singles]
) -> tuple[list[Product], dict[str, float]]:
    """Divide the channels of activations by factors and multiply the rows of weights by them, in place: outlying
    channels, which would take the integers from all others, share their range with the weights.

    The factor is ``activation ** a / weight ** (1 - a)`` with a = ``MIGRATION``, of a channel's largest magnitudes:
    equation 4 of SmoothQuant (Xiao et al., https://arxiv.org/abs/2211.10438). Activations are divided by an operator of
    their own rather than in the normalisation before them, so that the inputs of all products can be smoothed.

    Args:
        graph: in float32.
        products: of this graph.
        magnitudes: float32 [K], the largest magnitude in each channel of each activation.

    Returns:
        the products on smoothed activations, and the largest magnitude of each of those.
    """
    factors: dict[str, Singles] = {}
    limits: dict[str, float] = {}
    for name in dict.fromkeys(p.activation for p in products):
        rows = [np.abs(graph.array(p.weight)).max(1) for p in products if p.activation == name]
        weight = np.maximum(np.max(rows, axis=0), TINY)
        activation = np.maximum(magnitudes[name], TINY)
        factors[name] = (activation**MIGRATION / weight ** (1 - MIGRATION)).astype(np.float32)
    for name in dict.fromkeys(p.weight for p in products):
        factor = next(factors[p.activation] for p in products if p.weight == name)
        graph.weights[name].CopyFrom(numpy_helper.from_array(graph.array(name) * factor[:, None], name))
    chosen = {p.node: p for p in products}
    nodes: list[NodeProto] = []
    for node in graph.nodes:
        product = chosen.get(node.name)
        if product is not None and (name := product.activation) in factors:
            factor = factors.pop(name)
            graph.model.graph.initializer.append(numpy_helper.from_array(1 / factor, f"{name}.smoothing"))
            nodes.append(helper.make_node("Mul", [name, f"{name}.smoothing"], [f"{name}.smooth"]))
            limits[f"{name}.smooth"] = float((magnitudes[name] / factor).max())
        nodes.append(node)
    graph.replace_nodes(nodes)
    return [Product(p.node, f"{p.activation}.smooth", p.weight) for p in products], limits


def quantize_products(graph: Graph, products: list[Product], limits: Mapping[str, float]) -> None:
    """Quantise ``products`` in place.

    Args:
        graph: in float32.
        products: of this graph.
        limits: the magnitude of each activation that the largest integer represents; what is larger is cut.
    """
    chosen = {p.node: p for p in products}
    nodes: list[NodeProto] = []
    quantized: set[str] = set()
    for node in graph.nodes:
        product = chosen.get(node.name)
        if product is not None:
            for name in {product.activation} - quantized:
                nodes += _activation_pair(graph, name, limits[name])
            if product.weight not in quantized:
                nodes.append(_weight_widening(graph, product.weight))
            quantized |= {product.activation, product.weight}
            node.input[0], node.input[1] = f"{product.activation}.dequantized", f"{product.weight}.dequantized"
        nodes.append(node)
    graph.replace_nodes(nodes)


def integers(weight: Singles) -> tuple[npt.NDArray[np.int8], Singles]:
    """int8 [K, N] and float32 scales [N] of weights [K, N]."""
    scale = np.abs(weight).max(0) / LEVELS
    scale[scale == 0] = 1.0
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)


def _activation_pair(graph: Graph, name: str, limit: float) -> list[NodeProto]:
    scale, zero = f"{name}.scale", f"{name}.zero"
    step = np.float32(limit / LEVELS) if limit > 0 else np.float32(1.0)
    graph.model.graph.initializer.append(numpy_helper.from_array(np.asarray(step), scale))
    graph.model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), zero))
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}.quantized"]),
        helper.make_node("DequantizeLinear", [f"{name}.quantized", scale, zero], [f"{name}.dequantized"]),
    ]


def _weight_widening(graph: Graph, name: str) -> NodeProto:
    values, scales = integers(graph.array(name))
    stored, scale, zero = f"{name}.integers", f"{name}.scale", f"{name}.zero"
    graph.weights[name].CopyFrom(numpy_helper.from_array(values, stored))
    graph.model.graph.initializer.append(numpy_helper.from_array(scales, scale))
    graph.model.graph.initializer.append(numpy_helper.from_array(np.zeros(len(scales), np.int8), zero))
    return helper.make_node("DequantizeLinear", [stored, scale, zero], [f"{name}.dequantized"], axis=1)
