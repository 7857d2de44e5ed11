"""The ONNX files agree with the graphs in torch, whatever the batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
import torch
from onnxscript import rewriter
from torch import Tensor

from sam3edge.engines.ort import ort
from sam3edge_export.onnx import graphs
from sam3edge_export.sam3.exemplars import ExemplarGraph
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, SharedVisionGraph, TextGraph
from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph
from support.small_sam3 import IDS, PATCH, QUERIES, SIDE, WIDTH, small_bundle, small_model, small_tracker

pytestmark = pytest.mark.timeout(600)  # the first to come exports everything

GRID = SIDE // PATCH


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory)


def run(path: Path, **inputs: Tensor | npt.NDArray[np.generic]) -> Mapping[str, npt.NDArray[np.generic]]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, {k: np.asarray(v) for k, v in inputs.items()}), strict=True))


def close(found: Mapping[str, npt.NDArray[np.generic]], atol: float = 1e-4, **expected: Tensor) -> None:
    assert found.keys() >= expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=atol, rtol=1e-4, err_msg=name)


@torch.no_grad()
@pytest.mark.parametrize(("count", "size"), [(1, (64, 64)), (2, (90, 200)), (3, (301, 77))])
def test_vision_takes_any_number_of_images_of_any_size(folder: Path, count: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(planes, (SIDE, SIDE), mode="bilinear", antialias=True)
    expected = SharedVisionGraph(small_model())(resized.float() / 127.5 - 1)._asdict()
    exact = size == (SIDE, SIDE)
    # a grey level of rounding in the resize
    close(run(folder / "vision.onnx", image=image), 1e-4 if exact else 0.05, **expected)


@torch.no_grad()
@pytest.mark.parametrize(("pairs", "length"), [([0], 6), ([0, 1, 1], 4), ([1, 0], 1)])
def test_decoder_and_masks_take_any_number_of_prompts_of_any_length(
    folder: Path, pairs: list[int], length: int
) -> None:
    model, index = small_model(), torch.tensor(pairs)
    coarse, geometry = torch.randn(2, WIDTH, GRID, GRID), torch.randn(4, 1, WIDTH)
    text, mask = torch.randn(len(pairs), length, WIDTH), (IDS != 0)[: len(pairs), :length]
    own = torch.arange(len(pairs)) + 1
    expected = DecoderGraph(model)(coarse, geometry, index, text, mask, own)
    inputs = {"coarse": coarse, "geometry": geometry, "image_index": index, "geometry_index": own}
    decoded = run(folder / "decoder.onnx", **inputs, text=text, text_mask=mask)
    scores = expected.logits.sigmoid() * expected.presence.sigmoid()
    close(decoded, **expected._asdict(), scores=scores)
    chosen = {
        "image_index": index[-1:],
        "pair_index": torch.tensor([len(pairs) - 1]),
        "query_index": torch.tensor([[3, 1, 0]]),
        "keep": torch.tensor([0, 1]),
    }
    fine, medium = torch.randn(2, WIDTH, 4 * GRID, 4 * GRID), torch.randn(2, WIDTH, 2 * GRID, 2 * GRID)
    given = {name: decoded[name] for name in ("encoded", "prompt", "queries")}
    found = run(folder / "masks.onnx", fine=fine, medium=medium, text_mask=mask, **given, **chosen)
    wanted = MaskGraph(model)(fine, medium, expected.encoded, expected.prompt, mask, expected.queries, *chosen.values())
    close(found, 1e-3, masks=wanted)


@torch.no_grad()
def test_text(folder: Path) -> None:
    close(run(folder / "text.onnx", input_ids=IDS[:1]), text=TextGraph(small_model())(IDS[:1]))


@torch.no_grad()
@pytest.mark.parametrize("labels", [[[1]], [[1, 0, -10], [-10, -10, -10]], [[0, 1], [1, -10], [1, 1]]])
def test_exemplars_take_any_number_of_prompts_and_boxes(folder: Path, labels: list[list[int]]) -> None:
    count, boxes = len(labels), len(labels[0])
    inputs = {
        "coarse": torch.randn(2, WIDTH, GRID, GRID),
        "image_index": torch.arange(count) % 2,
        "boxes": torch.rand(count, boxes, 4) * 0.5 + 0.2,
        "labels": torch.tensor(labels),
        "text": torch.randn(count, 4, WIDTH),
        "text_mask": (IDS != 0)[:count, :4],
    }
    text, mask, geometry = ExemplarGraph(small_model())(**inputs)
    found = run(folder / "exemplars.onnx", **inputs)
    close(found, prompt_text=text, prompt_mask=mask, prompt_geometry=geometry)


@torch.no_grad()
@pytest.mark.parametrize("labels", [[[1]], [[2, 3, 1], [1, -10, -10]], [[-10], [1], [0]]])
def test_interactive_takes_any_number_of_objects_and_points(folder: Path, labels: list[list[int]]) -> None:
    tracker, count, points = small_tracker(), len(labels), len(labels[0])
    tokens = torch.randn(2, WIDTH, GRID, GRID)
    maps = InteractiveVisionGraph(tracker)(tokens)._asdict()
    close(run(folder / "interactive_vision.onnx", tokens=tokens), **maps)
    inputs = {
        **maps,
        "image_index": torch.arange(count) % 2,
        "points": torch.rand(count, points, 2),
        "labels": torch.tensor(labels),
        "before": torch.randn(count, 1, 4 * GRID, 4 * GRID),
        "has_before": torch.arange(count) == 1,
    }
    expected = InteractiveGraph(tracker, GRID, SIDE)(**inputs)
    close(run(folder / "interactive.onnx", **inputs), **expected._asdict())


def test_the_files_carry_names_and_types_of_inputs_and_outputs_only(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        assert model.ir_version <= 10, path.name
        assert not model.graph.value_info, path.name
        assert not any(n.metadata_props or n.doc_string for n in model.graph.node), path.name
        assert all(v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)), path.name
    names = {o.name for o in onnx.load(folder / "decoder.onnx").graph.output}
    assert {"scores", "boxes", "queries", "encoded", "prompt", "logits", "presence"} == names


def test_a_graph_that_is_too_large_for_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_GRAPH_BYTES", 100)
    weight = ir.Value(name="weight", const_value=ir.tensor(np.zeros(200, np.float32)))
    graph = ir.Graph([], [], nodes=[], initializers=[weight], opset_imports={"": 20}, name="large")
    with pytest.raises(ValueError, match=r"large\.onnx has .* GB of weights"):
        graphs._write(ir.Model(graph, ir_version=10), tmp_path / "large.onnx")
    assert not (tmp_path / "large.onnx").exists()


def test_queries_are_what_the_configuration_says(folder: Path) -> None:
    session = ort.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[1] == QUERIES


def test_only_what_is_wanted_is_written_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for name in ("vision", "exemplars", "decoder", "masks", "text", "interactive"):
        monkeypatch.setattr(graphs, f"_export_{name}", lambda *_, name=name, **given: written.append(name))
    told: list[tuple[int, int]] = []
    graphs.export_graphs(small_model(), tmp_path, optional=(), progress=lambda *t: told.append(t))
    assert written == ["vision", "decoder", "masks"]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    written.clear()
    graphs.export_graphs(small_model(), tmp_path, small_tracker())
    assert set(written) == {"vision", "decoder", "masks", "exemplars", "text", "interactive"}


def test_the_slow_rule_is_one_of_the_optimisers_and_comes_back() -> None:
    def names() -> list[str]:
        return [getattr(rule, "name", "") for rule in rewriter._DEFAULT_REWRITE_RULES]

    before = names()
    assert graphs.SLOW_RULE in before
    with graphs._quick():
        assert graphs.SLOW_RULE not in names()
    assert names() == before
