"""torch.compile by regions: the repeated layers, not the whole model.

A ViT of 32 layers compiled as one program takes a minute for every batch size. Compiled layer by layer it takes
seconds, since all layers of a kind share one program; what is lost, fusion across the borders of layers, is a read and
a write of the tokens each, and what the host pays for the many calls is gone once they are a CUDA graph.
https://docs.pytorch.org/tutorials/recipes/regional_compilation.html
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch._dynamo
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge_export.sam3.graphs import DecoderGraph

PROGRAMS = 256
"""Programs that may come of one function, for all its batch sizes and widths; torch's own limit of 8 is for mistakes,
and beyond it torch would quietly continue uncompiled."""

Backend = str | Callable[..., Any]


def compile_regions(
    model: Sam3Model, decoder: DecoderGraph, mode: str | None = None, backend: Backend = "inductor"
) -> None:
    """Compile the layers of ``model`` and the box arithmetic of ``decoder``, which uses the model, in place.

    Args:
        mode: of ``torch.compile``.
        backend: of ``torch.compile``.
    """
    detr = model.detr_decoder
    layers = [*model.vision_encoder.backbone.layers, *model.vision_encoder.neck.fpn_layers]
    layers += [*model.geometry_encoder.layers, *model.detr_encoder.layers, *detr.layers]
    layers += [detr.ref_point_head, detr.box_head, detr.presence_head, model.dot_product_scoring]
    layers += [model.mask_decoder.pixel_decoder]
    for layer in layers:
        layer.compile(fullgraph=True, dynamic=False, mode=mode, backend=backend)
    # methods rather than modules: some forty launches each, which fuse into two or three
    for owner, name in ((detr.position_encoding, "encode_boxes"), (decoder, "_position_bias")):
        method = torch.compile(getattr(owner, name), fullgraph=True, dynamic=False, mode=mode, backend=backend)
        setattr(owner, name, method)


def compiling() -> AbstractContextManager[Any]:
    """Where compiled layers may meet a new size: an error rather than a slow answer when a function has more than
    ``PROGRAMS`` of them."""
    patch: AbstractContextManager[Any] = torch._dynamo.config.patch(
        recompile_limit=PROGRAMS, accumulated_recompile_limit=16 * PROGRAMS, fail_on_recompile_limit_hit=True
    )
    return patch
