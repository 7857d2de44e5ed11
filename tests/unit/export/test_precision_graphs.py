"""What the precisions do to graphs, on graphs small enough to be written here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam3edge.engines.ort import ort
from sam3edge_export.onnx.precision import Half, HalfStorage, Int8, PrecisionError, emulate
from sam3edge_export.onnx.precision.formats import ENDLESS, BFloat16, Float16, misfit
from sam3edge_export.onnx.precision.graph import read_graph, write_graph
from sam3edge_export.onnx.precision.half_precision import narrow_graph
from sam3edge_export.onnx.precision.quantization import integers
from sam3edge_export.onnx.precision.rules import BRAIN, HALF

WIDTH = 64
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (4, 8, WIDTH), dtype=np.uint8)

Weights = Mapping[str, npt.NDArray[np.generic]]


def save(
    path: Path, nodes: Sequence[NodeProto], outputs: Sequence[str], weights: Weights, inputs: Mapping[str, int]
) -> Path:
    """Write a graph over values [4, 8, WIDTH]."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(n, kind, [1, 4, 8, WIDTH]) for n, kind in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, WIDTH]) for n in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def vision(folder: Path, first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> Path:
    """Two matrix products on an image, the second of which leads to ``fine``."""
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "range"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "first"], ["between"], "product_1"),
        helper.make_node("Relu", ["between"], ["positive"]),
        helper.make_node("MatMul", ["positive", "second"], ["fine"], "product_2"),
    ]
    weights = {"range": np.float32(255), "first": first, "second": second}
    return save(folder / "vision.onnx", nodes, ["fine"], weights, {"image": TensorProto.UINT8})


def square(scale: float) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(1).normal(size=(WIDTH, WIDTH)) * scale).astype(np.float32)


def answer(path: Path, image: npt.NDArray[np.uint8] = IMAGE) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["fine"], {"image": image[None]})[0], np.float32)


def emulated(path: Path) -> Path:
    target = path.with_name("emulated.onnx")
    emulate(path, target)
    return target


def error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def types(path: Path) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    infos = [*graph.value_info, *graph.input, *graph.output]
    return {i.name: i.type.tensor_type.elem_type for i in infos} | {t.name: t.data_type for t in graph.initializer}


@pytest.mark.parametrize(("form", "digits"), [(Float16(), 11), (BFloat16(), 8)])
def test_formats_round_to_nearest(form: Float16 | BFloat16, digits: int) -> None:
    x = np.concatenate([RNG.normal(size=10_000), [0, -0.0, 1, -1, np.inf, -np.inf]]).astype(np.float32)
    back = form.widen(form.narrow(x))
    finite = np.isfinite(x) & (np.abs(x) > 1e-3)
    assert np.abs(back[finite] / x[finite] - 1).max() <= 2.0**-digits
    np.testing.assert_array_equal(back[~np.isfinite(x)], x[~np.isfinite(x)])
    np.testing.assert_array_equal(form.widen(form.narrow(back)), back)
    assert np.isnan(form.widen(form.narrow(np.array([np.nan], np.float32)))).all()
    limit = np.array([ENDLESS, -ENDLESS], np.float32)
    np.testing.assert_array_equal(form.widen(form.narrow(limit)), np.float32([form.largest, -form.largest]))


def test_bfloat16_rounds_as_the_reference_does() -> None:
    x = np.random.default_rng(2).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    x = x[np.abs(x) < 3.3e38]
    theirs = torch.from_numpy(x).bfloat16().float().numpy()
    np.testing.assert_array_equal(BFloat16().widen(BFloat16().narrow(x)), theirs)


@pytest.mark.parametrize(
    ("values", "form", "says"),
    [
        ([1.0, 70000.0], Float16(), "its largest magnitude is 7e+04"),
        ([1e-9, 2e-9], Float16(), "too small for half"),
        ([1.0, 1e-9], Float16(), None),
        ([0.0, -np.inf, -ENDLESS], Float16(), None),
        ([1e-9, 70000.0], BFloat16(), None),
        ([np.finfo(np.float32).max * 0.9999], BFloat16(), "brain ends at"),
    ],
)
def test_what_a_format_cannot_hold_is_told(values: list[float], form: Float16 | BFloat16, says: str | None) -> None:
    reason = misfit(np.array(values, np.float32), form)
    assert (reason is None) == (says is None)
    if says is not None:
        assert says in str(reason)


def test_a_weight_beyond_half_keeps_its_product_in_float32(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = square(1.0)
    first[3, 5] = 1e5
    image = IMAGE.copy()
    image[..., 3] = 1  # so that the products stay inside of the format
    path = vision(tmp_path, first, square(1e-2))
    expected = answer(path, image)
    with caplog.at_level(logging.WARNING):
        Half().apply(tmp_path, [image])
    assert "first stays float32" in caplog.text
    assert types(path)["first"] == TensorProto.FLOAT
    assert types(path)["second"] == TensorProto.FLOAT16
    assert error(answer(emulated(path), image), expected) < 2e-3


def test_stored_weights_beyond_half_stay_float32(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = square(1.0)
    first[3, 5] = 1e5
    path = vision(tmp_path, first, square(1.0))
    expected = answer(path)
    with caplog.at_level(logging.WARNING):
        HalfStorage().apply(tmp_path, [])
    assert "first is stored in float32" in caplog.text
    assert types(path)["first"] == TensorProto.FLOAT
    assert types(path)["second.half"] == TensorProto.FLOAT16
    assert error(answer(path), expected) < 1e-3


def test_activations_beyond_half_are_found_on_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Weights that fit, and products of them that do not: a GPU would answer with infinities."""
    path = vision(tmp_path, square(2e4), square(1e-3))
    expected = answer(path)
    Half().apply(tmp_path, [])
    assert not np.isfinite(answer(emulated(path))).all()
    vision(tmp_path, square(2e4), square(1e-3))
    with caplog.at_level(logging.WARNING):
        Half().apply(tmp_path, [np.zeros_like(IMAGE), IMAGE])
    assert "between reaches" in caplog.text
    assert error(answer(emulated(path)), expected) < 2e-3


def test_heads_and_steep_functions_compute_in_float32_from_the_last_normalisation_on(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LayerNormalization", ["coarse", "scale"], ["normal"]),
        helper.make_node("MatMul", ["normal", "head"], ["logits"]),
        helper.make_node("MatMul", ["coarse", "phase"], ["turn"]),
        helper.make_node("Sin", ["turn"], ["wave"]),
        helper.make_node("MatMul", ["wave", "mix"], ["mixed"]),
        helper.make_node("Add", ["mixed", "normal"], ["queries"]),
    ]
    weights = {"scale": np.ones(WIDTH, np.float32)} | {n: square(0.1) for n in ("head", "phase", "mix")}
    path = save(tmp_path / "decoder.onnx", nodes, ["logits", "queries"], weights, {"coarse": TensorProto.FLOAT})
    graph = read_graph(path)
    narrow_graph(graph, HALF)
    write_graph(graph, path)
    found = types(path)
    single = {"logits", "normal.single", "turn", "wave", "head", "phase"}
    half = {"coarse", "normal", "mixed", "queries", "mix", "scale", "wave.half"}
    assert {n for n in single | half if found[n] == TensorProto.FLOAT} == single
    assert {n for n in single | half if found[n] == TensorProto.FLOAT16} == half


def test_bfloat16_leaves_convolutions_in_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["tokens", "kernel"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("MatMul", ["positive", "mix"], ["fine"]),
    ]
    weights = {"kernel": RNG.normal(size=(4, 4, 1, 1)).astype(np.float32), "mix": square(0.1)}
    path = save(tmp_path / "x.onnx", nodes, ["fine"], weights, {"tokens": TensorProto.FLOAT})
    graph = read_graph(path)
    narrow_graph(graph, BRAIN)
    write_graph(graph, path)
    found = types(path)
    assert found["tokens"] == found["positive"] == found["fine"] == found["mix"] == TensorProto.BFLOAT16
    assert found["maps"] == found["kernel"] == TensorProto.FLOAT


def test_a_value_wanted_in_both_types_is_cast_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["coarse", f"w{i}"], [f"p{i}"]) for i in range(3)]
    nodes += [helper.make_node("Cos", ["coarse"], ["c0"]), helper.make_node("Sin", ["coarse"], ["s0"])]
    nodes += [helper.make_node("Sum", ["p0", "p1", "p2", "c0", "s0"], ["logits"])]
    path = save(
        tmp_path / "x.onnx", nodes, ["logits"], {f"w{i}": square(0.1) for i in range(3)}, {"coarse": TensorProto.FLOAT}
    )
    graph = read_graph(path)
    narrow_graph(graph, HALF)
    assert [n.op_type for n in graph.nodes].count("Cast") == 1
    assert {o.name for o in graph.model.graph.output} == {"logits"}


def test_int8_outlying_channels_do_not_take_the_range_from_others(tmp_path: Path) -> None:
    first = square(0.3)
    first[:, 7] *= 80
    second = square(0.3)
    second[7] /= 80
    path = vision(tmp_path, first, second)
    expected = answer(path)
    Int8().apply(tmp_path, [IMAGE])
    assert types(path)["second.integers"] == TensorProto.INT8
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the standard's own arithmetic
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(["fine"], {"image": IMAGE[None]})[0])
    assert error(found, expected) < 0.02  # 0.16 without smoothing


def test_weights_are_quantized_by_output_channel() -> None:
    weight = square(1.0) * np.geomspace(1e-3, 1e3, WIDTH).astype(np.float32)
    weight[:, 9] = 0
    values, scales = integers(weight)
    assert (np.abs(values * scales - weight) <= scales / 2 * 1.001).all()
    assert values.dtype == np.int8
    assert np.abs(values).max() == 127


def test_a_graph_without_products_cannot_be_quantized(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["fine"], to=TensorProto.FLOAT)]
    weights = {"unused": square(1.0)}
    save(tmp_path / "vision.onnx", nodes, ["fine"], weights, {"image": TensorProto.UINT8})
    with pytest.raises(PrecisionError, match="no float32 matrix products before fine"):
        Int8().apply(tmp_path, [IMAGE])


def test_graphs_that_others_have_fused_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("FusedMatMul", ["coarse", "w"], ["fine"], domain="com.microsoft")]
    path = save(tmp_path / "vision.onnx", nodes, ["fine"], {"w": square(1.0)}, {"coarse": TensorProto.FLOAT})
    with pytest.raises(PrecisionError, match=r"holds com\.microsoft; expected standard operators only"):
        read_graph(path)
