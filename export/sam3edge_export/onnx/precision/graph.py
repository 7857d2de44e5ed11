"""ONNX graphs as the precisions see them: which values are float32, who makes and who takes them; load and save."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge_export.onnx.precision.errors import PrecisionError

LARGE = 1024
"""Constants with at least as many elements are weights; smaller ones are scalars, shapes and biases."""

EXPORTED = frozenset({TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.UINT8})
"""Types of the constants of exported graphs."""


class Graph:
    """A graph in float32, ready to be rewritten in place.

    Attributes:
        model: the graph itself; nodes are in topological order, as the ONNX standard asks.
        weights: its constants by name, float and other.
        floats: names of all float32 values: inputs, constants, and what nodes make.

    Raises:
        PrecisionError: control flow, functions or operators of other domains are in it: what computes in which
            precision inside of those cannot be decided from outside.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.model = model
        self.name = name
        self._refuse_what_cannot_be_read()
        self._lift_constants()
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self.floats = self._floats()

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes, in topological order."""
        return list(self.model.graph.node)

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    def replace_nodes(self, nodes: Iterable[NodeProto]) -> None:
        """Put ``nodes`` in place of all there are."""
        fresh = list(nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(fresh)

    def array(self, name: str) -> npt.NDArray[np.float32]:
        """A float32 constant."""
        return np.asarray(numpy_helper.to_array(self.weights[name]), np.float32)

    def require_float32(self) -> None:
        """Check that no precision has been applied yet.

        Raises:
            PrecisionError: it holds weights of another type.
        """
        for tensor in self.model.graph.initializer:
            if tensor.data_type not in EXPORTED:
                kind = TensorProto.DataType.Name(tensor.data_type).lower()
                raise PrecisionError(
                    f"{self.name} holds {kind} constants, {tensor.name} for one; expected float32 only: start from the "
                    "graphs as they were exported"
                )

    def _refuse_what_cannot_be_read(self) -> None:
        foreign = {n.domain for n in self.model.graph.node if n.domain not in ("", "ai.onnx")}
        nested = {n.op_type for n in self.model.graph.node for a in n.attribute if a.HasField("g") or a.graphs}
        if foreign or nested or self.model.functions:
            found = sorted(foreign | nested | {f.name for f in self.model.functions})
            raise PrecisionError(
                f"{self.name} holds {', '.join(found)}; expected standard operators only, without functions or "
                "control flow, as torch.onnx.export writes SAM 3; apply the precision before other tools rewrite it"
            )

    def _lift_constants(self) -> None:
        kept = []
        for node in self.model.graph.node:
            value = next((a for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                value.t.name = node.output[0]
                self.model.graph.initializer.append(value.t)
            else:
                kept.append(node)
        if len(kept) < len(self.model.graph.node):
            self.replace_nodes(kept)

    def _floats(self) -> frozenset[str]:
        """Infer types on a copy without the weights: with them, inference would copy gigabytes four times."""
        graph = self.model.graph
        inputs, constants = list(graph.input), []
        for tensor in graph.initializer:
            if np.prod(tensor.dims) < LARGE:
                constants.append(tensor)
            else:
                inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        light = helper.make_graph(graph.node, graph.name, inputs, graph.output, constants)
        inferred = onnx.shape_inference.infer_shapes(
            helper.make_model(light, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        ).graph
        infos = [*inferred.input, *inferred.output, *inferred.value_info]
        types = {i.name: i.type.tensor_type.elem_type for i in infos}
        types |= {t.name: t.data_type for t in graph.initializer}
        for node in graph.node:
            unknown = [v for v in node.output if v and not types.get(v)]
            if unknown:
                raise PrecisionError(f"{self.name}: the type of {unknown[0]}, made by {node.op_type}, is not known")
        return frozenset(name for name, kind in types.items() if kind == TensorProto.FLOAT)


def read_graph(path: Path) -> Graph:
    """Load a graph.

    Raises:
        PrecisionError: it is not an ONNX file, or see ``Graph``.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's DecodeError is private to the implementation that is installed
        raise PrecisionError(f"{path.name} cannot be read as ONNX: {error}") from error
    return Graph(model, path.name)


def write_graph(graph: Graph, path: Path) -> None:
    """Check a graph, types and all, and save it.

    The check is of a copy without weights: with them it would copy gigabytes.
    """
    model = graph.model
    del model.graph.value_info[:]  # the types in it were those before
    large = [t for t in model.graph.initializer if np.prod(t.dims) >= LARGE]
    small = [t for t in model.graph.initializer if np.prod(t.dims) < LARGE]
    weights = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large]
    light = helper.make_model(
        helper.make_graph(
            model.graph.node, model.graph.name, [*model.graph.input, *weights], model.graph.output, small
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    onnx.checker.check_model(light, full_check=True)
    onnx.save(model, path)
