"""What values a graph takes on real images, measured inside of the graph.

Activations of SAM 3 are gigabytes an image; so every statistic is reduced to a few numbers by operators that are added
to the graph, and only those leave it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge.core.types import RgbImage
from sam3edge.engines.ort import ort
from sam3edge_export.onnx.precision.rules import MOVEMENT

Singles = npt.NDArray[np.float32]

_EXTREMES = ("ReduceMin", "ReduceMax")


class Probe:
    """Operators to be added to a graph, each behind the value that it looks at, and the outputs they make."""

    def __init__(self) -> None:
        self.behind: dict[str, list[NodeProto]] = {}
        self.constants: list[TensorProto] = []
        self.outputs: list[str] = []

    def add(self, value: str, kind: str, *inputs: str, out: str, **attributes: int) -> str:
        """Add an operator behind ``value`` and return the name of its result."""
        node = helper.make_node(kind, list(inputs), [out], None, None, None, None, **attributes)
        self.behind.setdefault(value, []).append(node)
        return out

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(value, name))
        return name


def observe(path: Path, probe: Probe, images: Sequence[RgbImage]) -> Iterator[list[Singles]]:
    """Run the graph at ``path``, which takes ``image`` uint8 [B, H, W, 3], on every image.

    Yields:
        the probe's outputs for each image, float32.
    """
    with tempfile.TemporaryDirectory() as folder:
        augmented = Path(folder) / path.name
        _augment(path, probe, augmented)
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.enable_cpu_mem_arena = False  # it would keep the sum of all peaks
        session = ort.InferenceSession(augmented, settings, providers=["CPUExecutionProvider"])
        for image in images:
            yield session.run(probe.outputs, {"image": image[None]})


def largest_magnitudes(path: Path, values: Sequence[str], images: Sequence[RgbImage]) -> dict[str, float]:
    """The largest magnitude of each value over all images."""
    probe = Probe()
    for place, value in enumerate(values):
        for kind in _EXTREMES:  # not of the absolute values, which would be another copy of gigabytes
            probe.outputs.append(probe.add(value, kind, value, out=f"{kind}.{place}", keepdims=0))
    found = np.zeros(len(values), np.float32)
    for numbers in observe(path, probe, images):
        extremes = np.array(numbers, np.float32).reshape(len(values), len(_EXTREMES))
        found = np.maximum(found, np.abs(extremes).max(axis=1))
    return dict(zip(values, found.tolist(), strict=True))


def channel_magnitudes(path: Path, widths: Mapping[str, int], images: Sequence[RgbImage]) -> dict[str, Singles]:
    """The largest magnitude in each channel of each value, over all images: float32 [K].

    Args:
        path: the graph.
        widths: K, the size of the last axis, of each value wanted.
        images: uint8 [H, W, 3].
    """
    probe = Probe()
    rows = probe.constant("probe.rows", np.array([0], np.int64))
    for place, (value, width) in enumerate(widths.items()):
        shape = probe.constant(f"probe.{place}.shape", np.array([-1, width], np.int64))
        flat = probe.add(value, "Reshape", value, shape, out=f"flat.{place}")
        for kind in _EXTREMES:
            probe.outputs.append(probe.add(value, kind, flat, rows, out=f"{kind}.{place}", keepdims=0))
    found = {value: np.zeros(width, np.float32) for value, width in widths.items()}
    for numbers in observe(path, probe, images):
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        for value, (low, high) in zip(widths, pairs, strict=True):
            found[value] = np.maximum(found[value], np.maximum(np.abs(low), np.abs(high)))
    return found


def computed(nodes: Sequence[NodeProto], floats: frozenset[str]) -> list[str]:
    """The float values among the results of ``nodes``, but for those that are others' numbers moved about."""
    return [v for node in nodes if node.op_type not in MOVEMENT for v in node.output if v in floats]


def _augment(path: Path, probe: Probe, target: Path) -> None:
    """Write the graph with the probe in it.

    ONNX Runtime may compute the probe's outputs in any order, and keeps every value until all who read it are done. So
    that this is soon, the graph continues behind each layer normalisation only when all that came before was looked at:
    its result gets a zero added that depends on it.
    """
    model = onnx.load(path)
    zero = probe.constant("probe.zero", np.array(0, np.float32))
    renamed: dict[str, str] = {}
    fresh = [node for value in model.graph.input for node in probe.behind.get(value.name, ())]
    unseen: list[str] = []
    for node in model.graph.node:
        for place, value in enumerate(node.input):
            node.input[place] = renamed.get(value, value)
        looks = [look for value in node.output for look in probe.behind.get(value, ())]
        fresh += [node, *looks]
        unseen += [name for look in looks for name in look.output if name in probe.outputs]
        if node.op_type == "LayerNormalization" and unseen:
            result = node.output[0]
            renamed[result] = f"{result}.seen"
            fresh += _wait(result, unseen, zero, renamed[result])
            unseen = []
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in fresh]  # they outlive the list they come from
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(probe.constants)
    del model.graph.output[:]
    for name in probe.outputs:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, target)


def _wait(value: str, unseen: Sequence[str], zero: str, out: str) -> list[NodeProto]:
    """Nodes that give ``value`` again, once all of ``unseen`` are known, whatever they are: also when infinite."""
    scalars = [f"{out}.{place}" for place in range(len(unseen))]
    return [
        *(helper.make_node("ReduceMax", [name], [s], keepdims=0) for name, s in zip(unseen, scalars, strict=True)),
        helper.make_node("Sum", scalars, [f"{out}.sum"]),
        helper.make_node("IsNaN", [f"{out}.sum"], [f"{out}.known"]),
        helper.make_node("Cast", [f"{out}.known"], [f"{out}.one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}.one", zero], [f"{out}.nothing"]),
        helper.make_node("Add", [value, f"{out}.nothing"], [out]),
    ]
