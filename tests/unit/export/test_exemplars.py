"""Boxes do to a prompt what they do in transformers' model, whose RoI pooling comes from ONNX Runtime here."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor
from transformers.models.sam3 import modeling_sam3
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.engines.ort import ort
from sam3edge_export.sam3.exemplars import ExemplarGraph, roi_align
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, TextGraph, VisionGraph
from support.small_sam3 import IDS, QUERIES, SIDE, small_model

BOXES = torch.tensor(
    [
        [[0.5, 0.5, 0.3, 0.6], [0.2, 0.7, 0.4, 0.2], [0.8, 0.3, 0.4, 0.6]],
        [[0.4, 0.4, 0.8, 0.8], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]],
        [[0.9, 0.9, 0.01, 0.02], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]],
    ]
)
LABELS = torch.tensor([[1, 1, 0], [0, 1, -10], [1, -10, -10]])


def reference_roi_align(features: Tensor, boxes: list[Tensor], size: int) -> Tensor:
    """``torchvision.ops.roi_align`` with its defaults, by ONNX Runtime's operator, which was written independently."""
    rois = torch.cat(boxes)
    owners = torch.repeat_interleave(torch.arange(len(boxes)), torch.tensor([len(b) for b in boxes]))
    node = helper.make_node(
        "RoiAlign",
        ["features", "rois", "owners"],
        ["pooled"],
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=0,
        spatial_scale=1.0,
        coordinate_transformation_mode="output_half_pixel",
    )
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, [None] * 4),
        helper.make_tensor_value_info("rois", TensorProto.FLOAT, [None, 4]),
        helper.make_tensor_value_info("owners", TensorProto.INT64, [None]),
    ]
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph([node], "pool", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"features": features.contiguous().numpy(), "rois": rois.numpy(), "owners": owners.numpy()}
    return torch.from_numpy(np.asarray(session.run(None, feed)[0]))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Sam3Model:
    pooling = SimpleNamespace(ops=SimpleNamespace(roi_align=reference_roi_align))
    monkeypatch.setattr(modeling_sam3, "torchvision", pooling, raising=False)
    return small_model()


@pytest.mark.parametrize(("grid", "size"), [(8, 7), (21, 7), (72, 7), (30, 3)])
def test_pooling_is_the_reference_operator_for_boxes_of_any_size_and_place(grid: int, size: int) -> None:
    generator = torch.Generator().manual_seed(grid)
    features = torch.randn(3, 4, grid, grid, generator=generator)
    boxes = torch.rand(3, 40, 4, generator=generator)
    boxes[:, 0] = torch.tensor([0.5, 0.5, 1.0, 1.0])  # the whole image
    boxes[:, 1] = torch.tensor([0.5, 0.5, 0.0, 0.0])  # nothing
    boxes[:, 2] = torch.tensor([1.3, 0.5, 0.5, 0.5])  # beside the image
    pixels = modeling_sam3.box_cxcywh_to_xyxy(boxes) * grid
    expected = reference_roi_align(features, list(pixels.unbind(0)), size).view(3, 40, 4, size, size)
    torch.testing.assert_close(roi_align(features, boxes, size), expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("labels", [LABELS, LABELS.clamp(min=0) * 0, LABELS.clamp(min=1)])
def test_positive_and_negative_boxes_give_what_the_model_gives(model: Sam3Model, labels: Tensor) -> None:
    pixels, mask = torch.randn(3, 3, SIDE, SIDE), IDS != 0
    features, text, own = VisionGraph(model)(pixels), TextGraph(model)(IDS), torch.arange(3)
    shown = ExemplarGraph(model)(features.coarse, own, BOXES, labels, text, mask)
    decoded = DecoderGraph(model)(features.coarse, shown.geometry, own, shown.text, shown.text_mask, own)
    every = torch.arange(QUERIES)[None].expand(3, -1)
    masks = MaskGraph(model)(
        features.fine, features.medium, decoded.encoded, decoded.prompt, shown.text_mask, decoded.queries,
        own, own, every, torch.arange(3 * QUERIES),
    )  # fmt: skip
    expected = model(
        pixel_values=pixels,
        input_ids=IDS,
        attention_mask=mask.long(),
        input_boxes=BOXES,
        input_boxes_labels=labels,
    )
    torch.testing.assert_close(decoded.logits, expected.pred_logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded.presence, expected.presence_logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded.boxes, expected.pred_boxes, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(masks.view(3, QUERIES, 32, 32), expected.pred_masks, atol=1e-4, rtol=1e-4)
    plain = DecoderGraph(model)(features.coarse, features.geometry, own, text, mask)
    assert (plain.logits - decoded.logits).abs().amax(1).min() > 1e-3  # the boxes did something


@torch.no_grad()
def test_a_prompt_without_boxes_among_others_comes_out_as_a_text_prompt(model: Sam3Model) -> None:
    features = VisionGraph(model)(torch.randn(1, 3, SIDE, SIDE))
    text, mask, same = TextGraph(model)(IDS), IDS != 0, torch.zeros(3, dtype=torch.long)
    labels = LABELS.clone()
    labels[1] = -10
    shown = ExemplarGraph(model)(features.coarse, same, BOXES, labels, text, mask)
    torch.testing.assert_close(shown.geometry[1:2], features.geometry, atol=1e-5, rtol=1e-5)
    assert not shown.text_mask[1, mask.shape[1] :].any()
    assert (shown.geometry[0] - features.geometry[0]).abs().max() > 1e-3


@torch.no_grad()
def test_neither_order_nor_padding_of_boxes_matters(model: Sam3Model) -> None:
    features = VisionGraph(model)(torch.randn(1, 3, SIDE, SIDE))
    text, mask, first = TextGraph(model)(IDS[:1]), IDS[:1] != 0, torch.zeros(1, dtype=torch.long)

    def logits(boxes: Tensor, labels: Tensor) -> Tensor:
        shown = ExemplarGraph(model)(features.coarse, first, boxes, labels, text, mask)
        return DecoderGraph(model)(features.coarse, shown.geometry, first, shown.text, shown.text_mask, first).logits

    ordered = logits(BOXES[:1, [0, 2]], torch.tensor([[1, 0]]))
    padded = logits(BOXES[:1, [1, 2, 0]], torch.tensor([[-10, 0, 1]]))
    torch.testing.assert_close(ordered, padded, atol=1e-5, rtol=1e-5)
    assert (ordered - logits(BOXES[:1, [0, 2]], torch.tensor([[0, 1]]))).abs().max() > 1e-4


def test_the_reference_operator_is_what_torchvision_documents() -> None:
    """One sample of a bin of one cell: the mean of the four pixels around its corner (aligned=False)."""
    features = torch.arange(16.0).view(1, 1, 4, 4)
    [[[[value]]]] = reference_roi_align(features, [torch.tensor([[1.0, 1.0, 2.0, 2.0]])], 1).tolist()
    assert value == pytest.approx(float(features[0, 0, 1:3, 1:3].mean()))
    assert onnx.defs.has("RoiAlign")
