"""SAM 3 checkpoints in Meta's layouts, for tests: names and shapes of ``sam3.pt``, from transformers' models, and the
same weights under the names of ``sam3.1_multiplex.pt``.

``tests/unit/export/test_checkpoint.py`` holds the names and shapes against the list that Meta's own constructors gave
(``data/meta_keys.txt``), so this can be trusted to look like the real file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from transformers import Sam3Config, Sam3TrackerConfig
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge_export.checkpoint import tracker_config
from sam3edge_export.checkpoint.assembly import TRUNK
from sam3edge_export.checkpoint.names import Layout, Origin, detector_origin, tracker_origin

MEMORY, FRAMES, FUSED_LAYERS, MEMORY_LAYERS = 64, 7, 2, 4
"""Sizes of the tracker's memory, which no graph of ours uses: channels, frames, layers."""


def meta_layout(model: Sam3Model, tracker: Sam3TrackerModel | None = None) -> dict[str, Tensor]:
    """The state dict of a ``sam3.pt`` that holds these weights.

    Entries that neither model has (rotary frequencies, point projections, the tracker's memory) are zeros of the right
    shape. Works on the meta device, too, for names and shapes at full size.
    """
    entries = _gathered({name: (detector_origin(name), value) for name, value in model.state_dict().items()})
    entries.update(_beside_the_detector(model.config, entries))
    if tracker is None:
        return entries
    outside = {name: value for name, value in tracker.state_dict().items() if not name.startswith(TRUNK)}
    entries.update(_gathered({name: (tracker_origin(name), value) for name, value in outside.items()}))
    entries.update(_beside_the_tracker(model.config))
    return entries


MOVED_IN_31 = {
    "detector.backbone.vision_backbone.sam2_convs.": "detector.backbone.vision_backbone.interactive_convs.",
    "tracker.no_mem_embed": "tracker.model.interactivity_no_mem_embed",
    "tracker.sam_prompt_encoder.": "tracker.model.interactive_sam_prompt_encoder.",
    "tracker.sam_mask_decoder.": "tracker.model.interactive_sam_mask_decoder.",
    "tracker.mask_downsample.": "tracker.model.interactive_mask_downsample.",
    "tracker.obj_ptr_proj.": "tracker.model.interactive_obj_ptr_proj.",
    "tracker.": "tracker.model.",
}


def multiplex_layout(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ``sam3.1_multiplex.pt`` that finds and outlines what this ``sam3.pt`` does.

    The pyramids have three levels. What follows many objects at once stands beside what answers clicks, under the names
    that SAM 3 has for the latter, with other values: a reader that takes these answers noise.
    """
    renamed = {}
    for name, value in entries.items():
        if re.search(r"convs\.3\.", name):
            continue
        (before, after), *_ = [pair for pair in (*MOVED_IN_31.items(), ("", "")) if name.startswith(pair[0])]
        renamed[after + name.removeprefix(before)] = value
    beside = {
        "tracker.model.image_pe_layer.positional_encoding_gaussian_matrix": torch.zeros(2, 8),
        "tracker.model.output_valid_embed": torch.zeros(16, 8),
    }
    for name, value in renamed.items():
        for mine, other in (("interactive_convs.", "propagation_convs."), (".interactive_sam_mask", ".sam_mask")):
            if mine in name:
                beside[name.replace(mine, other)] = torch.full_like(value, 7.0)
    return renamed | beside


def fill(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Random values for every entry, which depend on its name and shape only and are the same on every machine.

    Numbers come from numpy's ``RandomState``, whose streams are frozen. Activations stay of the order of one.
    """
    return {name: _values(name, entry) for name, entry in entries.items()}


def small_config(side: int = 64) -> tuple[Sam3Config, Sam3TrackerConfig]:
    """SAM 3's structure, small, with two of every layer, and Meta's fixed sizes where Meta's code fixes them."""
    grid, width = side // 8, 32
    detr = {"hidden_size": width, "num_attention_heads": 2, "intermediate_size": 64, "dropout": 0.0, "num_layers": 2}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": width,
                "intermediate_size": 64,
                "num_hidden_layers": 4,
                "num_attention_heads": 2,
                "image_size": side,
                "patch_size": 8,
                "window_size": 4,
                "global_attn_indexes": [1, 3],
                "pretrain_image_size": 32,
                "layer_norm_eps": 1e-5,
            },
            "fpn_hidden_size": width,
            "backbone_feature_sizes": [[n * grid, n * grid] for n in (4, 2, 1)],
        },
        text_config={
            "vocab_size": 64,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "projection_dim": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 8,
            "hidden_act": "gelu",
            "pad_token_id": 0,
            "bos_token_id": 62,
            "eos_token_id": 63,
        },
        geometry_encoder_config=detr,
        detr_encoder_config=detr,
        detr_decoder_config={**detr, "num_queries": 9},
        mask_decoder_config={"hidden_size": width, "num_attention_heads": 2, "num_upsampling_stages": 3},
    )
    return config, tracker_config(config)


def small_entries(side: int = 64) -> dict[str, Tensor]:
    """A whole ``sam3.pt`` of ``small_config``, filled."""
    config, interactive = small_config(side)
    with torch.device("meta"):
        entries = meta_layout(Sam3Model(config), Sam3TrackerModel(interactive))
    return fill(entries)


def _gathered(origins: Mapping[str, tuple[Origin | None, Tensor]]) -> dict[str, Tensor]:
    """Entries out of parameters: the inverse of ``Origin.take``."""
    parts: dict[str, dict[Layout, Tensor]] = {}
    for name, (origin, value) in origins.items():
        assert origin is not None, name
        if origin.layout is Layout.STACKED:
            for key, row in zip(origin.keys, value.split(1), strict=True):
                parts[key] = {Layout.SAME: row.clone()}
        else:
            parts.setdefault(origin.keys[0], {})[origin.layout] = value
    return {key: _entry(values) for key, values in parts.items()}


def _entry(values: dict[Layout, Tensor]) -> Tensor:
    if Layout.QUERY in values:
        return torch.cat([values[third] for third in (Layout.QUERY, Layout.KEY, Layout.VALUE)])
    (layout, value), *_ = values.items()
    if layout is Layout.BEHIND_CLASS:
        return torch.cat([torch.zeros_like(value[:, :1]), value], dim=1)
    return value.T.contiguous() if layout is Layout.TRANSPOSED else value


def _beside_the_detector(config: Sam3Config, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    backbone = config.vision_config.backbone_config
    half = backbone.hidden_size // backbone.num_attention_heads // 2
    trunk = "detector.backbone.vision_backbone.trunk.blocks"
    grid = backbone.image_size // backbone.patch_size
    side = {
        i: grid if i in backbone.global_attn_indexes else backbone.window_size
        for i in range(backbone.num_hidden_layers)
    }
    rotary = {f"{trunk}.{i}.attn.freqs_cis": torch.zeros(n * n, half, dtype=torch.complex64) for i, n in side.items()}
    width = config.geometry_encoder_config.hidden_size
    points: dict[str, Tensor] = {}
    for name, inputs in (("direct", 2), ("pool", width), ("pos_enc", width)):
        points |= _linear(f"detector.geometry_encoder.points_{name}_project", width, inputs)
    return {**rotary, **points}


def _beside_the_tracker(config: Sam3Config) -> dict[str, Tensor]:
    width = config.vision_config.fpn_hidden_size
    entries = {
        "tracker.maskmem_tpos_enc": torch.zeros(FRAMES, 1, 1, MEMORY),
        "tracker.no_mem_pos_enc": torch.zeros(1, 1, width),
        "tracker.no_obj_ptr": torch.zeros(1, width),
        "tracker.no_obj_embed_spatial": torch.zeros(1, MEMORY),
        **_linear("tracker.mask_downsample", 1, 1, 4, 4),
        **_linear("tracker.obj_ptr_tpos_proj", MEMORY, width),
        **_linear("tracker.transformer.encoder.norm", width),
    }
    for n in range(3):
        entries |= _linear(f"tracker.obj_ptr_proj.layers.{n}", width, width)
    for n in range(MEMORY_LAYERS):
        layer = f"tracker.transformer.encoder.layers.{n}"
        for attention, inputs in (("self_attn", width), ("cross_attn_image", MEMORY)):
            entries |= _linear(f"{layer}.{attention}.q_proj", width, width)
            entries |= _linear(f"{layer}.{attention}.k_proj", width, inputs)
            entries |= _linear(f"{layer}.{attention}.v_proj", width, inputs)
            entries |= _linear(f"{layer}.{attention}.out_proj", width, width)
        entries |= _linear(f"{layer}.linear1", 2048, width) | _linear(f"{layer}.linear2", width, 2048)
        for norm in (1, 2, 3):
            entries |= _linear(f"{layer}.norm{norm}", width)
    return entries | _memory_encoder(width)


def _memory_encoder(width: int) -> dict[str, Tensor]:
    backbone = "tracker.maskmem_backbone"
    entries = _linear(f"{backbone}.pix_feat_proj", width, width, 1, 1) | _linear(
        f"{backbone}.out_proj", MEMORY, width, 1, 1
    )
    for n in range(4):
        entries |= _linear(f"{backbone}.mask_downsampler.encoder.{3 * n}", 4 ** (n + 1), 4**n, 3, 3)
        entries |= _linear(f"{backbone}.mask_downsampler.encoder.{3 * n + 1}", 4 ** (n + 1))
    entries |= _linear(f"{backbone}.mask_downsampler.encoder.12", width, 256, 1, 1)
    for n in range(FUSED_LAYERS):
        layer = f"{backbone}.fuser.layers.{n}"
        entries |= {f"{layer}.gamma": torch.zeros(width)} | _linear(f"{layer}.dwconv", width, 1, 7, 7)
        entries |= _linear(f"{layer}.norm", width)
        entries |= _linear(f"{layer}.pwconv1", 4 * width, width) | _linear(f"{layer}.pwconv2", width, 4 * width)
    return entries


def _linear(name: str, *shape: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.zeros(*shape), f"{name}.bias": torch.zeros(shape[0])}


def _values(name: str, entry: Tensor) -> Tensor:
    numbers = np.random.RandomState(zlib.crc32(name.encode()))
    if entry.is_complex():
        return torch.zeros(entry.shape, dtype=entry.dtype)
    values = torch.from_numpy(numbers.standard_normal(tuple(entry.shape)).astype(np.float32))
    if entry.dim() == 1:  # biases, and weights of norms
        return 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
    if name.endswith(("embed.weight", "embedding.weight", "reference_points.weight")) or entry.shape[0] == 1:
        return values
    return values / max(1, entry[0].numel()) ** 0.5
