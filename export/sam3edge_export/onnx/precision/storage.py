"""Weights stored in half precision and widened when a graph is loaded."""

from __future__ import annotations

import logging

import numpy as np
from onnx import TensorProto, helper

from sam3edge_export.onnx.precision.formats import Float16, misfit
from sam3edge_export.onnx.precision.graph import LARGE, Graph

logger = logging.getLogger(__name__)


def store_in_half(graph: Graph) -> None:
    """Store large float weights in half precision, in place: half the size, computed in single precision.

    ONNX Runtime folds the casts when it loads the graph. Weights that half precision cannot hold stay as they are.
    """
    half = Float16()
    casts = []
    for name, tensor in graph.weights.items():
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LARGE:
            continue
        values = graph.array(name)
        reason = misfit(values, half)
        if reason is not None:
            logger.warning("%s: %s is stored in float32: %s", graph.name, name, reason)
            continue
        stored = f"{name}.half"
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
        raw = half.narrow(values).tobytes()
        tensor.CopyFrom(TensorProto(name=stored, dims=list(tensor.dims), data_type=half.onnx_type, raw_data=raw))
    graph.replace_nodes([*casts, *graph.nodes])


def widen_stored(graph: Graph) -> None:
    """Undo ``store_in_half``, in place, but for what the weights lost: so that another precision can be made of a
    bundle's graphs."""
    half = Float16()
    kept = []
    for node in graph.nodes:
        tensor = graph.weights.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None or tensor.data_type != half.onnx_type:
            kept.append(node)
            continue
        bits = np.frombuffer(tensor.raw_data, np.uint16)
        raw = half.widen(bits).tobytes()
        name, dims = node.output[0], list(tensor.dims)
        tensor.CopyFrom(TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT, raw_data=raw))
    graph.replace_nodes(kept)
