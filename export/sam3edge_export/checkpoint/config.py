"""Sizes of the model that a checkpoint is read into."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from transformers import Sam3Config, Sam3TrackerConfig

from sam3edge_export.checkpoint.errors import CheckpointError


def published_config() -> Sam3Config:
    """SAM 3 as Meta publishes it.

    transformers' defaults, but for the epsilon of the vision encoder's layer norms: Meta's ``ViT``
    (``model/vitdet.py``) sets 1e-5, the port's default is 1e-6.
    """
    return Sam3Config(vision_config={"backbone_config": {"model_type": "sam3_vit_model", "layer_norm_eps": 1e-5}})


def size_step(config: Sam3Config) -> int:
    """Input sizes are multiples of this: a whole number of attention windows, and of tiles of position embeddings."""
    backbone = config.vision_config.backbone_config
    return int(backbone.patch_size) * int(backbone.window_size)


def with_input_size(config: Sam3Config, side: int) -> Sam3Config:
    """The same model for square images of ``side`` pixels. No weight depends on the input size.

    Raises:
        CheckpointError: ``side`` is not a positive multiple of patch size times window size.
    """
    step = size_step(config)
    if side <= 0 or side % step:
        below = max(step, side // step * step)
        raise CheckpointError(
            f"the input size {side} is not a multiple of {step} pixels (patch size times attention window), as this "
            f"model needs it; use {below} or {below + step}"
        )
    resized = copy.deepcopy(config)
    grid = side // int(config.vision_config.backbone_config.patch_size)
    resized.vision_config.backbone_config.image_size = side
    resized.vision_config.backbone_feature_sizes = [[scale * grid, scale * grid] for scale in (4, 2, 1)]
    return resized


def tracker_config(config: Sam3Config, stated: Mapping[str, Any] | None = None) -> Sam3TrackerConfig:
    """The interactive model that stands on the same vision encoder as ``config``.

    Args:
        stated: what a transformers folder says of it (``tracker_config`` of its ``config.json``); where that is silent,
            or None, it is Meta's.
    """
    stated = stated or {}
    backbone = config.vision_config.backbone_config
    width = {"hidden_size": config.vision_config.fpn_hidden_size}
    size = {"image_size": backbone.image_size, "patch_size": backbone.patch_size}
    return Sam3TrackerConfig(
        vision_config=config.vision_config.to_dict(),
        prompt_encoder_config={**width, **stated.get("prompt_encoder_config", {}), **size},
        mask_decoder_config={**width, **stated.get("mask_decoder_config", {})},
    )
