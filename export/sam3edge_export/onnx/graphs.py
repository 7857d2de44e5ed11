"""The graphs of ``graphs.py``, ``exemplars.py`` and ``interactive.py`` as ONNX files."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import rewriter
from torch import Tensor, nn
from torch.export import Dim
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge_export.sam3.exemplars import ExemplarGraph
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, SharedVisionGraph, TextGraph, VisionGraph, grid_size
from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph

OPSET = 20
"""First opset whose Resize antialiases uint8 images and whose Gelu is one node."""

IR_VERSION = 10
"""Read by ONNX Runtime 1.18, the oldest that devices may have."""

MAX_GRAPH_BYTES = 2**31 - 1
"""Bytes that one protobuf message, hence one ONNX file, may have."""

_VISION = ("fine", "medium", "coarse", "geometry")
_DECODED = ("scores", "boxes", "queries", "encoded", "prompt", "logits", "presence")
_IMAGES, _PAIRS, _TOKENS, _BOXES = Dim("images"), Dim("pairs"), Dim("tokens"), Dim("boxes")
_PICKED, _MOST, _OBJECTS, _POINTS = Dim("picked"), Dim("most"), Dim("objects"), Dim("points")

_Dynamic = dict[str, dict[int, Any]]


class _ScoredDecoder(nn.Module):
    """The decoder with the score rule behind it.

    No top-K behind that: scores and boxes of 200 queries are 4 KB a prompt, which the host sorts in microseconds. What
    is worth leaving on the accelerator are masks, and the mask graph gathers the admitted queries before it makes any.
    """

    def __init__(self, inner: DecoderGraph) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self,
        coarse: Tensor,
        geometry: Tensor,
        image_index: Tensor,
        geometry_index: Tensor,
        text: Tensor,
        text_mask: Tensor,
    ) -> tuple[Tensor, ...]:
        d = self.inner(coarse, geometry, image_index, text, text_mask, geometry_index)
        scores = d.logits.sigmoid() * d.presence.sigmoid()
        return scores, d.boxes, d.queries, d.encoded, d.prompt, d.logits, d.presence


Optional: TypeAlias = Literal["exemplars", "text"]

EVERYTHING: frozenset[Optional] = frozenset({"exemplars", "text"})
"""What a bundle can have beside the graphs that it needs to find what a phrase names."""


def export_graphs(
    model: Sam3Model,
    folder: Path,
    tracker: Sam3TrackerModel | None = None,
    optional: Collection[Optional] = EVERYTHING,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Write ``vision.onnx``, ``decoder.onnx`` and ``masks.onnx`` into ``folder``.

    Batches of images, prompts, boxes, clicked objects and points are dynamic; the vision graph takes uint8 images
    [B, H, W, 3] of any size. The model's input size is that of its configuration.

    Args:
        tracker: when given, ``interactive_vision.onnx`` and ``interactive.onnx`` are written, too, and ``vision.onnx``
            gives the tokens that they start from.
        optional: which of ``exemplars.onnx`` and ``text.onnx`` (at full size 1.4 GB) to write.
        progress: is told how many of how many graphs are written.

    Raises:
        ValueError: a graph is larger than an ONNX file may be.
    """
    model.eval()
    steps: list[Callable[[], None]] = [
        lambda: _export_vision(model, folder, shared=tracker is not None),
        lambda: _export_decoder(model, folder),
        lambda: _export_masks(model, folder),
    ]
    if "exemplars" in optional:
        steps.append(lambda: _export_exemplars(model, folder))
    if "text" in optional:
        steps.append(lambda: _export_text(model, folder))
    if tracker is not None:
        steps.append(lambda: _export_interactive(tracker.eval(), grid_size(model), _side(model), folder))
    progress(0, len(steps))
    for done, step in enumerate(steps, 1):
        step()
        progress(done, len(steps))


def _side(model: Sam3Model) -> int:
    return int(model.config.vision_config.backbone_config.image_size)


def _width(model: Sam3Model) -> int:
    return int(model.config.detr_encoder_config.hidden_size)


def _export_vision(model: Sam3Model, folder: Path, *, shared: bool) -> None:
    graph = SharedVisionGraph(model) if shared else VisionGraph(model)
    pixels = torch.zeros(2, 3, _side(model), _side(model))
    outputs = (*_VISION, "tokens") if shared else _VISION
    vision = _trace(graph, {"pixels": pixels}, {"pixels": {0: _IMAGES}}, outputs)
    _put_preprocessing_before(vision, _side(model))
    _write(vision, folder / "vision.onnx")


def _export_exemplars(model: Sam3Model, folder: Path) -> None:
    width, grid = _width(model), grid_size(model)
    inputs = {
        "coarse": torch.zeros(2, width, grid, grid),
        "image_index": torch.tensor([0, 1, 1]),
        "boxes": torch.full((3, 4, 4), 0.5),
        "labels": torch.tensor([[1, 0, -10, -10]] * 3),
        "text": torch.zeros(3, 5, width),
        "text_mask": torch.ones(3, 5, dtype=torch.bool),
    }
    dynamic: _Dynamic = {name: {0: _PAIRS} for name in inputs} | {
        "coarse": {0: _IMAGES},
        "boxes": {0: _PAIRS, 1: _BOXES},
        "labels": {0: _PAIRS, 1: _BOXES},
        "text": {0: _PAIRS, 1: _TOKENS},
        "text_mask": {0: _PAIRS, 1: _TOKENS},
    }
    # an output must not have the name of an input
    outputs = ("prompt_text", "prompt_mask", "prompt_geometry")
    _write(_trace(ExemplarGraph(model), inputs, dynamic, outputs), folder / "exemplars.onnx")


def _export_decoder(model: Sam3Model, folder: Path) -> None:
    width, grid = _width(model), grid_size(model)
    inputs = {
        "coarse": torch.zeros(2, width, grid, grid),
        "geometry": torch.zeros(4, 1, width),
        "image_index": torch.tensor([0, 1, 1]),
        "geometry_index": torch.tensor([0, 1, 3]),
        "text": torch.zeros(3, 5, width),
        "text_mask": torch.ones(3, 5, dtype=torch.bool),
    }
    dynamic: _Dynamic = {name: {0: _PAIRS} for name in inputs} | {
        "coarse": {0: _IMAGES},
        "geometry": {0: Dim("geometries")},
        "text": {0: _PAIRS, 1: _TOKENS},
        "text_mask": {0: _PAIRS, 1: _TOKENS},
    }
    _write(_trace(_ScoredDecoder(DecoderGraph(model)), inputs, dynamic, _DECODED), folder / "decoder.onnx")


def _export_masks(model: Sam3Model, folder: Path) -> None:
    width, grid = _width(model), grid_size(model)
    inputs = {
        "fine": torch.zeros(2, width, 4 * grid, 4 * grid),
        "medium": torch.zeros(2, width, 2 * grid, 2 * grid),
        "encoded": torch.zeros(3, grid * grid, width),
        "prompt": torch.zeros(3, 6, width),
        "text_mask": torch.ones(3, 5, dtype=torch.bool),
        "queries": torch.zeros(3, model.config.detr_decoder_config.num_queries, width),
        "image_index": torch.tensor([0, 1]),
        "pair_index": torch.tensor([0, 2]),
        "query_index": torch.zeros(2, 3, dtype=torch.long),
        "keep": torch.tensor([0, 1, 3, 4, 5]),
    }
    dynamic: _Dynamic = {
        "fine": {0: _IMAGES},
        "medium": {0: _IMAGES},
        "encoded": {0: _PAIRS},
        "prompt": {0: _PAIRS, 1: _TOKENS + 1},
        "text_mask": {0: _PAIRS, 1: _TOKENS},
        "queries": {0: _PAIRS},
        "image_index": {0: _PICKED},
        "pair_index": {0: _PICKED},
        "query_index": {0: _PICKED, 1: _MOST},
        "keep": {0: Dim("masks")},
    }
    _write(_trace(MaskGraph(model), inputs, dynamic, ("masks",)), folder / "masks.onnx")


def _export_text(model: Sam3Model, folder: Path) -> None:
    ids = torch.zeros(2, model.config.text_config.max_position_embeddings, dtype=torch.long)
    ids[:, 0] = 1
    text = _trace(TextGraph(model), {"input_ids": ids}, {"input_ids": {0: Dim("phrases")}}, ("text",))
    _write(text, folder / "text.onnx")


def _export_interactive(tracker: Sam3TrackerModel, grid: int, side: int, folder: Path) -> None:
    tokens = torch.zeros(2, tracker.config.vision_config.backbone_config.hidden_size, grid, grid)
    maps = ("embedding", "middle", "finest")
    vision = _trace(InteractiveVisionGraph(tracker), {"tokens": tokens}, {"tokens": {0: _IMAGES}}, maps)
    _write(vision, folder / "interactive_vision.onnx")
    width = tracker.config.mask_decoder_config.hidden_size
    inputs = {
        "embedding": torch.zeros(2, width, grid, grid),
        "middle": torch.zeros(2, width // 4, 2 * grid, 2 * grid),
        "finest": torch.zeros(2, width // 8, 4 * grid, 4 * grid),
        "image_index": torch.tensor([0, 1, 1]),
        "points": torch.full((3, 4, 2), 0.5),
        "labels": torch.tensor([[1, 0, -10, -10]] * 3),
        "before": torch.zeros(3, 1, 4 * grid, 4 * grid),
        "has_before": torch.tensor([True, False, True]),
    }
    dynamic: _Dynamic = {name: {0: _OBJECTS} for name in inputs} | {
        **{name: {0: _IMAGES} for name in maps},
        "points": {0: _OBJECTS, 1: _POINTS},
        "labels": {0: _OBJECTS, 1: _POINTS},
    }
    outputs = ("masks", "quality", "presence", "single")
    _write(_trace(InteractiveGraph(tracker, grid, side), inputs, dynamic, outputs), folder / "interactive.onnx")


def _trace(module: nn.Module, inputs: dict[str, Tensor], dynamic: _Dynamic, outputs: Sequence[str]) -> ir.Model:
    """Trace a module to ONNX with named inputs and outputs. Weights are referred to, not copied."""
    with _quiet(), _quick(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of, and logs, its own internals by the thousand."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


SLOW_RULE = "SlicesSplit"
"""A rewrite of the exporter's optimiser that looks through the whole graph for every slice. It finds nothing in these
graphs, and takes a third of the time that the export of 32 layers takes."""


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Without the slow rule, where this onnxscript keeps its rules as the tested one does."""
    rules = getattr(rewriter, "_DEFAULT_REWRITE_RULES", ())
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in rules if getattr(rule, "name", "") != SLOW_RULE)
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = rules


def _put_preprocessing_before(vision: ir.Model, side: int) -> None:
    """Put the reference's preprocessing before the vision graph: uint8 [B, H, W, 3] RGB of any size, bilinear with
    antialias to a square of uint8, as the reference rounds it there, then (x / 255 - 0.5) / 0.5.

    ``exclude_outside`` leaves pixels outside of the image out of the weights, as Pillow and torch do; without it the
    border of a shrunken image differs by up to 15 grey levels.
    """
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        # all four sizes: ONNX Runtime 1.31 loses count of them when the attribute axes names two
        helper.make_node("Shape", ["planes"], ["batch_and_colors"], end=2),
        helper.make_node("Concat", ["batch_and_colors", "square"], ["sizes"], axis=0),
        helper.make_node(
            "Resize",
            ["planes", "", "", "sizes"],
            ["resized"],
            mode="linear",
            antialias=1,
            exclude_outside=1,
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Cast", ["resized"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "half_range"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "one"], ["normalised"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([side, side], np.int64), "square"),
        numpy_helper.from_array(np.array(127.5, np.float32), "half_range"),
        numpy_helper.from_array(np.array(1.0, np.float32), "one"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["images", "height", "width", 3])
    pixels = helper.make_tensor_value_info("normalised", TensorProto.FLOAT, ["images", 3, side, side])
    prefix = ir.serde.deserialize_graph(helper.make_graph(nodes, "preprocessing", [image], [pixels], constants))
    [frames], [given], [taken] = prefix.inputs, prefix.outputs, vision.graph.inputs
    steps, weights = list(prefix), list(prefix.initializers.values())
    for owned in (prefix.inputs, prefix.outputs, prefix.initializers):  # a value belongs to one graph
        owned.clear()
    prefix.remove(steps)
    vision.graph.insert_before(vision.graph[0], steps)
    for weight in weights:
        vision.graph.register_initializer(weight)
    ir.convenience.replace_all_uses_with(taken, given)
    vision.graph.inputs[0] = frames


def _write(model: ir.Model, path: Path) -> None:
    """Save as one file, weight by weight.

    A message that is written in pieces is the same message (`merging`_, which every protobuf parser does), so that no
    copy of all weights has to be in memory: saving the usual way needs two.

    .. _merging: https://protobuf.dev/programming-guides/encoding/#last-one-wins
    """
    model.ir_version = min(model.ir_version, IR_VERSION)
    outputs = set(model.graph.outputs)
    for node in model.graph.all_nodes():  # where a node came from in the exporter's Python is of no use on a device
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in outputs:
                value.type = value.shape = None
    weights = [(value.name, value.const_value) for value in model.graph.initializers.values()]
    size = sum(weight.nbytes for _, weight in weights if weight is not None)
    if size > MAX_GRAPH_BYTES:
        raise ValueError(
            f"{path.name} has {size / 1e9:.2f} GB of weights, expected at most {MAX_GRAPH_BYTES / 1e9:.2f}"
        )
    model.graph.initializers.clear()
    with path.open("wb") as stream:
        stream.write(ir.serde.serialize_model(model).SerializeToString())
        for name, weight in weights:
            assert weight is not None, f"weight {name} of {path.name} has no value"
            tensor = ir.serde.serialize_tensor(weight)
            tensor.name = str(name)
            piece = onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor]))
            stream.write(piece.SerializeToString())
    onnx.checker.check_model(path)
