"""Every precision, on everything that can be exported of a small model, and on the demo bundle's trained weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto

from sam3edge.core.matching import mask_iou
from sam3edge.core.types import Frame, Instance, ModelFiles, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge_export.onnx.precision import (
    PRECISIONS,
    Brain,
    Half,
    HalfStorage,
    Int8,
    Precision,
    PrecisionError,
    emulate,
    precision_named,
)
from sam3edge_export.onnx.precision.graph import read_graph, write_graph
from sam3edge_export.onnx.precision.rules import TRAVELLERS
from sam3edge_export.onnx.precision.storage import widen_stored
from sam3edge_pipeline.evaluation.bundle import frame_of
from sam3edge_pipeline.synthetic import PHRASES, draw_scene
from support.small_sam3 import small_bundle

pytestmark = pytest.mark.timeout(600)  # the first to come exports the small model

CPU = OnnxOptions(providers=("CPUExecutionProvider",), threads=1)
SCENES = (2_000_007, 2_000_008)
NARROW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

Types = dict[tuple[str, str], int]


def photos(count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (70 + 9 * i, 100, 3), dtype=np.uint8) for i in range(count)]


def interface(folder: Path) -> Types:
    """Element type of every input and output, by graph and name."""
    return {
        (path.stem, value.name): value.type.tensor_type.elem_type
        for path in sorted(folder.glob("*.onnx"))
        for graph in [onnx.load(path).graph]
        for value in (*graph.input, *graph.output)
    }


def emulated(folder: Path) -> Path:
    target = folder.with_name(folder.name + "-emulated")
    shutil.copytree(folder, target)
    for path in folder.glob("*.onnx"):
        emulate(path, target / path.name)
    return target


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All graphs of a small model with random weights, float32."""
    return small_bundle(tmp_path_factory)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, demo_bundle: Path) -> Path:
    """The demo bundle with its weights widened to float32: small, but trained."""
    folder = tmp_path_factory.mktemp("precision") / "demo"
    shutil.copytree(demo_bundle, folder)
    for path in folder.glob("*.onnx"):
        graph = read_graph(path)
        widen_stored(graph)
        write_graph(graph, path)
    return folder


def applied(precision: Precision, source: Path, target: Path, images: Sequence[npt.NDArray[np.uint8]]) -> Path:
    shutil.copytree(source, target)
    precision.apply(target, images)
    return target


def found_in(folder: Path) -> list[tuple[Instance, ...]]:
    engine = OnnxEngine(ModelFiles(folder, "demo", "1.0.0", "sha256:" + "0" * 64, "fp32", 128), CPU)
    frames: list[Frame] = [frame_of(draw_scene(seed)) for seed in SCENES]
    answers = [engine.segment(frame, [Prompt(phrase) for phrase in PHRASES]).instances for frame in frames]
    engine.close()
    return answers


class PlainArithmetic(ort.SessionOptions):  # type: ignore[misc]
    """Options of a session that computes node by node, as the ONNX standard says."""

    def __init__(self) -> None:
        super().__init__()
        self.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def agreement(a: Instance, b: Instance) -> float:
    """IoU of two masks at the resolution of the model."""
    return float(mask_iou([a.mask > 0], [b.mask > 0])[0, 0])


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: p.name)
def test_names_stay_and_only_what_travels_between_graphs_changes_its_type(
    small: Path, tmp_path: Path, precision: Precision
) -> None:
    before = interface(small)
    after = interface(applied(precision, small, tmp_path / "out", photos(2)))
    assert after.keys() == before.keys()
    travelling = NARROW.get(precision.name, TensorProto.FLOAT)
    for (graph, name), kind in after.items():
        expected = travelling if name in TRAVELLERS else before[graph, name]
        assert kind == expected, f"{graph}: {name}"


@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p.name != "bf16"], ids=lambda p: p.name)
def test_every_graph_loads_on_the_processor(small: Path, tmp_path: Path, precision: Precision) -> None:
    out = applied(precision, small, tmp_path / "out", photos(2))
    for path in out.glob("*.onnx"):
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("precision", "vision", "decoder"),
    [(HalfStorage(), 0.55, 0.6), (Half(), 0.55, 0.6), (Brain(), 0.65, 0.6), (Int8(), 0.4, 0.6)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_files_are_smaller(demo: Path, tmp_path: Path, precision: Precision, vision: float, decoder: float) -> None:
    out = applied(precision, demo, tmp_path / "out", [draw_scene(0).image])
    for name, most in (("vision.onnx", vision), ("decoder.onnx", decoder)):
        assert (out / name).stat().st_size < most * (demo / name).stat().st_size, name


@pytest.mark.parametrize(
    ("precision", "score", "overlap"),
    [(HalfStorage(), 1e-5, 0.999), (Half(), 0.005, 0.95), (Brain(), 0.06, 0.9), (Int8(), 0.06, 0.85)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_same_objects_are_found(
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
    score: float,
    overlap: float,
) -> None:
    """Small masks of 64 x 64 pixels: one pixel of an object of 20 is an IoU of 0.95."""
    out = applied(precision, demo, tmp_path / "out", [draw_scene(seed).image for seed in range(6)])
    if precision.name in NARROW:  # what a GPU would round, the CPU provider would not
        out = emulated(out)
    elif precision.name == "int8":  # the provider's fused kernels saturate or not, according to the processor
        monkeypatch.setattr(ort, "SessionOptions", PlainArithmetic)
    for expected, ours in zip(found_in(demo), found_in(out), strict=True):
        assert expected
        assert sorted(i.prompt.text for i in ours) == sorted(i.prompt.text for i in expected)
        for one in expected:
            twin = max((i for i in ours if i.prompt == one.prompt), key=lambda i: agreement(one, i))
            assert abs(one.score - twin.score) < score
            assert agreement(one, twin) > overlap


def test_without_images_int8_says_what_it_needs(small: Path, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="calibrated on images and got none"):
        applied(Int8(), small, tmp_path / "out", [])


def test_bfloat16_runs_where_a_provider_says_so(small: Path, tmp_path: Path) -> None:
    out = applied(Brain(), small, tmp_path / "out", [])
    loads = True
    try:
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        ort.InferenceSession(out / "vision.onnx", settings, providers=["CPUExecutionProvider"])
    except Exception:
        loads = False
    assert Brain().runs_on("CPUExecutionProvider") == loads
    assert not Brain().runs_on("NoSuchProvider")
    assert Half().runs_on("CPUExecutionProvider")


def test_precisions_are_found_by_name() -> None:
    assert [precision_named(p.name) for p in PRECISIONS] == list(PRECISIONS)
    with pytest.raises(PrecisionError, match="'fp8'; there are fp32, fp16-weights, fp16, bf16, int8"):
        precision_named("fp8")


@pytest.mark.parametrize("precision", [HalfStorage(), Half(), Brain(), Int8()], ids=lambda p: p.name)
def test_graphs_that_are_not_float32_are_refused(demo_bundle: Path, tmp_path: Path, precision: Precision) -> None:
    shutil.copy(demo_bundle / "vision.onnx", tmp_path)  # its weights are stored in float16
    with pytest.raises(PrecisionError, match=r"vision\.onnx holds float16 constants, .* expected float32 only"):
        precision.apply(tmp_path, photos(1))


def test_a_folder_without_graphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match=r"holds no vision\.onnx"):
        Half().apply(tmp_path, [])
    (tmp_path / "vision.onnx").write_bytes(b"not a graph")
    with pytest.raises(PrecisionError, match="cannot be read as ONNX"):
        Half().apply(tmp_path, [])


def test_half_storage_widens_back_to_the_same_graph(demo: Path, tmp_path: Path) -> None:
    out = applied(HalfStorage(), demo, tmp_path / "out", [])
    stored = read_graph(out / "decoder.onnx")
    widen_stored(stored)
    original = read_graph(demo / "decoder.onnx")  # its weights come from float16, so that nothing is lost
    assert [n.SerializeToString() for n in stored.nodes] == [n.SerializeToString() for n in original.nodes]
    back = {t.name: t.raw_data for t in stored.model.graph.initializer}
    assert back == {t.name: t.raw_data for t in original.model.graph.initializer}
