"""bf16 where it is fast, single precision where it counts.

Weights are stored in bf16 once, rather than cast by autocast in every run: 840 M casts are 5 GB of traffic an image.
bf16 has 8 bits of mantissa, so what is computed from coordinates stays in float32. By part of the graph:

    rotary angles of the ViT        float32: they are buffers, and only parameters are cast
    reference points, box head      float32: a box in bf16 lies on a grid of 2 to 4 pixels, and six layers add to it
    sine encoding of boxes          float32, since the boxes are; its projection comes out in bf16
    relative-position bias          float32 logarithms and sums; the bias is rounded once, when attention reads it
    score and presence heads        float32: thresholds are compared with them
    layer norms, softmax            float32 inside torch's kernels, whatever their arguments
    mask logits                     bf16: only where they cross zero counts, and near zero bf16 is fine
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph

SINGLE = ("output_layer_norm", "box_head", "presence_layer_norm", "presence_head", "box_rpb_embed_x", "box_rpb_embed_y")
"""Parts of the DETR decoder that read and write single precision."""


class Single(nn.Module):
    """A module in single precision among others in bf16: floating point arguments are widened.

    Args:
        inner: the module.
        out: what it gives; float32 unless its reader is in another precision.
    """

    def __init__(self, inner: nn.Module, out: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.inner = inner
        self.out = out

    def forward(self, *args: Tensor) -> Tensor:
        """``inner`` of the widened arguments."""
        wide = (a.float() if a.is_floating_point() else a for a in args)
        result: Tensor = self.inner(*wide).to(self.out)
        return result


class MixedDecoderGraph(DecoderGraph):
    """The decoder with its attention in ``dtype`` and its boxes in single precision."""

    def __init__(self, model: Sam3Model, dtype: torch.dtype) -> None:
        super().__init__(model)
        self._dtype = dtype

    def _position_bias(self, reference: Tensor) -> Tensor:
        return super()._position_bias(reference).to(self._dtype)


def cast_weights(model: Sam3Model, dtype: torch.dtype) -> None:
    """Store the weights in ``dtype``, but for those of the text encoder, which runs once a phrase, and for what is
    listed above; ``model`` is changed."""
    if dtype == torch.float32:
        return
    decoder = model.detr_decoder
    kept = [model.text_encoder, model.text_projection, model.dot_product_scoring, decoder.ref_point_head]
    kept += [decoder.reference_points, *(getattr(decoder, name) for name in SINGLE)]
    exempt = {id(parameter) for module in kept for parameter in module.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in exempt:
            parameter.data = parameter.data.to(dtype)
    for name in SINGLE:
        setattr(decoder, name, Single(getattr(decoder, name)))
    decoder.ref_point_head = Single(decoder.ref_point_head, dtype)
    model.dot_product_scoring = Single(model.dot_product_scoring)
