"""The small SAM 3: the architecture of the large one with fewer and narrower layers."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import Sam3Config
from transformers.models.sam3.modeling_sam3 import Sam3Model, inverse_sigmoid

from sam3edge_pipeline.synthetic import PHRASES

INPUT_SIZE = 128
PATCH = 8
ANCHORS = 8
"""Reference points lie on an ``ANCHORS`` x ``ANCHORS`` grid, one query each."""

CONTEXT_LENGTH = 8
"""Tokens of a phrase, with start, end and padding; the large model has 32."""


def small_config(vocabulary: int) -> Sam3Config:
    """Configuration of the demo model; ``vocabulary`` is the number of word tokens."""
    grid, width = INPUT_SIZE // PATCH, 96
    detr = {"hidden_size": width, "num_attention_heads": 4, "intermediate_size": 2 * width, "dropout": 0.0}
    return Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 128,
                "intermediate_size": 512,
                "num_hidden_layers": 5,
                "num_attention_heads": 4,
                "image_size": INPUT_SIZE,
                "patch_size": PATCH,
                "window_size": grid // 2,
                "global_attn_indexes": [2, 4],
                "pretrain_image_size": INPUT_SIZE,
            },
            "fpn_hidden_size": width,
            "backbone_feature_sizes": [[grid * 4] * 2, [grid * 2] * 2, [grid] * 2],
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 64,
            "intermediate_size": 128,
            "projection_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT_LENGTH,
            "hidden_act": "gelu",
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        geometry_encoder_config={**detr, "num_layers": 1},
        detr_encoder_config={**detr, "num_layers": 2},
        detr_decoder_config={**detr, "num_layers": 3, "num_queries": ANCHORS * ANCHORS},
        mask_decoder_config={"hidden_size": width, "num_attention_heads": 4, "num_upsampling_stages": 2},
    )


def word_tokenizer() -> Tokenizer:
    """A tokenizer of whole words over the scenes' phrases, laid out as CLIP's: start, words, end, zero padding."""
    words = sorted({word for phrase in PHRASES for word in phrase.split()})
    vocabulary = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unknown>": 3}
    vocabulary |= {word: i for i, word in enumerate(words, len(vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    tokenizer.enable_truncation(CONTEXT_LENGTH)
    tokenizer.enable_padding(length=CONTEXT_LENGTH, pad_id=0, pad_token="<pad>")
    return tokenizer


def token_ids(tokenizer: Tokenizer, phrases: tuple[str, ...]) -> torch.Tensor:
    """int64 [P, CONTEXT_LENGTH]."""
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(phrases))])


def build_small_model(tokenizer: Tokenizer) -> Sam3Model:
    """A model ready to be trained from scratch.

    The library's normal(0, 0.02) stalls at this width, so linear and convolution layers start as Xavier. Queries start
    as local detectors: reference points on a grid, no box offset, and a position bias that lets a query see the inside
    of its reference box first (bias -k per unit of logarithmic distance outside, k by head).
    """
    model = Sam3Model(small_config(tokenizer.get_vocab_size()))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    decoder = model.detr_decoder
    nn.init.zeros_(decoder.box_head.layer3.weight)
    with torch.no_grad():
        centers = (torch.arange(ANCHORS) + 0.5) / ANCHORS
        y, x = torch.meshgrid(centers, centers, indexing="ij")
        side = torch.full_like(x, 0.2)
        boxes = torch.stack([x, y, side, side], -1).view(-1, 4)
        decoder.reference_points.weight.copy_(inverse_sigmoid(boxes))
        decoder.query_embed.weight.copy_(anchor_codes(boxes[:, :2], decoder.hidden_size))
        for mlp in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
            mlp.layer1.weight[0] = torch.tensor([-1.0, 0.0])  # how far before the box's near edge
            mlp.layer1.weight[1] = torch.tensor([0.0, 1.0])  # how far behind its far edge
            mlp.layer2.weight.mul_(0.1)
            mlp.layer2.weight[:, :2] = -torch.tensor([8.0, 4.0, 2.0, 0.0])[:, None]
    return model


def anchor_codes(centers: torch.Tensor, width: int) -> torch.Tensor:
    """First states of the queries, float32 [Q, width]: functions of where each looks, and of nothing else.

    With random states every query would have to learn for itself how to turn what it sees into an offset from its
    anchor; with these, what one query learns holds for all.
    """
    waves = [wave(centers * np.pi * f) for f in (1, 2, 4) for wave in (torch.sin, torch.cos)]
    features = torch.cat([centers * 2 - 1, inverse_sigmoid(centers) / 2, *waves], 1)
    mixing = torch.nn.init.orthogonal_(
        torch.empty(width, features.shape[1]), generator=torch.Generator().manual_seed(0)
    )
    return features @ mixing.T * 2
