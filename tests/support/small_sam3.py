"""SAM 3's structure at its smallest, with random weights, for tests of what is made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam3Config, Sam3TrackerConfig
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge.core.types import ModelFiles
from sam3edge_export.onnx.graphs import export_graphs
from sam3edge_export.sam3.graphs import TextGraph
from support.made_once import made_once

SIDE, PATCH, WINDOW, WIDTH, LENGTH, QUERIES = 64, 8, 4, 32, 6, 9

PHRASES = ("visual", "some", "other")
IDS = torch.tensor([[1, 5, 2, 0, 0, 0], [1, 5, 7, 2, 0, 0], [1, 9, 2, 0, 0, 0]])
"""Tokens of the phrases."""


def small_model(side: int = SIDE, seed: int = 0) -> Sam3Model:
    """A detector for images of ``side`` pixels."""
    torch.manual_seed(seed)
    detr = {"hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": 64, "dropout": 0.0, "num_layers": 1}
    config = Sam3Config(
        vision_config=_vision(side),
        text_config={
            "vocab_size": 16,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "projection_dim": WIDTH,
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
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )
    model = Sam3Model(config).eval()
    _stir(model)
    return model


def small_tracker(side: int = SIDE, levels: int = 4, seed: int = 1) -> Sam3TrackerModel:
    """A tracker for images of ``side`` pixels with that many levels in its feature pyramid; the checkpoint has four."""
    torch.manual_seed(seed)
    config = Sam3TrackerConfig(
        vision_config={
            "model_type": "sam3_vision_model",
            "scale_factors": [4.0, 2.0, 1.0, 0.5][:levels],
            **_vision(side),
        },
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": side, "patch_size": PATCH},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": WIDTH,
        },
    )
    tracker = Sam3TrackerModel(config).eval()
    _stir(tracker)
    return tracker


def _vision(side: int) -> dict[str, object]:
    grid = side // PATCH
    return {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": side,
            "patch_size": PATCH,
            "window_size": WINDOW,
            "global_attn_indexes": [1],
            "pretrain_image_size": 48,  # smaller than the image, as in the checkpoint, so that positions are tiled
        },
        "fpn_hidden_size": WIDTH,
        "backbone_feature_sizes": [[n * grid, n * grid] for n in (4, 2, 1)],
    }


@torch.no_grad()
def _stir(model: torch.nn.Module) -> None:
    """The library's own initialisation is so small that every answer looks alike."""
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)


def small_bundle(factory: pytest.TempPathFactory) -> Path:
    """Everything that can be exported of a small model and tracker, and the features of three phrases; made once a run.
    Not to be changed."""
    return made_once(factory, "small-sam3", _export_everything)


def _export_everything(folder: Path) -> None:
    model = small_model()
    export_graphs(model, folder, small_tracker())
    with torch.no_grad():
        features = TextGraph(model)(IDS)
    np.savez(folder / "prompts.npz", phrases=np.array(PHRASES), features=features.numpy(), mask=(IDS != 0).numpy())


def model_files(folder: Path) -> ModelFiles:
    """``folder`` as an engine takes it."""
    return ModelFiles(folder, "small", "1.0.0", "sha256:" + "5" * 64, "fp32", SIDE)
