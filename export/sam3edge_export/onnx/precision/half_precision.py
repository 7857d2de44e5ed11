"""A float32 graph, rewritten so that most of it computes in a 16-bit format.

Three decisions for every operator, in topological order:

- exact: it computes in float32 and hands float32 on, until an operator of ``rules.MATRIX`` goes back to 16 bits;
- island: it computes in float32 between casts;
- narrow: it computes in 16 bits.

Then casts are put where a value is wanted in another type than it is made in: each once, however many want it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import onnx
from onnx import NodeProto, TensorProto, helper

from sam3edge_export.onnx.precision.formats import misfit
from sam3edge_export.onnx.precision.graph import Graph
from sam3edge_export.onnx.precision.rules import MATRIX, MOVEMENT, Rules

logger = logging.getLogger(__name__)

SINGLE = TensorProto.FLOAT
NORMALISATIONS = frozenset({"LayerNormalization", "InstanceNormalization", "GroupNormalization"})


def narrow_graph(graph: Graph, rules: Rules, wide: Iterable[str] = ()) -> None:
    """Rewrite ``graph`` in place; names of inputs and outputs stay.

    Args:
        graph: in float32.
        rules: what may compute in 16 bits.
        wide: values known to leave the format's range; they stay float32, and so does what computes with them.

    Raises:
        PrecisionError: the graph is not in float32.
    """
    graph.require_float32()
    plan = _Plan(graph, rules, set(wide))
    _Rewriter(graph, rules, plan).rewrite()


class _Plan:
    """What each operator computes in.

    Attributes:
        compute: element type each node computes in, by index.
        made: element type each value is made in.
    """

    def __init__(self, graph: Graph, rules: Rules, wide: set[str]) -> None:
        self._graph, self._rules, self._wide = graph, rules, wide
        self._narrow = rules.form.onnx_type
        self.compute: list[int] = []
        self.made: dict[str, int] = {}
        self._preferred: dict[str, int] = {}
        self._misfits = self._weights_that_do_not_fit()
        self._exact = _ancestors(graph, rules)
        for value in graph.model.graph.input:
            kind = self._narrow if value.name in rules.travellers else SINGLE
            self.made[value.name] = self._preferred[value.name] = kind
        for index, node in enumerate(graph.nodes):
            self._decide(index, node)

    def _decide(self, index: int, node: NodeProto) -> None:
        kind, preferred = self._kinds(index, node)
        self.compute.append(kind)
        for value in node.output:
            self.made[value] = kind
            self._preferred[value] = preferred

    def _kinds(self, index: int, node: NodeProto) -> tuple[int, int]:
        """What the node computes in, and what is to be done with its result: hand it on in float32, or narrow it."""
        values = [v for v in node.input if v in self._graph.floats and v not in self._graph.weights]
        wants = {self._preferred[v] for v in values}
        wide_in, wide_out = self._wide.intersection(values), self._wide.intersection(node.output)
        if wide_in and node.op_type in MOVEMENT:
            self._wide.update(node.output)
            return SINGLE, SINGLE
        if index in self._exact or wide_out or node.op_type == "Cast":
            return SINGLE, SINGLE
        island = node.op_type in self._rules.islands or not self._has_kernel(node)
        if node.op_type in MATRIX:
            exact = wide_in or self._misfits.intersection(node.input)
            return (SINGLE, self._narrow) if island or exact else (self._narrow, self._narrow)
        if wide_in or self._misfits.intersection(node.input):
            return SINGLE, SINGLE
        if node.op_type in MOVEMENT:
            kind = self._narrow if self._narrow in wants or not wants else SINGLE
        else:
            kind = SINGLE if SINGLE in wants else self._narrow
        return (SINGLE, kind) if island else (kind, kind)

    def _has_kernel(self, node: NodeProto) -> bool:
        """Whether the standard, at the graph's opset, and the rules let the node compute in 16 bits."""
        if self._rules.operators is not None and node.op_type not in self._rules.operators:
            return False
        narrow = f"tensor({helper.tensor_dtype_to_string(self._narrow).removeprefix('TensorProto.').lower()})"
        return all(narrow in allowed for allowed in _float_slots(node, self._graph.opset) if len(allowed) > 1)

    def _weights_that_do_not_fit(self) -> set[str]:
        found = set()
        for name, tensor in self._graph.weights.items():
            if tensor.data_type != SINGLE:
                continue
            reason = misfit(self._graph.array(name), self._rules.form)
            if reason is not None:
                logger.warning("%s: %s stays float32, and so does what uses it: %s", self._graph.name, name, reason)
                found.add(name)
        return found


def _ancestors(graph: Graph, rules: Rules) -> set[int]:
    """Indices of the nodes that lead to exact outputs and into steep functions, those included, back to the last
    normalisation."""
    nodes = graph.nodes
    maker = {value: index for index, node in enumerate(nodes) for value in node.output}
    steep = {i for i, node in enumerate(nodes) if node.op_type in rules.steep}
    heads = {maker[o.name] for o in graph.model.graph.output if o.name in rules.exact_outputs and o.name in maker}
    found: set[int] = set()
    open_ = list(steep | heads)
    while open_:
        index = open_.pop()
        if index in found or nodes[index].op_type in NORMALISATIONS:
            continue
        found.add(index)
        open_ += [maker[v] for v in nodes[index].input if v in maker and v in graph.floats]
    return found


def _float_slots(node: NodeProto, opset: int) -> Iterator[frozenset[str]]:
    """Types that each float input and output of an operator may have."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    allowed = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
    for slots, values in ((schema.inputs, node.input), (schema.outputs, node.output)):
        for place, value in enumerate(values):
            if value and slots:
                kind = slots[min(place, len(slots) - 1)].type_str
                types = allowed.get(kind, frozenset({kind}))
                if "tensor(float)" in types:
                    yield types


def _fixed_single(node: NodeProto, place: int, opset: int) -> bool:
    """Whether an input is float32 by the standard whatever the operator computes in, as the scales of Resize are."""
    slots = onnx.defs.get_schema(node.op_type, opset, node.domain).inputs
    return str(slots[min(place, len(slots) - 1)].type_str) == "tensor(float)"


@dataclass
class _Rewriter:
    """Gives every value the types it is wanted in.

    A value keeps its name in the type of its input, output or weight, else in the type it is made in; in the other type
    it is called ``<name>.<format>`` or ``<name>.single``.
    """

    graph: Graph
    rules: Rules
    plan: _Plan
    wanted: dict[str, set[int]] = field(default_factory=dict)
    main: dict[str, int] = field(default_factory=dict)

    def rewrite(self) -> None:
        nodes = self.graph.nodes
        self._collect(nodes)
        self._set_main()
        fresh = [cast for value in self.graph.model.graph.input for cast in self._casts(value.name)]
        for index, node in enumerate(nodes):
            fresh += self._rewritten(index, node)
        self._retype_interface()
        self._retype_weights()
        self.graph.replace_nodes(fresh)

    def _type(self, index: int, node: NodeProto, place: int) -> int:
        return SINGLE if _fixed_single(node, place, self.graph.opset) else self.plan.compute[index]

    def _collect(self, nodes: list[NodeProto]) -> None:
        for index, node in enumerate(nodes):
            for place, value in enumerate(node.input):
                if value in self.graph.floats:
                    kind = self.plan.made[value] if node.op_type == "Cast" else self._type(index, node, place)
                    self.wanted.setdefault(value, set()).add(kind)
        for output in self.graph.model.graph.output:
            if output.name in self.graph.floats:
                self.wanted.setdefault(output.name, set()).add(self._interface(output.name))

    def _interface(self, name: str) -> int:
        return self.rules.form.onnx_type if name in self.rules.travellers else SINGLE

    def _set_main(self) -> None:
        for name in self.graph.floats:
            wanted = self.wanted.get(name, set())
            if name in self.graph.weights:
                self.main[name] = self.rules.form.onnx_type if self.rules.form.onnx_type in wanted else SINGLE
            else:
                self.main[name] = self.plan.made[name]
        for output in self.graph.model.graph.output:
            if output.name in self.graph.floats:
                self.main[output.name] = self._interface(output.name)

    def _name(self, value: str, kind: int) -> str:
        if self.main[value] == kind:
            return value
        return f"{value}.{'single' if kind == SINGLE else self.rules.form.name}"

    def _rewritten(self, index: int, node: NodeProto) -> Iterator[NodeProto]:
        fresh = NodeProto()
        fresh.CopyFrom(node)
        for place, value in enumerate(node.input):
            if value in self.graph.floats:
                kind = self.plan.made[value] if node.op_type == "Cast" else self._type(index, node, place)
                fresh.input[place] = self._name(value, kind)
        for place, value in enumerate(node.output):
            if value in self.graph.floats:
                fresh.output[place] = self._name(value, self.plan.made[value])
        yield fresh
        for value in node.output:
            yield from self._casts(value)

    def _casts(self, value: str) -> Iterator[NodeProto]:
        if value not in self.graph.floats:
            return
        made = self.plan.made[value]
        for kind in sorted(self.wanted.get(value, set()) - {made}):
            yield helper.make_node("Cast", [self._name(value, made)], [self._name(value, kind)], to=kind)

    def _retype_interface(self) -> None:
        for value in (*self.graph.model.graph.input, *self.graph.model.graph.output):
            if value.name in self.graph.floats:
                value.type.tensor_type.elem_type = self._interface(value.name)

    def _retype_weights(self) -> None:
        narrow = self.rules.form.onnx_type
        extra = []
        for name, tensor in self.graph.weights.items():
            wanted = self.wanted.get(name, set())
            if tensor.data_type != SINGLE or narrow not in wanted:
                continue
            if SINGLE in wanted:
                copy = TensorProto()
                copy.CopyFrom(tensor)
                copy.name = self._name(name, SINGLE)
                extra.append(copy)
            bits = self.rules.form.narrow(self.graph.array(name))
            tensor.CopyFrom(TensorProto(name=name, dims=list(tensor.dims), data_type=narrow, raw_data=bits.tobytes()))
        self.graph.model.graph.initializer.extend(extra)
