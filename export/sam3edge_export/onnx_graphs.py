"""The graphs of ``graphs.py`` as ONNX files."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, compose, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.graphs import DecoderGraph, MaskGraph, TextGraph, VisionGraph, grid_size

OPSET = 20
"""First opset whose Resize antialiases uint8 images and whose Gelu is one node."""

IR_VERSION = 10
"""Read by ONNX Runtime 1.18, the oldest that devices may have."""

SMALL = 1024
"""Weights with fewer elements are stored in full precision."""


class _ScoredDecoder(nn.Module):
    """The decoder with the score rule behind it."""

    def __init__(self, inner: DecoderGraph) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, coarse: Tensor, geometry: Tensor, image_index: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, ...]:
        d = self.inner(coarse, geometry, image_index, text, text_mask)
        scores = d.logits.sigmoid() * d.presence.sigmoid()
        return scores, d.boxes, d.queries, d.encoded, d.prompt, d.logits, d.presence


def export_graphs(model: Sam3Model, folder: Path) -> None:
    """Write ``vision.onnx``, ``decoder.onnx``, ``masks.onnx`` and ``text.onnx`` into ``folder``.

    Batches of images and of prompts are dynamic; the vision graph takes uint8 images [B, H, W, 3] of any size.
    """
    model = model.eval()
    grid = grid_size(model)
    backbone = model.config.vision_config.backbone_config
    width = model.config.detr_encoder_config.hidden_size
    length = model.config.text_config.max_position_embeddings
    queries = model.config.detr_decoder_config.num_queries
    side = int(backbone.image_size)
    images, pairs, picked, most = Dim("images"), Dim("pairs"), Dim("picked"), Dim("most")

    pixels = torch.zeros(2, 3, side, side)
    vision = _export(VisionGraph(model), {"pixels": pixels}, {"pixels": {0: images}}, _VISION_OUTPUTS)
    _save(_with_preprocessing(vision, side), folder / "vision.onnx")

    coarse, geometry = torch.zeros(2, width, grid, grid), torch.zeros(2, 1, width)
    image_index = torch.tensor([0, 1, 1])
    text, text_mask = torch.zeros(3, length, width), torch.ones(3, length, dtype=torch.bool)
    decoder = _export(
        _ScoredDecoder(DecoderGraph(model)),
        {"coarse": coarse, "geometry": geometry, "image_index": image_index, "text": text, "text_mask": text_mask},
        {
            "coarse": {0: images},
            "geometry": {0: images},
            "image_index": {0: pairs},
            "text": {0: pairs},
            "text_mask": {0: pairs},
        },
        ("scores", "boxes", "queries", "encoded", "prompt", "logits", "presence"),
    )
    _save(decoder, folder / "decoder.onnx")

    masks = _export(
        MaskGraph(model),
        {
            "fine": torch.zeros(2, width, 4 * grid, 4 * grid),
            "medium": torch.zeros(2, width, 2 * grid, 2 * grid),
            "encoded": torch.zeros(3, grid * grid, width),
            "prompt": torch.zeros(3, length + 1, width),
            "text_mask": text_mask,
            "queries": torch.zeros(3, queries, width),
            "image_index": torch.tensor([0, 1]),
            "pair_index": torch.tensor([0, 2]),
            "query_index": torch.zeros(2, 3, dtype=torch.long),
            "keep": torch.tensor([0, 1, 3, 4, 5]),
        },
        {
            "fine": {0: images},
            "medium": {0: images},
            "encoded": {0: pairs},
            "prompt": {0: pairs},
            "text_mask": {0: pairs},
            "queries": {0: pairs},
            "image_index": {0: picked},
            "pair_index": {0: picked},
            "query_index": {0: picked, 1: most},
            "keep": {0: Dim("masks")},
        },
        ("masks",),
    )
    _save(masks, folder / "masks.onnx")

    ids = torch.zeros(2, length, dtype=torch.long)
    ids[:, 0] = 1
    _save(
        _export(TextGraph(model), {"input_ids": ids}, {"input_ids": {0: Dim("phrases")}}, ("text",)),
        folder / "text.onnx",
    )


_VISION_OUTPUTS = ("fine", "medium", "coarse", "geometry")


def _export(
    module: nn.Module, inputs: dict[str, Tensor], dynamic: dict[str, dict[int, object]], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Trace a module to ONNX with named inputs and outputs."""
    with _quiet(), torch.no_grad():
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
    model: onnx.ModelProto = program.model_proto
    return model


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


def _with_preprocessing(vision: onnx.ModelProto, side: int) -> onnx.ModelProto:
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
    graph = helper.make_graph(nodes, "preprocessing", [image], [pixels], constants)
    prefix = helper.make_model(graph, opset_imports=vision.opset_import, ir_version=vision.ir_version)
    return compose.merge_models(prefix, vision, [("normalised", "pixels")])


def store_weights_in_half(path: Path) -> None:
    """Store large float weights in half precision and widen them when the graph is loaded: half the size, computed in
    single precision. ONNX Runtime folds the casts at load."""
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name + ".half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(half)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _save(model, path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    model.ir_version = min(model.ir_version, IR_VERSION)
    for node in model.graph.node:  # where a node came from in the exporter's Python is of no use on a device
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)
