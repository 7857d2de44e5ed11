"""16-bit graphs on a processor that has no 16-bit arithmetic: every result is computed in float32 and rounded.

ONNX Runtime's CPU provider runs float16 graphs in float32 and rounds only where it cannot avoid it, so that it hides
what a GPU would lose, overflows included; bfloat16 graphs it does not run at all. In an emulated graph every operator
that computes in 16 bits rounds its result to them, as kernels do that accumulate in float32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge_export.onnx.precision.formats import BFloat16, Float16

FORMATS = {form.onnx_type: form for form in (Float16(), BFloat16())}


def emulate(source: Path, target: Path) -> None:
    """Write the graph ``source`` to ``target`` in float32, rounding where ``source`` computes in 16 bits.

    Load the result with graph optimisations disabled, lest the rounding be taken for a pair of superfluous casts.
    """
    model = onnx.load(source)
    narrow = _narrow_values(model)
    for tensor in model.graph.initializer:
        if tensor.data_type in FORMATS:
            tensor.CopyFrom(numpy_helper.from_array(_widened(tensor), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type in FORMATS:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes += _rounding(node, narrow)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    onnx.save(model, target)


def _rounding(node: NodeProto, narrow: dict[str, int]) -> list[NodeProto]:
    kinds = {name: narrow[name] for name in node.output if name in narrow}
    if not kinds:
        return [node]
    if node.op_type == "Cast":
        node.attribute[0].i = TensorProto.FLOAT
    after = []
    for place, name in enumerate(node.output):
        if name in kinds:
            node.output[place] = f"{name}.exact"
            rounded = f"{name}.rounded"
            after.append(helper.make_node("Cast", [node.output[place]], [rounded], to=kinds[name]))
            after.append(helper.make_node("Cast", [rounded], [name], to=TensorProto.FLOAT))
    return [node, *after]


def _narrow_values(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = [*graph.value_info, *graph.output]
    types = {i.name: i.type.tensor_type.elem_type for i in infos}
    return {name: kind for name, kind in types.items() if kind in FORMATS}


def _widened(tensor: TensorProto) -> np.ndarray:
    bits = np.frombuffer(tensor.raw_data, np.uint16).reshape(tuple(tensor.dims))
    return FORMATS[tensor.data_type].widen(bits)
