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


class Probe:
    """Operators to be added to a graph, and the outputs they make."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.outputs: list[str] = []

    def add(self, kind: str, *inputs: str, out: str, **attributes: int) -> str:
        """Add an operator and return the name of its result."""
        self.nodes.append(helper.make_node(kind, list(inputs), [out], None, None, None, None, **attributes))
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
        probe.add("Abs", value, out=f"magnitude.{place}")
        probe.outputs.append(probe.add("ReduceMax", f"magnitude.{place}", out=f"largest.{place}", keepdims=0))
    found = np.zeros(len(values), np.float32)
    for numbers in observe(path, probe, images):
        found = np.maximum(found, np.array(numbers, np.float32).reshape(-1))
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
        probe.add("Reshape", value, shape, out=f"flat.{place}")
        probe.add("Abs", f"flat.{place}", out=f"magnitude.{place}")
        probe.outputs.append(probe.add("ReduceMax", f"magnitude.{place}", rows, out=f"largest.{place}", keepdims=0))
    found = {value: np.zeros(width, np.float32) for value, width in widths.items()}
    for numbers in observe(path, probe, images):
        for value, largest in zip(widths, numbers, strict=True):
            found[value] = np.maximum(found[value], largest)
    return found


def computed(nodes: Sequence[NodeProto], floats: frozenset[str]) -> list[str]:
    """The float values among the results of ``nodes``, but for those that are others' numbers moved about."""
    return [v for node in nodes if node.op_type not in MOVEMENT for v in node.output if v in floats]


def _augment(path: Path, probe: Probe, target: Path) -> None:
    model = onnx.load(path)
    model.graph.initializer.extend(probe.constants)
    model.graph.node.extend(probe.nodes)
    del model.graph.output[:]
    for name in probe.outputs:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, target)
