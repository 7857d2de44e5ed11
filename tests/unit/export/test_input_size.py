"""One set of weights, several input sizes: the graphs take the grid from the configuration."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sam3edge_export.sam3.exemplars import ExemplarGraph
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, TextGraph, VisionGraph, grid_size
from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph
from support.small_sam3 import IDS, PATCH, QUERIES, small_model, small_tracker


@torch.no_grad()
@pytest.mark.parametrize("side", [32, 96])
def test_the_graphs_are_the_model_at_that_size(side: int) -> None:
    model, grid = small_model(side), side // PATCH
    model.load_state_dict(small_model().state_dict())
    assert grid_size(model) == grid
    pixels, mask, own = torch.randn(3, 3, side, side), IDS != 0, torch.arange(3)
    features, text = VisionGraph(model)(pixels), TextGraph(model)(IDS)
    boxes, labels = torch.rand(3, 2, 4) * 0.4 + 0.3, torch.tensor([[1, 0]] * 3)
    shown = ExemplarGraph(model)(features.coarse, own, boxes, labels, text, mask)
    decoded = DecoderGraph(model)(features.coarse, shown.geometry, own, shown.text, shown.text_mask, own)
    every = torch.arange(QUERIES)[None].expand(3, -1)
    masks = MaskGraph(model)(
        features.fine, features.medium, decoded.encoded, decoded.prompt, shown.text_mask, decoded.queries,
        own, own, every, torch.arange(3 * QUERIES),
    )  # fmt: skip
    assert masks.shape == (3 * QUERIES, 4 * grid, 4 * grid)
    expected = model(
        pixel_values=pixels,
        text_embeds=BaseModelOutputWithPooling(pooler_output=torch.cat([shown.text, shown.geometry], 1)),
        attention_mask=torch.cat([shown.text_mask, torch.ones(3, 1, dtype=torch.bool)], 1).long(),
    )
    torch.testing.assert_close(decoded.logits, expected.pred_logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded.boxes, expected.pred_boxes, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(masks.view_as(expected.pred_masks), expected.pred_masks, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_clicks_work_at_another_size_too() -> None:
    tracker, grid = small_tracker(96, levels=3), 96 // PATCH
    tracker.load_state_dict(small_tracker(levels=3).state_dict())
    pixels = torch.randn(1, 3, 96, 96)
    tokens = tracker.vision_encoder.backbone(pixels).last_hidden_state.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    click, label = torch.tensor([[[30.0, 70.0]]]), torch.tensor([[1]])
    found = InteractiveGraph(tracker, grid, 96)(
        *InteractiveVisionGraph(tracker)(tokens),
        torch.zeros(1, dtype=torch.long),
        click / 96,
        label,
        torch.zeros(1, 1, 4 * grid, 4 * grid),
        torch.tensor([False]),
    )
    expected = tracker(pixel_values=pixels, input_points=click[None], input_labels=label[None])
    torch.testing.assert_close(found.masks[:, 1:], expected.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.quality[:, 1:], expected.iou_scores[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_positions_are_tiled_and_rotary_angles_stretched_as_the_reference_does() -> None:
    """Meta's ``get_abs_pos`` with tiling, and ``compute_axial_cis`` with the scale window / grid (``vitdet.py``)."""
    model = small_model(96)
    backbone = model.vision_encoder.backbone
    learned = backbone.embeddings.position_embeddings  # of a grid of 6, for a grid of 12
    tiled = backbone.embeddings._tile_position_embeddings(learned, 12, 12).view(12, 12, -1)
    rows = torch.arange(12) % 6
    torch.testing.assert_close(tiled, learned.view(6, 6, -1)[rows][:, rows])
    y, x = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    expected = torch.stack([x.flatten(), y.flatten()], -1) * (4 / 12)
    torch.testing.assert_close(backbone.layers[1].position_ids.float(), expected)
