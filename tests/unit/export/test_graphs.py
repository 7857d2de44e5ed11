"""The graphs compute what the model computes."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, SharedVisionGraph, TextGraph, VisionGraph
from support.small_sam3 import IDS, QUERIES, SIDE, small_model


@pytest.fixture(scope="module")
def model() -> Sam3Model:
    return small_model()


@torch.no_grad()
def test_the_graphs_are_the_model_with_the_geometry_token_as_one_more_text_token(model: Sam3Model) -> None:
    pixels = torch.randn(3, 3, SIDE, SIDE)
    features, text = VisionGraph(model)(pixels), TextGraph(model)(IDS)
    mask = IDS != 0
    decoded = DecoderGraph(model)(features.coarse, features.geometry, torch.arange(3), text, mask)
    every = torch.arange(QUERIES)[None].expand(3, -1)
    masks = MaskGraph(model)(
        features.fine, features.medium, decoded.encoded, decoded.prompt, mask, decoded.queries,
        torch.arange(3), torch.arange(3), every, torch.arange(3 * QUERIES),
    )  # fmt: skip
    prompt = BaseModelOutputWithPooling(pooler_output=torch.cat([text, features.geometry], 1))
    whole = torch.cat([mask, torch.ones(3, 1, dtype=torch.bool)], 1)
    expected = model(pixel_values=pixels, text_embeds=prompt, attention_mask=whole.long())
    torch.testing.assert_close(decoded.logits, expected.pred_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.presence, expected.presence_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.boxes, expected.pred_boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(masks.view(3, QUERIES, 32, 32), expected.pred_masks, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_geometry_token_is_what_the_geometry_encoder_says_without_boxes(model: Sam3Model) -> None:
    """The port's encoder with one box that is masked out: its CLS token must be ours."""
    coarse = torch.randn(2, 32, 8, 8)
    graph = VisionGraph(model)
    ours = graph.geometry_token(coarse)
    encoder = model.geometry_encoder
    positions = graph.positions.T.view(1, 32, 8, 8).expand(2, -1, -1, -1)
    token = encoder.prompt_layer_norm(encoder.final_proj(encoder.cls_embed.weight.unsqueeze(0).expand(2, -1, -1)))
    for layer in encoder.layers:
        token = layer(
            prompt_feats=token,
            vision_feats=coarse.flatten(2).transpose(1, 2),
            vision_pos_encoding=positions.flatten(2).transpose(1, 2),
            prompt_mask=None,
        )
    torch.testing.assert_close(ours, encoder.output_layer_norm(token))


@torch.no_grad()
def test_without_the_geometry_token_the_answer_is_another(model: Sam3Model) -> None:
    """The trap that public ports fall into; if this fails, the test above proves nothing."""
    pixels = torch.randn(1, 3, SIDE, SIDE)
    features, text = VisionGraph(model)(pixels), TextGraph(model)(IDS[:1])
    decoded = DecoderGraph(model)(features.coarse, features.geometry, torch.arange(1), text, IDS[:1] != 0)
    bare = model(pixel_values=pixels, input_ids=IDS[:1], attention_mask=(IDS[:1] != 0).long())
    assert (decoded.logits - bare.pred_logits).abs().max() > 1e-3


@torch.no_grad()
def test_padding_behind_a_text_changes_nothing(model: Sam3Model) -> None:
    features, text, mask = VisionGraph(model)(torch.randn(1, 3, SIDE, SIDE)), TextGraph(model)(IDS), IDS != 0
    same = torch.zeros(3, dtype=torch.long)
    short = DecoderGraph(model)(features.coarse, features.geometry, same, text[:, :4], mask[:, :4])
    padded = DecoderGraph(model)(features.coarse, features.geometry, same, text, mask)
    torch.testing.assert_close(short.logits, padded.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short.boxes, padded.boxes, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_prompt_carries_the_geometry_token_that_it_is_given(model: Sam3Model) -> None:
    features, text, mask = VisionGraph(model)(torch.randn(2, 3, SIDE, SIDE)), TextGraph(model)(IDS), IDS != 0
    decode, first = DecoderGraph(model), torch.zeros(3, dtype=torch.long)
    swapped = decode(features.coarse, features.geometry, first, text, mask, torch.tensor([0, 1, 1]))
    plain = decode(features.coarse, features.geometry, first, text, mask)
    torch.testing.assert_close(swapped.logits[0], plain.logits[0])
    assert (swapped.logits[1:] - plain.logits[1:]).abs().amax(1).min() > 1e-4


@torch.no_grad()
def test_the_shared_vision_graph_adds_what_the_pyramid_stands_on(model: Sam3Model) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE)
    *features, tokens = SharedVisionGraph(model)(pixels)
    torch.testing.assert_close(tuple(features), tuple(VisionGraph(model)(pixels)))
    torch.testing.assert_close(model.vision_encoder.neck.fpn_layers[2](tokens), features[2])
