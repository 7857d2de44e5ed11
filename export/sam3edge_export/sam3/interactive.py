"""SAM 3's answer to clicks and boxes: the tracker's prompt encoder and mask decoder on a still image.

    interactive_vision   tokens of the backbone       -> the tracker's feature maps    once per frame that is clicked on
    interactive          feature maps, points, box    -> four masks and their quality   once per click, all objects

What is computed is Meta's ``SAM3InteractiveImagePredictor`` (``sam3/model/sam1_task_predictor.py``) and its mask
decoder (``sam3/sam/mask_decoder.py``), with the weights of a transformers ``Sam3TrackerModel``. Two departures from
that port, both towards Meta's code: the tracker's embedding for "no memory of earlier frames" is added to the coarse
feature map (the port adds it to a level that it drops, when its neck has four levels, as the checkpoint does), and
padding is masked, so that an object is answered alike whatever else is asked in the same run (in the port padding
points take part in the attention).

Shapes: B images, N objects, P points, C channels, D channels of the backbone, G image tokens along a side.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerAttention, Sam3TrackerModel

NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -10
"""Labels of points; a box is its two corners."""


class InteractiveFeatures(NamedTuple):
    """What the tracker sees of B images.

    Attributes:
        embedding: [B, C, G, G].
        middle: [B, C / 4, 2G, 2G].
        finest: [B, C / 8, 4G, 4G].
    """

    embedding: Tensor
    middle: Tensor
    finest: Tensor


class Outlined(NamedTuple):
    """What the tracker's decoder says of N objects.

    Attributes:
        masks: [N, 4, 4G, 4G] logits. The first is for prompts that leave no doubt; the others are the part, the object
            and the whole that a single click may have meant, in no fixed order.
        quality: [N, 4], the intersection over union that the model expects of each mask, 0..1.
        presence: [N, 1], logit of "there is an object at all".
        single: int64 [N], which of the four is the answer when one mask is wanted.
    """

    masks: Tensor
    quality: Tensor
    presence: Tensor
    single: Tensor


class InteractiveVisionGraph(nn.Module):
    """The tracker's feature pyramid."""

    def __init__(self, tracker: Sam3TrackerModel) -> None:
        super().__init__()
        self.layers = nn.ModuleList(list(tracker.vision_encoder.neck.fpn_layers)[:3])
        self.to_finest, self.to_middle = tracker.mask_decoder.conv_s0, tracker.mask_decoder.conv_s1
        self.no_memory = tracker.no_memory_embedding

    def forward(self, tokens: Tensor) -> InteractiveFeatures:
        """Feature maps of images from their backbone tokens, float [B, D, G, G]."""
        finest, middle, coarse = (layer(tokens) for layer in self.layers)
        return InteractiveFeatures(
            coarse + self.no_memory.view(1, -1, 1, 1), self.to_middle(middle), self.to_finest(finest)
        )


class InteractiveGraph(nn.Module):
    """Prompt encoder and mask decoder.

    Args:
        tracker: whose weights are shared.
        grid: image tokens along a side.
        side: of the image that the backbone sees, pixels.
    """

    positions: Tensor

    def __init__(self, tracker: Sam3TrackerModel, grid: int, side: int) -> None:
        super().__init__()
        self.prompts, self.decoder = tracker.prompt_encoder, tracker.mask_decoder
        self._side = side
        axis = (torch.arange(grid, dtype=torch.float32) + 0.5) / grid
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        with torch.no_grad():
            positions = tracker.shared_image_embedding(torch.stack([x, y], dim=-1)).flatten(0, 1)
        self.register_buffer("positions", positions, persistent=False)

    def forward(
        self,
        embedding: Tensor,
        middle: Tensor,
        finest: Tensor,
        image_index: Tensor,
        points: Tensor,
        labels: Tensor,
        before: Tensor,
        has_before: Tensor,
    ) -> Outlined:
        """Outline N objects.

        Args:
            embedding, middle, finest: of ``InteractiveFeatures``.
            image_index: int64 [N], the image of each object.
            points: float32 [N, P, 2], x, y in 0..1 of the image.
            labels: int64 [N, P]: 1 on the object, 0 not on it, 2 and 3 top left and bottom right corner of a box around
                it, -10 padding.
            before: float32 [N, 1, 4G, 4G], mask logits of a former answer about the same object.
            has_before: bool [N], whether there is one.
        """
        sparse, valid = self._embed_points(points, labels)
        keys = embedding.index_select(0, image_index) + self._embed_masks(before, has_before).to(embedding.dtype)
        own = torch.cat(
            [self.decoder.obj_score_token.weight, self.decoder.iou_token.weight, self.decoder.mask_tokens.weight]
        )
        tokens = torch.cat([own.unsqueeze(0).expand(points.shape[0], -1, -1), sparse], dim=1)
        valid = torch.cat([torch.ones_like(valid[:, :1]).expand(-1, own.shape[0]), valid], dim=1)
        queries, keys = self._attend(tokens, keys.flatten(2).transpose(1, 2), valid[:, None, None, :])
        count = self.decoder.num_mask_tokens
        masks = self._masks(
            queries[:, 2 : 2 + count], keys, middle.index_select(0, image_index), finest.index_select(0, image_index)
        )
        quality = self.decoder.iou_prediction_head(queries[:, 1])
        return Outlined(masks, quality, self.decoder.pred_obj_score_head(queries[:, 0]), self._single(masks, quality))

    def _embed_points(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [N, P + 1, C], the last one the "not a point" that the reference always appends, and which count."""
        encoder = self.prompts
        centred = points.float() + 0.5 / self._side  # the reference counts pixels and points at their centres
        embedded = encoder.shared_embedding(centred)
        table = encoder.point_embed.weight
        embedded = embedded.to(table.dtype) + nn.functional.embedding(labels.clamp(min=0), table)
        closing = encoder.not_a_point_embed.weight.unsqueeze(0).expand(points.shape[0], -1, -1)
        valid = labels != PADDING
        return torch.cat([embedded, closing], dim=1), torch.cat([valid, torch.ones_like(valid[:, :1])], dim=1)

    def _embed_masks(self, before: Tensor, has_before: Tensor) -> Tensor:
        encoder = self.prompts
        nothing = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        embedded = encoder.mask_embed(before.to(nothing.dtype))
        return torch.where(has_before[:, None, None, None], embedded, nothing)

    def _attend(self, tokens: Tensor, keys: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Two-way attention between tokens [N, T, C] and the image [N, G * G, C]; ``valid`` bool [N, 1, 1, T]."""
        transformer = self.decoder.transformer
        places = self.positions.to(keys.dtype)
        queries = tokens
        for layer in transformer.layers:
            query = queries if layer.skip_first_layer_pe else queries + tokens
            attended = _attention(layer.self_attn, query, query, queries, valid)
            queries = layer.layer_norm1(attended if layer.skip_first_layer_pe else queries + attended)
            attended = _attention(layer.cross_attn_token_to_image, queries + tokens, keys + places, keys)
            queries = layer.layer_norm2(queries + attended)
            queries = layer.layer_norm3(queries + layer.mlp(queries))
            attended = _attention(layer.cross_attn_image_to_token, keys + places, queries + tokens, queries, valid)
            keys = layer.layer_norm4(keys + attended)
        attended = _attention(transformer.final_attn_token_to_image, queries + tokens, keys + places, keys)
        return transformer.layer_norm_final_attn(queries + attended), keys

    def _masks(self, tokens: Tensor, keys: Tensor, middle: Tensor, finest: Tensor) -> Tensor:
        """Mask logits [N, M, 4G, 4G] of mask tokens [N, M, C]."""
        decoder = self.decoder
        grid = middle.shape[-1] // 2
        image = keys.transpose(1, 2).unflatten(2, (grid, grid))
        image = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image) + middle))
        image = decoder.activation(decoder.upscale_conv2(image) + finest)
        mlps = decoder.output_hypernetworks_mlps
        weights = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(mlps)], dim=1)
        return (weights @ image.flatten(2)).unflatten(2, image.shape[-2:])

    def _single(self, masks: Tensor, quality: Tensor) -> Tensor:
        """The reference's rule for one mask: the first, unless its outline moves when the logit it is cut at does; then
        the best of the others (``_dynamic_multimask_via_stability``). In the graph, because its two figures belong to
        the weights; as an index, because the host gets the masks anyway, for an answer with several."""
        decoder = self.decoder
        first = torch.zeros_like(quality[:, 0], dtype=torch.long)
        if not decoder.dynamic_multimask_via_stability:
            return first
        delta = decoder.dynamic_multimask_stability_delta
        logits = masks[:, 0].flatten(1)
        inner, outer = (logits > delta).sum(1).float(), (logits > -delta).sum(1).float()
        stability = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
        best = quality[:, 1:].argmax(1) + 1
        return torch.where(stability >= decoder.dynamic_multimask_stability_thresh, first, best)


def _attention(
    module: Sam3TrackerAttention, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
) -> Tensor:
    """The port's attention over [N, T, C], whose own forward has a further dimension for the objects of an image, and
    no mask where padding needs one. ``valid`` is bool [N, 1, 1, T], true for keys to look at."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (module.num_attention_heads, module.head_dim)).transpose(1, 2)

    projected = split(module.q_proj(query)), split(module.k_proj(key)), split(module.v_proj(value))
    attended = nn.functional.scaled_dot_product_attention(*projected, attn_mask=valid, scale=module.scaling)
    return module.o_proj(attended.transpose(1, 2).flatten(2))
