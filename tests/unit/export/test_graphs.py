"""The graphs compute what the model computes, in torch and as ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import Sam3Config
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.graphs import DecoderGraph, MaskGraph, TextGraph, VisionGraph
from sam3edge_export.onnx_graphs import export_graphs, store_weights_in_half

SIDE, LENGTH, QUERIES = 64, 6, 9
IDS = torch.tensor([[1, 5, 2, 0, 0, 0], [1, 5, 7, 2, 0, 0], [1, 9, 2, 0, 0, 0]])


@pytest.fixture(scope="module")
def model() -> Sam3Model:
    """SAM 3's structure at its smallest, with random weights."""
    torch.manual_seed(0)
    detr = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "dropout": 0.0, "num_layers": 1}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "patch_size": 8,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": SIDE,
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            "vocab_size": 16,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": LENGTH,
            "hidden_act": "gelu",
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        geometry_encoder_config=detr,
        detr_encoder_config=detr,
        detr_decoder_config={**detr, "num_queries": QUERIES},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )
    model = Sam3Model(config).eval()
    with torch.no_grad():  # the library's own initialisation is so small that every answer looks alike
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


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


@pytest.mark.timeout(400)
def test_the_onnx_files_agree_with_torch_for_any_batch_and_image_size(model: Sam3Model, tmp_path: Path) -> None:
    export_graphs(model, tmp_path)
    run = {
        name: ort.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        for name in ("vision", "decoder", "masks", "text")
    }
    mask = IDS != 0
    text = run["text"].run(None, {"input_ids": IDS.numpy()})[0]
    for size, pairs in (((64, 64), [0]), ((90, 200), [0, 1, 1]), ((301, 77), [1, 0])):
        count = max(pairs) + 1
        image = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(image).permute(0, 3, 1, 2), (SIDE, SIDE), mode="bilinear", antialias=True
        )
        index = torch.tensor(pairs)
        with torch.no_grad():
            features = VisionGraph(model)(resized.float() / 127.5 - 1)
            words = TextGraph(model)(IDS[: len(pairs)])
            expected = DecoderGraph(model)(features.coarse, features.geometry, index, words, mask[: len(pairs)])
        fine, medium, coarse, _ = run["vision"].run(None, {"image": image})
        np.testing.assert_allclose(coarse, features.coarse, atol=0.05)  # a grey level of rounding in the resize
        outputs = run["decoder"].run(
            None,
            {
                "coarse": features.coarse.numpy(),
                "geometry": features.geometry.numpy(),
                "image_index": index.numpy(),
                "text": text[: len(pairs)],
                "text_mask": mask[: len(pairs)].numpy(),
            },
        )
        decoded = dict(zip((o.name for o in run["decoder"].get_outputs()), outputs, strict=True))
        np.testing.assert_allclose(decoded["logits"], expected.logits, atol=1e-4)
        np.testing.assert_allclose(decoded["boxes"], expected.boxes, atol=1e-4)
        scores = expected.logits.sigmoid() * expected.presence.sigmoid()
        np.testing.assert_allclose(decoded["scores"], scores, atol=1e-4)
        chosen = {
            "image_index": index[-1:].numpy(),
            "pair_index": np.array([len(pairs) - 1]),
            "query_index": np.array([[3, 1, 0]]),
            "keep": np.array([0, 1]),
        }
        given = {"text_mask": mask[: len(pairs)].numpy()}
        given |= {name: decoded[name] for name in ("encoded", "prompt", "queries")}
        found = run["masks"].run(None, {"fine": fine, "medium": medium, **given, **chosen})[0]
        with torch.no_grad():
            wanted = MaskGraph(model)(
                torch.from_numpy(fine), torch.from_numpy(medium), expected.encoded, expected.prompt,
                mask[: len(pairs)], expected.queries, *(torch.from_numpy(v) for v in chosen.values()),
            )  # fmt: skip
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    before = (tmp_path / "vision.onnx").stat().st_size
    store_weights_in_half(tmp_path / "vision.onnx")
    halved = ort.InferenceSession(tmp_path / "vision.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(halved.run(None, {"image": image})[2], coarse, atol=0.1)
    assert (tmp_path / "vision.onnx").stat().st_size < before
