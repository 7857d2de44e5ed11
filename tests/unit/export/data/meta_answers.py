"""Write ``meta_answers.npz``: what Meta's own code answers with the weights of ``meta_layout.small_entries``.

    PYTHONPATH=tests python tests/unit/export/data/meta_answers.py

Meta's modules are built as its ``model_builder.py`` builds them, but small, and take the entries under Meta's names. It
runs where Meta's package ``sam3`` 0.1.4 is importable (a machine with CUDA; its constructors ask for one).
``test_checkpoint.py`` reads the same entries as a ``sam3.pt`` and holds our graphs against these answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sam3 import model_builder as builder
from sam3.model import decoder, encoder, geometry_encoders, maskformer_segmentation, memory, model_misc, necks
from sam3.model.data_misc import FindStage
from sam3.model.geometry_encoders import Prompt
from sam3.model.position_encoding import PositionEmbeddingSine
from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
from sam3.model.sam3_image import Sam3Image
from sam3.model.sam3_tracking_predictor import Sam3TrackerPredictor
from sam3.model.text_encoder_ve import VETextEncoder
from sam3.model.vitdet import ViT
from sam3.model.vl_combiner import SAM3VLBackbone
from sam3.sam.transformer import RoPEAttention

from support.meta_layout import small_config, small_entries

TARGET = Path(__file__).with_suffix(".npz")
SIDE = 64
IDS = torch.tensor([[62, 5, 9, 63, 0, 0, 0, 0], [62, 17, 63, 0, 0, 0, 0, 0], [62, 1, 2, 3, 4, 5, 6, 63]])
BOXES = torch.tensor([[0.4, 0.5, 0.3, 0.2], [0.7, 0.2, 0.25, 0.3]])
"""cx, cy, w, h in 0..1: the first is a positive exemplar, the second a negative one."""
CLICKS = torch.tensor([[[20.0, 30.0], [50.0, 9.0]]])
"""x, y in pixels of the model's input: the first on the object, the second not on it."""
FRAME = torch.tensor([[8.0, 12.0, 40.0, 52.0]])
"""x0, y0, x1, y1 of a box around the object, in pixels of the model's input."""


def pixels() -> torch.Tensor:
    """float32 [1, 3, 64, 64] in -1..1."""
    numbers = np.random.RandomState(7)
    return torch.from_numpy(numbers.uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32))


def build() -> Sam3Image:
    """Meta's image model with the interactive predictor, small."""
    config, _ = small_config(SIDE)
    width, vision, text = 32, config.vision_config.backbone_config, config.text_config
    neck = necks.Sam3DualViTDetNeck(
        position_encoding=PositionEmbeddingSine(width, normalize=True),
        d_model=width,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        trunk=_trunk(vision),
        add_sam2_neck=True,
    )
    language = VETextEncoder(
        d_model=width,
        tokenizer=lambda texts, context_length: IDS[[int(t) for t in texts]],
        width=text.hidden_size,
        heads=text.num_attention_heads,
        layers=text.num_hidden_layers,
        context_length=text.max_position_embeddings,
        vocab_size=text.vocab_size,
    )
    return Sam3Image(
        backbone=SAM3VLBackbone(visual=neck, text=language, scalp=1),
        transformer=_transformer(width),
        input_geometry_encoder=_geometry(width),
        segmentation_head=maskformer_segmentation.UniversalSegmentationHead(
            hidden_dim=width,
            upsampling_stages=3,
            pixel_decoder=maskformer_segmentation.PixelDecoder(hidden_dim=width, num_upsampling_stages=3),
            cross_attend_prompt=_attention(width, batch_first=False),
        ),
        num_feature_levels=1,
        o2m_mask_predict=True,
        dot_prod_scoring=model_misc.DotProductScoring(
            d_model=width,
            d_proj=width,
            prompt_mlp=model_misc.MLP(width, 64, width, 2, residual=True, out_norm=torch.nn.LayerNorm(width)),
        ),
        use_instance_query=False,
        multimask_output=True,
        inst_interactive_predictor=SAM3InteractiveImagePredictor(_tracker(width)),
        matcher=None,
    ).eval()


def load(model: Sam3Image) -> None:
    """Put the entries in, under the names that the image model has for them (``_load_checkpoint``), strictly."""
    entries = small_entries(SIDE)
    renamed = {
        name.replace("detector.", "").replace("tracker.", "inst_interactive_predictor.model."): value
        for name, value in entries.items()
        if not name.endswith("freqs_cis")  # tables that the constructors compute
    }
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected, unexpected
    assert all(name.endswith("freqs_cis") for name in missing), missing


@torch.no_grad()
def ask(model: Sam3Image) -> dict[str, np.ndarray]:
    """Answers to three phrases, to one of them with boxes, to clicks and to a box."""
    seen = model.backbone.forward_image(pixels())
    answers: dict[str, torch.Tensor] = {}
    for phrase in range(len(IDS)):
        seen.update(model.backbone.forward_text([str(phrase)], device="cpu"))
        answers |= {f"phrase{phrase}_{k}": v for k, v in _ground(model, seen, model._get_dummy_prompt()).items()}
    seen.update(model.backbone.forward_text(["0"], device="cpu"))
    boxes = model._get_dummy_prompt()
    for box, positive in zip(BOXES, (True, False), strict=True):
        boxes.append_boxes(box.view(1, 1, 4), torch.tensor([[positive]]))
    answers |= {f"boxes_{k}": v for k, v in _ground(model, seen, boxes).items()}
    return {name: value.numpy() for name, value in (answers | _click(model, seen)).items()}


def _ground(model: Sam3Image, seen: dict[str, Any], boxes: Prompt) -> dict[str, torch.Tensor]:
    zero = torch.tensor([0])
    stage = FindStage(zero, zero, None, None, None, None, None)
    found = model.forward_grounding(seen, stage, find_target=None, geometric_prompt=boxes)
    return {
        "logits": found["pred_logits"][0, :, 0],
        "presence": found["presence_logit_dec"].flatten(),
        "boxes": found["pred_boxes_xyxy"][0],
        "masks": found["pred_masks"][0],
    }


def _click(model: Sam3Image, seen: dict[str, Any]) -> dict[str, torch.Tensor]:
    predictor = model.inst_interactive_predictor
    levels = list(seen["sam2_backbone_out"]["backbone_fpn"])
    tracker = predictor.model
    predictor._features = {
        "image_embed": levels[2] + tracker.no_mem_embed.view(1, -1, 1, 1),
        "high_res_feats": [tracker.sam_mask_decoder.conv_s0(levels[0]), tracker.sam_mask_decoder.conv_s1(levels[1])],
    }
    predictor._is_image_set, predictor._orig_hw = True, [(SIDE, SIDE)]
    labels = torch.tensor([[1, 0]], dtype=torch.int)
    answers = {}
    for name, points, marks, box in (("clicks", CLICKS, labels, None), ("frame", None, None, FRAME)):
        for many in (True, False):
            _, quality, masks = predictor._predict(points, marks, box, multimask_output=many)
            answers |= {f"{name}_{many}_quality".lower(): quality[0], f"{name}_{many}_masks".lower(): masks[0]}
    return answers


def _attention(width: int, batch_first: bool) -> Any:
    return builder.MultiheadAttention(num_heads=2, dropout=0.0, embed_dim=width, batch_first=batch_first)


def _trunk(vision: Any) -> ViT:
    return ViT(
        img_size=SIDE,
        pretrain_img_size=vision.pretrain_image_size,
        patch_size=vision.patch_size,
        embed_dim=vision.hidden_size,
        depth=vision.num_hidden_layers,
        num_heads=vision.num_attention_heads,
        mlp_ratio=vision.intermediate_size / vision.hidden_size,
        norm_layer="LayerNorm",
        qkv_bias=True,
        use_abs_pos=True,
        tile_abs_pos=True,
        global_att_blocks=tuple(vision.global_attn_indexes),
        rel_pos_blocks=(),
        use_rope=True,
        use_interp_rope=True,
        window_size=vision.window_size,
        pretrain_use_cls_token=True,
        retain_cls_token=False,
        ln_pre=True,
        ln_post=False,
        return_interm_layers=False,
        bias_patch_embed=False,
    )


def _fusion_layer(width: int, batch_first: bool, own: bool, keys: bool) -> encoder.TransformerEncoderLayer:
    return encoder.TransformerEncoderLayer(
        activation="relu",
        d_model=width,
        dim_feedforward=64,
        dropout=0.0,
        pos_enc_at_attn=own,
        pos_enc_at_cross_attn_keys=keys,
        pos_enc_at_cross_attn_queries=False,
        pre_norm=True,
        self_attention=_attention(width, batch_first),
        cross_attention=_attention(width, batch_first),
    )


def _geometry(width: int) -> geometry_encoders.SequenceGeometryEncoder:
    return geometry_encoders.SequenceGeometryEncoder(
        pos_enc=PositionEmbeddingSine(width, normalize=True),
        encode_boxes_as_points=False,
        points_direct_project=True,
        points_pool=True,
        points_pos_enc=True,
        boxes_direct_project=True,
        boxes_pool=True,
        boxes_pos_enc=True,
        d_model=width,
        num_layers=2,
        layer=_fusion_layer(width, batch_first=False, own=False, keys=True),
        add_cls=True,
        add_post_encode_proj=True,
    )


def _transformer(width: int) -> model_misc.TransformerWrapper:
    detr_encoder = encoder.TransformerEncoderFusion(
        layer=_fusion_layer(width, batch_first=True, own=True, keys=False),
        num_layers=2,
        d_model=width,
        num_feature_levels=1,
        frozen=False,
        add_pooled_text_to_img_feat=False,
        pool_text_with_mask=True,
    )
    layer = decoder.TransformerDecoderLayer(
        activation="relu",
        d_model=width,
        dim_feedforward=64,
        dropout=0.0,
        cross_attention=_attention(width, batch_first=False),
        n_heads=2,
        use_text_cross_attention=True,
    )
    detr_decoder = decoder.TransformerDecoder(
        layer=layer,
        num_layers=2,
        num_queries=9,
        return_intermediate=True,
        box_refine=True,
        num_o2m_queries=0,
        dac=True,
        boxRPB="log",
        d_model=width,
        frozen=False,
        interaction_layer=None,
        dac_use_selfatt_ln=True,
        resolution=SIDE,
        stride=8,
        presence_token=True,
    )
    return model_misc.TransformerWrapper(encoder=detr_encoder, decoder=detr_decoder, d_model=width)


def _tracker(width: int) -> Sam3TrackerPredictor:
    def rotary(**options: Any) -> RoPEAttention:
        return RoPEAttention(
            embedding_dim=width, num_heads=1, downsample_rate=1, dropout=0.0, feat_sizes=[8, 8], use_rope_real=False,
            use_fa3=False, **options,
        )  # fmt: skip

    layer = decoder.TransformerDecoderLayerv2(
        cross_attention_first=False,
        activation="relu",
        dim_feedforward=2048,
        dropout=0.0,
        pos_enc_at_attn=False,
        pre_norm=True,
        self_attention=rotary(),
        d_model=width,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=rotary(kv_in_dim=64, rope_k_repeat=True),
    )
    attention = decoder.TransformerEncoderCrossAttention(
        remove_cross_attention_layers=[],
        batch_first=True,
        d_model=width,
        frozen=False,
        pos_enc_at_input=True,
        layer=layer,
        num_layers=4,
    )
    remembering = memory.SimpleMaskEncoder(
        out_dim=64,
        in_dim=width,
        position_encoding=PositionEmbeddingSine(64, normalize=True),
        mask_downsampler=memory.SimpleMaskDownSampler(embed_dim=width, kernel_size=3, stride=2, padding=1),
        fuser=memory.SimpleFuser(layer=memory.CXBlock(dim=width), num_layers=2),
    )
    return Sam3TrackerPredictor(
        image_size=SIDE,
        num_maskmem=7,
        backbone=None,
        backbone_stride=8,
        transformer=model_misc.TransformerWrapper(encoder=attention, decoder=None, d_model=width),
        maskmem_backbone=remembering,
        multimask_output_in_sam=True,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )


if __name__ == "__main__":
    image_model = build()
    load(image_model)
    np.savez_compressed(TARGET, **{name: value.astype(np.float32) for name, value in ask(image_model).items()})
