"""bf16 where it is fast, single precision where it counts.

The recipe is that of Meta's own code: ``torch.autocast`` decides per operation. Two things are better than there.
Weights of linear layers and convolutions are stored in bf16 once, rather than cast in every run: 840 M casts are 5 GB
of traffic an image. And bf16 has 8 bits of mantissa, so more stays in float32:

    residual stream of the ViT      float32, as under autocast: what 64 branches add must not be rounded 64 times. In
                                    bf16 the feature maps were 2.7 times as far from float32's; it costs 1.3 GB of
                                    traffic an image at full size, 0.3 ms on an H200
    residual stream of the encoder  float32, where autocast continues in the bf16 of the feature maps
    rotary angles of the ViT        float32: they are buffers
    reference points, box head      float32: a box in bf16 lies on a grid of 2 to 4 pixels, and six layers add to it
    sine encoding of boxes          float32, since the boxes are
    relative-position bias          float32 logarithms and sums; the bias is rounded once, when attention reads it
    score and presence heads        float32: thresholds are compared with them
    layer norms, softmax            float32 inside torch's kernels, whatever their arguments
    masks                           float32 from the pixel embedding on: they are a product of few queries
    all that is a matrix product of tokens, and convolutions: bf16

``tests/unit/export/test_fidelity.py`` holds it against plain autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph

SINGLE = (
    "output_layer_norm",
    "box_head",
    "presence_layer_norm",
    "presence_head",
    "box_rpb_embed_x",
    "box_rpb_embed_y",
    "ref_point_head",
)
"""Parts of the DETR decoder that are computed in single precision."""

SINGLE_MASKS = ("mask_embedder", "instance_projection")
"""Parts of the mask decoder that are computed in single precision."""

NARROWED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""Layers whose weights are stored as they are multiplied."""


def mixed_precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Where a model runs whose weights ``cast_weights`` has stored in ``dtype``; float32 changes nothing."""
    narrow = torch.bfloat16 if dtype == torch.float32 else dtype
    # no cache: there are no weights left to cast, and a cast that a CUDA graph has recorded must not be found later
    return torch.autocast(device.type, narrow, enabled=dtype != torch.float32, cache_enabled=False)


class Single(nn.Module):
    """A module in single precision among others in bf16: floating point arguments are widened."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Tensor) -> Tensor:
        """``inner`` of the widened arguments."""
        with torch.autocast(args[0].device.type, enabled=False):
            result: Tensor = self.inner(*(a.float() if a.is_floating_point() else a for a in args))
        return result


class WideDecoderGraph(DecoderGraph):
    """The decoder with the encoder's residual stream in single precision, however narrow the feature maps are."""

    def _encode(self, coarse: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        return super()._encode(coarse.float(), prompt, mask)


class WideMaskGraph(MaskGraph):
    """The mask head with its product in single precision."""

    def product(self, embedded: Tensor, instance: Tensor) -> Tensor:
        """See ``MaskGraph``."""
        with torch.autocast(embedded.device.type, enabled=False):
            return super().product(embedded.float(), instance.float())


def cast_weights(model: Sam3Model, dtype: torch.dtype) -> None:
    """Store the weights in ``dtype``, but for those of the text encoder, which runs once a phrase, and for what is
    listed above; ``model`` is changed."""
    if dtype == torch.float32:
        return
    decoder, masks = model.detr_decoder, model.mask_decoder
    single = [(decoder, name) for name in SINGLE] + [(masks, name) for name in SINGLE_MASKS]
    single.append((model, "dot_product_scoring"))
    kept = [model.text_encoder, model.text_projection, *(getattr(owner, name) for owner, name in single)]
    exempt = {id(module) for part in kept for module in part.modules()}
    for module in model.modules():
        if isinstance(module, NARROWED) and id(module) not in exempt:
            module.to(dtype)
    for owner, name in single:
        setattr(owner, name, Single(getattr(owner, name)))
