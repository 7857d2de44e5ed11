"""The three stages of segmentation, and what runs them at their own size (at fixed sizes: ``static.py``)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.core.errors import EngineError
from sam3edge_export.sam3.exemplars import ExemplarGraph, Exemplified
from sam3edge_export.sam3.graphs import VisionFeatures, VisionGraph, grid_size
from sam3edge_export.torch_engine.attention import use_fast_attention
from sam3edge_export.torch_engine.compiling import compile_regions, compiling
from sam3edge_export.torch_engine.options import TorchOptions
from sam3edge_export.torch_engine.precision import WideDecoderGraph, WideMaskGraph, cast_weights


class DecoderInputs(NamedTuple):
    """Inputs of the decoder, N prompts at once.

    Attributes:
        image_index: int64 [N], the image of each prompt.
        text: float32 [N, L, C].
        text_mask: bool [N, L].
        boxes: float32 [N, K, 4] and labels int64 [N, K] of exemplars as ``ExemplarGraph.forward`` takes them, or None
            when no prompt has any.
    """

    image_index: Tensor
    text: Tensor
    text_mask: Tensor
    boxes: tuple[Tensor, Tensor] | None


class DecoderOutputs(NamedTuple):
    """Outputs of the decoder for N pairs.

    Attributes:
        packed: float32 [N, Q, 6]: x0, y0, x1, y1 in 0..1, query logit, presence logit; one tensor, so that one copy
            brings it to the host.
        queries: [N, Q, C].
        encoded: [N, S, C].
        prompt: [N, P + 1, C], text and box tokens and the geometry token.
        text_mask: bool [N, P].
    """

    packed: Tensor
    queries: Tensor
    encoded: Tensor
    prompt: Tensor
    text_mask: Tensor


class SelectedQueries(NamedTuple):
    """Admitted queries, as ``MaskGraph.forward`` takes them: ``image_index`` and ``pair_index`` int64 [M],
    ``query_index`` int64 [M, K], ``keep`` int64 [T]."""

    image_index: Tensor
    pair_index: Tensor
    query_index: Tensor
    keep: Tensor


class Runner(Protocol):
    """Runs the stages. What a call returns may lie in memory that the next call of the same method overwrites."""

    def encode(self, pixels: Tensor) -> VisionFeatures:
        """Encode normalised pixels float32 [B, 3, S, S]."""

    def decode(self, features: VisionFeatures, inputs: DecoderInputs) -> DecoderOutputs:
        """Decode N prompts on the features that ``encode`` returned last."""

    def predict_masks(self, features: VisionFeatures, decoded: DecoderOutputs, selected: SelectedQueries) -> Tensor:
        """Mask logits float32 [T, 4G, 4G] of the admitted queries, in memory of their own."""


class Stages:
    """A model cut into its stages, on its device and in its precision.

    Args:
        model: is taken over: moved to the device, its weights cast, its layers compiled as ``options`` say.

    Raises:
        EngineError: the weights are not in single precision; another engine may have taken the model over already.
    """

    def __init__(self, model: Sam3Model, options: TorchOptions) -> None:
        stored = {parameter.dtype for parameter in model.parameters()}
        if stored != {torch.float32}:
            raise EngineError(
                f"expected weights in float32, got {', '.join(sorted(map(str, stored)))}; load the checkpoint again, "
                "for an engine changes the model that it is given"
            )
        cast_weights(model, options.dtype)
        self.model = model
        self.device = torch.device(options.device)
        self.dtype = options.dtype
        model.to(self.device).eval()
        if self.device.type == "cuda":
            use_fast_attention(model, self.device)
            model.to(memory_format=torch.channels_last)  # what the convolutions' tensor core kernels want
        self.vision = VisionGraph(model).to(self.device).eval()
        self.exemplars = ExemplarGraph(model).to(self.device).eval()
        self.decoder = WideDecoderGraph(model).to(self.device).eval()
        self.masks = WideMaskGraph(model).to(self.device).eval()
        self.grid = grid_size(model)
        self.side = int(model.config.vision_config.backbone_config.image_size)
        self.width = int(model.config.detr_encoder_config.hidden_size)
        self.queries = int(model.config.detr_decoder_config.num_queries)
        if options.compilation != "none":
            compile_regions(model, self.decoder, mode=options.compilation)

    def decode(self, coarse: Tensor, image_index: Tensor, shown: Exemplified) -> DecoderOutputs:
        """Decode N prompts, each with a geometry token of its own."""
        text, text_mask, geometry = shown
        own = torch.arange(len(geometry), device=self.device)
        d = self.decoder(coarse, geometry, image_index, text, text_mask, own)
        presence = d.presence.unsqueeze(1).expand(-1, d.logits.shape[1], -1)
        packed = torch.cat([d.boxes, d.logits.unsqueeze(-1), presence], -1).float()
        return DecoderOutputs(packed, d.queries, d.encoded, d.prompt, text_mask)


class EagerRunner:
    """Every stage at its own size."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def encode(self, pixels: Tensor) -> VisionFeatures:
        """See ``Runner``."""
        with compiling():
            features: VisionFeatures = self._stages.vision(pixels)
        return features

    def decode(self, features: VisionFeatures, inputs: DecoderInputs) -> DecoderOutputs:
        """See ``Runner``."""
        index, text, text_mask, boxes = inputs
        with compiling():
            if boxes is None:
                shown = Exemplified(text, text_mask, features.geometry.index_select(0, index))
            else:
                shown = self._stages.exemplars(features.coarse, index, *boxes, text, text_mask)
            return self._stages.decode(features.coarse, index, shown)

    def predict_masks(self, features: VisionFeatures, decoded: DecoderOutputs, selected: SelectedQueries) -> Tensor:
        """See ``Runner``."""
        with compiling():
            masks: Tensor = self._stages.masks(
                features.fine,
                features.medium,
                decoded.encoded,
                decoded.prompt,
                decoded.text_mask,
                decoded.queries,
                *selected,
            )
        return masks.float()
