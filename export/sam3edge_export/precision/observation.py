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
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge.core.types import RgbImage
from sam3edge_export.precision.rules import MOVEMENT

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
    model = onnx.load(path)
    model.graph.initializer.extend(probe.constants)
    # ONNX Runtime computes what nobody reads on from the last in the file to the first; were the deepest value looked
    # at first, all the others would have to be kept until then
    places = {value: place for place, node in enumerate(model.graph.node) for value in node.output}
    for value in sorted(probe.behind, key=lambda value: places.get(value, -1), reverse=True):
        model.graph.node.extend(probe.behind[value])
    del model.graph.output[:]
    for name in probe.outputs:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, target)
