"""SAM 3 cut into the graphs that a bundle carries.

    vision    image                                  -> feature maps, geometry token      once per frame
    exemplars feature maps, boxes, text features     -> text features with box tokens     only when a prompt has boxes
    decoder   feature maps, prompts                  -> scores, boxes, query states       once per frame, all prompts
    masks     query states of admitted queries       -> mask logits                       only when something was found
    text      token ids                              -> text features                     at export, or for a new phrase

The exemplars are in ``exemplars.py``, the graphs that answer clicks in ``interactive.py``.

The modules below share their weights with a transformers ``Sam3Model`` and are what is trained, exported and compared.
Two departures from that port, both towards Meta's reference: a text-only prompt carries the geometry encoder's CLS
token (the port drops it), and grid sizes are Python integers, so that the relative-position bias can be exported.

Shapes: B images, N (image, prompt) pairs, L text tokens, K boxes, Q queries, C channels, D channels of the backbone,
S = G * G image tokens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3Model, box_cxcywh_to_xyxy, inverse_sigmoid


class VisionFeatures(NamedTuple):
    """What the vision graph says of B images.

    Attributes:
        fine: [B, C, 4G, 4G].
        medium: [B, C, 2G, 2G].
        coarse: [B, C, G, G], what the prompts are compared with.
        geometry: [B, 1, C], the CLS token of the geometry encoder after it has attended to the image.
    """

    fine: Tensor
    medium: Tensor
    coarse: Tensor
    geometry: Tensor


class Decoded(NamedTuple):
    """What the decoder says of N (image, prompt) pairs.

    Attributes:
        logits: [N, Q], one a query; meaningful only times the presence.
        presence: [N, 1], logit of "the phrase is in the image at all".
        boxes: [N, Q, 4], x0, y0, x1, y1 in 0..1.
        queries: [N, Q, C], final query states, for the mask branch.
        encoded: [N, S, C], image tokens after they have seen the prompt, for the mask branch.
        prompt: [N, L + 1, C], text tokens and the geometry token, for the mask branch.
    """

    logits: Tensor
    presence: Tensor
    boxes: Tensor
    queries: Tensor
    encoded: Tensor
    prompt: Tensor


class DecoderLayers(NamedTuple):
    """Outputs of every decoder layer, for training: logits [D, N, Q], boxes [D, N, Q, 4] (cx, cy, w, h in 0..1),
    presence [D, N, 1]; and the final ``Decoded``."""

    logits: Tensor
    boxes: Tensor
    presence: Tensor
    final: Decoded


def sine_positions(model: Sam3Model, grid: int) -> Tensor:
    """float32 [S, C], the position encoding of a ``grid`` x ``grid`` map: a constant of the model."""
    neck = model.vision_encoder.neck
    shape = torch.Size((1, model.config.detr_encoder_config.hidden_size, grid, grid))
    positions = neck.position_encoding(shape, torch.device("cpu"), torch.float32)
    return positions.flatten(2).transpose(1, 2)[0].contiguous()


def grid_size(model: Sam3Model) -> int:
    """Image tokens along one side."""
    backbone = model.config.vision_config.backbone_config
    return int(backbone.image_size) // int(backbone.patch_size)


class VisionFeaturesAndTokens(NamedTuple):
    """As ``VisionFeatures``; ``tokens`` [B, D, G, G] are what the tracker's own feature pyramid starts from."""

    fine: Tensor
    medium: Tensor
    coarse: Tensor
    geometry: Tensor
    tokens: Tensor


class VisionGraph(nn.Module):
    """Backbone, feature pyramid, and the image's geometry token."""

    positions: Tensor

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.encoder = model.vision_encoder
        self.geometry = model.geometry_encoder
        self.register_buffer("positions", sine_positions(model, grid_size(model)), persistent=False)

    def forward(self, pixels: Tensor) -> VisionFeatures:
        """Encode normalised pixels, float [B, 3, S, S] in -1..1."""
        return self.pyramid(self.tokens(pixels))

    def tokens(self, pixels: Tensor) -> Tensor:
        """The backbone's output, float [B, D, G, G]."""
        backbone = self.encoder.backbone(pixels).last_hidden_state
        grid = math.isqrt(backbone.shape[1])
        return backbone.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)

    def pyramid(self, tokens: Tensor) -> VisionFeatures:
        """Feature maps and geometry token from the backbone's output."""
        fine, medium, coarse = (layer(tokens) for layer in list(self.encoder.neck.fpn_layers)[:3])
        return VisionFeatures(fine, medium, coarse, self.geometry_token(coarse))

    def geometry_token(self, coarse: Tensor) -> Tensor:
        """The geometry encoder without any box: one CLS token an image, [B, 1, C], whatever the prompt."""
        encoder = self.geometry
        features = coarse.flatten(2).transpose(1, 2)
        token = encoder.cls_embed.weight.unsqueeze(0).expand(coarse.shape[0], -1, -1)
        token = encoder.prompt_layer_norm(encoder.final_proj(token))
        positions = self.positions.to(coarse.dtype).unsqueeze(0)
        for layer in encoder.layers:
            token = layer(token, features, positions, None)
        return encoder.output_layer_norm(token)


class SharedVisionGraph(VisionGraph):
    """The vision graph of a bundle that answers clicks, too: both feature pyramids stand on one backbone run."""

    def forward(self, pixels: Tensor) -> VisionFeaturesAndTokens:  # type: ignore[override]
        """As ``VisionGraph.forward``, with the backbone's output."""
        tokens = self.tokens(pixels)
        return VisionFeaturesAndTokens(*self.pyramid(tokens), tokens)


class TextGraph(nn.Module):
    """Text transformer and projection."""

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.encoder = model.text_encoder
        self.projection = model.text_projection

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode token ids, int64 [N, L], zero-padded, to float [N, L, C]."""
        mask = (input_ids != 0).long()
        return self.projection(self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state)


class DecoderGraph(nn.Module):
    """DETR encoder and decoder."""

    positions: Tensor

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.encoder = model.detr_encoder
        self.decoder = model.detr_decoder
        self.scoring = model.dot_product_scoring
        self.register_buffer("positions", sine_positions(model, grid_size(model)), persistent=False)

    def forward(
        self,
        coarse: Tensor,
        geometry: Tensor,
        image_index: Tensor,
        text: Tensor,
        text_mask: Tensor,
        geometry_index: Tensor | None = None,
    ) -> Decoded:
        """Answer N prompts.

        Args:
            coarse: of ``VisionFeatures``.
            geometry: float [J, 1, C], of ``VisionFeatures``, or of ``Exemplified`` when there are boxes.
            image_index: int64 [N], which image each prompt is asked of.
            text: float [N, L, C], text tokens, and box tokens when there are boxes.
            text_mask: bool [N, L], true for tokens.
            geometry_index: int64 [N], which geometry token each prompt carries; that of its image when left out.
        """
        return self.layers(coarse, geometry, image_index, text, text_mask, geometry_index).final

    def layers(
        self,
        coarse: Tensor,
        geometry: Tensor,
        image_index: Tensor,
        text: Tensor,
        text_mask: Tensor,
        geometry_index: Tensor | None = None,
    ) -> DecoderLayers:
        """As ``forward``, with the outputs of every decoder layer."""
        token = geometry.index_select(0, image_index if geometry_index is None else geometry_index)
        prompt = torch.cat([text, token], dim=1)
        mask = torch.cat([text_mask, torch.ones_like(text_mask[:, :1])], dim=1)
        encoded = self._encode(coarse.index_select(0, image_index), prompt, mask)
        return self._decode(encoded, prompt, mask)

    def _encode(self, coarse: Tensor, prompt: Tensor, mask: Tensor) -> Tensor:
        tokens = coarse.flatten(2).transpose(1, 2)
        positions = self.positions.to(tokens.dtype).unsqueeze(0)
        attend = mask[:, None, None, :]
        for layer in self.encoder.layers:
            tokens = layer(tokens, prompt, positions, attend)
        return tokens

    def _decode(self, encoded: Tensor, prompt: Tensor, mask: Tensor) -> DecoderLayers:
        decoder = self.decoder
        pairs = encoded.shape[0]
        positions = self.positions.to(encoded.dtype).unsqueeze(0)
        attend = mask[:, None, None, :]
        reference = decoder.reference_points.weight.sigmoid().unsqueeze(0).expand(pairs, -1, -1)
        presence_token = decoder.presence_token.weight.unsqueeze(0).expand(pairs, -1, -1)
        queries = decoder.query_embed.weight.unsqueeze(0).expand(pairs, -1, -1)
        states = torch.cat([presence_token, queries], dim=1)
        hidden, boxes, presence = [], [], []
        for layer in decoder.layers:
            query_pos = decoder.ref_point_head(decoder.position_encoding.encode_boxes(reference))
            bias = nn.functional.pad(self._position_bias(reference), (0, 0, 1, 0))
            states = layer(states, query_pos, prompt, encoded, positions, attend, bias)
            normed = decoder.output_layer_norm(states[:, 1:])
            box = (decoder.box_head(normed) + inverse_sigmoid(reference)).sigmoid()
            reference = box.detach()
            hidden.append(normed)
            boxes.append(box)
            limit = decoder.clamp_presence_logit_max_val
            presence.append(
                decoder.presence_head(decoder.presence_layer_norm(states[:, :1])).squeeze(-1).clamp(-limit, limit)
            )
        stacked = torch.stack(hidden)
        logits = self.scoring(stacked, prompt, mask).squeeze(-1)
        final = Decoded(logits[-1], presence[-1], box_cxcywh_to_xyxy(boxes[-1]), hidden[-1], encoded, prompt)
        return DecoderLayers(logits, torch.stack(boxes), torch.stack(presence), final)

    def _position_bias(self, reference: Tensor) -> Tensor:
        """Relative-position bias [N, heads, Q, S] of boxes [N, Q, 4] against a grid known at build time."""
        grid = math.isqrt(self.positions.shape[0])
        coords = torch.arange(grid, dtype=reference.dtype, device=reference.device) / grid
        xyxy = box_cxcywh_to_xyxy(reference)

        def logarithmic(edges: Tensor) -> Tensor:
            scaled = (coords[:, None] - edges[:, :, None, :]) * 8
            return torch.sign(scaled) * torch.log2(scaled.abs() + 1.0) / 3.0

        along_x = self.decoder.box_rpb_embed_x(logarithmic(xyxy[..., 0::2]))
        along_y = self.decoder.box_rpb_embed_y(logarithmic(xyxy[..., 1::2]))
        bias = along_y.unsqueeze(3) + along_x.unsqueeze(2)
        return bias.flatten(2, 3).permute(0, 3, 1, 2).contiguous()


class MaskGraph(nn.Module):
    """Pixel decoder and mask head, for the pairs and queries that were admitted."""

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.decoder = model.mask_decoder

    def forward(
        self,
        fine: Tensor,
        medium: Tensor,
        encoded: Tensor,
        prompt: Tensor,
        text_mask: Tensor,
        queries: Tensor,
        image_index: Tensor,
        pair_index: Tensor,
        query_index: Tensor,
        keep: Tensor,
    ) -> Tensor:
        """Mask logits of admitted queries, float [T, 4G, 4G].

        Args:
            fine, medium: of ``VisionFeatures``.
            encoded, prompt, queries: of ``Decoded``.
            text_mask: bool [N, L], as given to the decoder.
            image_index: int64 [M], the image of each pair that has an admitted query.
            pair_index: int64 [M], which of the N pairs these are.
            query_index: int64 [M, K], admitted queries of each, padded with any valid index.
            keep: int64 [T], which of the M * K are not padding, in the order wanted.
        """
        pixels = self.pixels(fine, medium, encoded, prompt, text_mask, image_index, pair_index)
        chosen = queries.index_select(0, pair_index)
        chosen = chosen.gather(1, query_index.unsqueeze(-1).expand(-1, -1, chosen.shape[-1]))
        masks = self.masks(pixels, chosen)
        return masks.flatten(0, 1).index_select(0, keep)

    def pixels(
        self,
        fine: Tensor,
        medium: Tensor,
        encoded: Tensor,
        prompt: Tensor,
        text_mask: Tensor,
        image_index: Tensor,
        pair_index: Tensor,
    ) -> Tensor:
        """Pixel embeddings [M, C, 4G, 4G] of the chosen pairs."""
        decoder = self.decoder
        tokens, tips = encoded.index_select(0, pair_index), prompt.index_select(0, pair_index)
        mask = text_mask.index_select(0, pair_index)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)[:, None, None, :]
        normed = decoder.prompt_cross_attn_norm(tokens)
        attended, _ = decoder.prompt_cross_attn(normed, tips, tips, mask)
        tokens = tokens + attended
        grid = math.isqrt(tokens.shape[1])
        coarse = tokens.transpose(1, 2).unflatten(2, (grid, grid))
        pyramid = [fine.index_select(0, image_index), medium.index_select(0, image_index), coarse]
        return decoder.pixel_decoder(pyramid)

    def masks(self, pixels: Tensor, queries: Tensor) -> Tensor:
        """Mask logits [M, K, 4G, 4G] of ``queries`` [M, K, C] over ``pixels`` [M, C, 4G, 4G]."""
        embedded = self.decoder.mask_embedder(queries)
        instance = self.decoder.instance_projection(pixels)
        return self.product(embedded, instance)

    def product(self, embedded: Tensor, instance: Tensor) -> Tensor:
        """[M, K, 4G, 4G] of [M, K, C] and [M, C, 4G, 4G]."""
        return torch.einsum("mkc,mchw->mkhw", embedded, instance)
