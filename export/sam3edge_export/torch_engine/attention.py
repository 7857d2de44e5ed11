"""Which attention kernel runs where.

torch prefers FlashAttention 2, whose kernels are Ampere's. On Hopper, and nowhere else, cuDNN's are faster for long
sequences: the 5184 tokens of SAM 3's global layers and of the DETR encoder. Windows (576 tokens) are as fast either
way, and attention with a mask or a bias stays with torch's choice, the memory-efficient kernel.
https://github.com/huggingface/transformers/pull/48163, https://github.com/sgl-project/sglang/pull/30090
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.sam3.modeling_sam3 import Sam3Attention, Sam3Model, Sam3ViTRoPEAttention

NAME = "sam3edge-hopper"
HOPPER = 9
"""Major compute capability of H100, H200 and GH200."""

LONG = 1024
"""Tokens from which cuDNN's kernel is preferred."""

PREFERENCE = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def use_fast_attention(model: Sam3Model, device: torch.device) -> None:
    """Let ``model`` prefer the kernels that are fastest on ``device``."""
    if torch.cuda.get_device_capability(device)[0] == HOPPER:
        prefer_cudnn(model)


def prefer_cudnn(model: Sam3Model) -> None:
    """Let long attention without mask prefer cuDNN's kernel."""
    AttentionInterface.register(NAME, long_sequences_on_cudnn)
    for module in model.modules():  # not the model as a whole: the text encoder builds its masks by this name
        if isinstance(module, Sam3Attention | Sam3ViTRoPEAttention):
            module.config._attn_implementation = NAME


def long_sequences_on_cudnn(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """As transformers' ``sdpa_attention_forward``, with another preference; what cuDNN cannot do falls through."""
    if attention_mask is not None or query.shape[2] < LONG:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    with sdpa_kernel(PREFERENCE, set_priority=True):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
