"""Boxes around examples of what is looked for, and of what is not: SAM 3's geometry encoder.

Every box becomes one more token beside the text, and the image's geometry token attends to them. What the encoder sums
up for a box is as in Meta's ``SequenceGeometryEncoder`` (``sam3/model/geometry_encoders.py``): its coordinates, the
position encoding of its centre, the image features under it, and whether it is positive. Meta's sequence is (boxes,
geometry token, padding); here padding may stand anywhere, which changes nothing, since the tokens of a prompt have no
order and padding is masked.

Shapes as in ``graphs.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3Model, box_cxcywh_to_xyxy

from sam3edge_export.sam3.graphs import grid_size, sine_positions

POSITIVE, NEGATIVE, PADDING = 1, 0, -10
"""Labels of boxes."""


class Exemplified(NamedTuple):
    """Prompts that have seen their boxes; what the decoder takes in place of text features and geometry token.

    Attributes:
        text: [N, L + K, C], text tokens and box tokens.
        text_mask: bool [N, L + K], true for tokens.
        geometry: [N, 1, C], the geometry token after it has attended to the boxes and the image.
    """

    text: Tensor
    text_mask: Tensor
    geometry: Tensor


class ExemplarGraph(nn.Module):
    """The geometry encoder with boxes."""

    positions: Tensor

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.encoder = model.geometry_encoder
        self.register_buffer("positions", sine_positions(model, grid_size(model)), persistent=False)

    def forward(
        self, coarse: Tensor, image_index: Tensor, boxes: Tensor, labels: Tensor, text: Tensor, text_mask: Tensor
    ) -> Exemplified:
        """Add boxes to N prompts.

        Args:
            coarse: of ``VisionFeatures``.
            image_index: int64 [N], the image of each prompt.
            boxes: float32 [N, K, 4], cx, cy, w, h in 0..1 of the image.
            labels: int64 [N, K]: 1 positive, 0 negative, -10 padding. A prompt may have padding only; it comes out as
                a text prompt.
            text: float [N, L, C].
            text_mask: bool [N, L].
        """
        encoder = self.encoder
        features = coarse.index_select(0, image_index)
        real = labels != PADDING
        tokens = torch.cat([self._boxes(features, boxes, labels), self._token(boxes.shape[0])], dim=1)
        tokens = encoder.prompt_layer_norm(encoder.final_proj(tokens))
        mask = torch.cat([real, torch.ones_like(real[:, :1])], dim=1)[:, None, None, :]
        image = features.flatten(2).transpose(1, 2)
        positions = self.positions.to(image.dtype).unsqueeze(0)
        for layer in encoder.layers:
            tokens = layer(tokens, image, positions, mask)
        tokens = encoder.output_layer_norm(tokens)
        return Exemplified(
            torch.cat([text, tokens[:, :-1].to(text.dtype)], dim=1),
            torch.cat([text_mask, real], dim=1),
            tokens[:, -1:],
        )

    def _token(self, pairs: int) -> Tensor:
        return self.encoder.cls_embed.weight.unsqueeze(0).expand(pairs, -1, -1)

    def _boxes(self, features: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Tokens [N, K, C] of the boxes before they have attended to anything."""
        encoder, kind = self.encoder, features.dtype
        normed = encoder.vision_layer_norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        pooled = roi_align(normed, boxes, encoder.roi_size)
        pooled = encoder.boxes_pool_project(pooled.flatten(0, 1)).flatten(1).unflatten(0, boxes.shape[:2])
        centres = encoder._encode_box_coordinates(*boxes.flatten(0, 1).unbind(-1)).unflatten(0, boxes.shape[:2])
        embedded = encoder.boxes_direct_project(boxes.to(kind)) + pooled
        embedded = embedded + encoder.boxes_pos_enc_project(centres.to(kind))
        return encoder.label_embed(labels.clamp(min=0)) + embedded


def roi_align(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Means of the features in ``size`` x ``size`` bins of every box.

    Equals ``torchvision.ops.roi_align`` with its defaults (``aligned=False``, as many samples a bin as it has cells),
    which is what the reference calls. There, every sample is interpolated on its own, and how many there are depends
    on the box. Both bilinear interpolation and the mean over a bin factor into rows and columns, so that the same
    number is a product of three matrices whose shapes do not depend on the boxes: it exports without a custom
    operator, and compiles.

    Args:
        features: float [N, C, G, G].
        boxes: float32 [N, K, 4], cx, cy, w, h in 0..1; no wider or higher than 1.
        size: bins along a side.

    Returns:
        float [N, K, C, size, size].
    """
    height, width = features.shape[-2:]
    x0, y0, x1, y1 = box_cxcywh_to_xyxy(boxes.float()).unbind(-1)
    rows = _bin_weights(y0 * height, y1 * height, height, size).to(features.dtype)
    columns = _bin_weights(x0 * width, x1 * width, width, size).to(features.dtype)
    across = torch.einsum("nchw,nkqw->nkchq", features, columns)
    return torch.einsum("nkchq,nkph->nkcpq", across, rows)


def _bin_weights(start: Tensor, end: Tensor, cells: int, bins: int) -> Tensor:
    """How much each of ``cells`` cells counts in each of ``bins`` bins between ``start`` and ``end`` [N, K] (in cells):
    float32 [N, K, bins, cells]."""
    extent = (end - start).clamp(min=1.0)
    samples = (extent / bins).ceil()[..., None, None]
    most = cells // bins + 1  # of a box as wide as the image, and one more for rounding
    within = torch.arange(most, dtype=start.dtype, device=start.device)
    bin_index = torch.arange(bins, dtype=start.dtype, device=start.device)[:, None]
    at = start[..., None, None] + (extent / bins)[..., None, None] * (bin_index + (within + 0.5) / samples)
    counts = (within < samples) & (at >= -1.0) & (at <= cells)
    distance = (at.clamp(0, cells - 1)[..., None] - torch.arange(cells, dtype=start.dtype, device=start.device)).abs()
    weights = (1 - distance).clamp(min=0) * counts[..., None]
    return weights.sum(-2) / samples
