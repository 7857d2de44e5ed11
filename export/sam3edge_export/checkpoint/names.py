"""Where each parameter of transformers' SAM 3 is in Meta's ``sam3.pt`` and ``sam3.1_multiplex.pt``.

Names and shapes follow Meta's modules (package ``sam3`` 0.1.4, ``model_builder.py`` and the modules it builds). A
rule names one parameter, or a family of them: ``#`` is a number and ``*`` is ``weight`` or ``bias``, the same
on both sides. Layouts differ in four places: Meta fuses the projections of queries, keys and values, transposes the
text projection, keeps a class position in front of the position embeddings of the vision encoder, and keeps one
embedding per kind of point.

SAM 3.1 finds objects with the same modules under the same names. What answers points and boxes stands elsewhere in it,
since its ``tracker.`` follows many objects of a video at once: see ``tracker_origin_31``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from torch import Tensor, cat


class Layout(Enum):
    """How a parameter lies in Meta's entries."""

    SAME = "the entry itself"
    QUERY = "first third of the rows"
    KEY = "second third of the rows"
    VALUE = "last third of the rows"
    TRANSPOSED = "rows and columns exchanged"
    BEHIND_CLASS = "[1, 1 + S, C] with the class position first"
    STACKED = "one entry a row"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one parameter comes from.

    Attributes:
        keys: entries of ``sam3.pt``; several only for ``Layout.STACKED``.
        layout: how the parameter lies in them.
    """

    keys: tuple[str, ...]
    layout: Layout

    def take(self, entries: Sequence[Tensor]) -> Tensor:
        """The parameter out of its entries; a view of them wherever the layout permits."""
        if self.layout is Layout.STACKED:
            return cat(list(entries))
        entry = entries[0]
        match self.layout:
            case Layout.TRANSPOSED:
                return entry.T.contiguous()
            case Layout.BEHIND_CLASS:
                return entry[:, 1:].contiguous()
            case Layout.QUERY | Layout.KEY | Layout.VALUE:
                rows = entry.shape[0] // 3
                which = (Layout.QUERY, Layout.KEY, Layout.VALUE).index(self.layout)
                return entry[which * rows : (which + 1) * rows]
            case _:
                return entry


def detector_origin(name: str) -> Origin | None:
    """Origin of a parameter of ``Sam3Model``; None where there is no rule for that name."""
    return _origin(name, _detector_rules())


def tracker_origin(name: str) -> Origin | None:
    """Origin of a parameter of ``Sam3TrackerModel`` outside of the vision trunk, which is the detector's; None where
    there is no rule for that name."""
    return _origin(name, _tracker_rules())


MOVED = (
    ("detector.backbone.vision_backbone.sam2_convs.", "detector.backbone.vision_backbone.interactive_convs."),
    ("tracker.sam_prompt_encoder.", "tracker.model.interactive_sam_prompt_encoder."),
    ("tracker.sam_mask_decoder.", "tracker.model.interactive_sam_mask_decoder."),
    ("tracker.no_mem_embed", "tracker.model.interactivity_no_mem_embed"),
)
"""What of the tracker begins otherwise in SAM 3.1. ``tracker.model.sam_mask_decoder`` is there, too, and is another."""


def tracker_origin_31(name: str) -> Origin | None:
    """As ``tracker_origin``, in SAM 3.1."""
    origin = tracker_origin(name)
    if origin is None:
        return None
    return Origin(tuple(_moved(key) for key in origin.keys), origin.layout)


def _moved(key: str) -> str:
    (before, after), *_ = [pair for pair in MOVED if key.startswith(pair[0])]
    return after + key.removeprefix(before)


_NEEDLESS = re.compile(
    r"(?!detector\.).*"  # the tracker's memory of a video, and what is beside the model
    r"|detector\.backbone\.vision_backbone\.trunk\.blocks\.\d+\.attn\.freqs_\w+"  # computed from the input size
    r"|detector\.backbone\.vision_backbone\.(sam2|interactive|propagation)_convs\..*"  # the tracker's
    r"|detector\.geometry_encoder\.points_.*"  # points beside a phrase, which Meta's processor does not take either
)


def is_needless(key: str) -> bool:
    """Whether what a phrase or a box finds is the same without this entry, as the published files have them."""
    return _NEEDLESS.fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class _Rule:
    ours: str
    theirs: tuple[str, ...]
    layout: Layout = Layout.SAME


def _origin(name: str, rules: Sequence[tuple[re.Pattern[str], _Rule]]) -> Origin | None:
    for pattern, rule in rules:
        found = pattern.fullmatch(name)
        if found is not None:
            return Origin(tuple(_fill(theirs, found.groups()) for theirs in rule.theirs), rule.layout)
    return None


def _fill(template: str, values: Sequence[str]) -> str:
    rest = iter(values)
    return re.sub(r"[#*]", lambda _: next(rest), template)


def _compiled(rules: Sequence[_Rule]) -> list[tuple[re.Pattern[str], _Rule]]:
    return [(re.compile(re.escape(r.ours).replace(r"\#", r"(\d+)").replace(r"\*", r"(weight|bias)")), r) for r in rules]


def _same(ours: str, theirs: str, names: dict[str, str]) -> list[_Rule]:
    return [_Rule(ours + mine, (theirs + other,)) for mine, other in names.items()]


def _attention(ours: str, theirs: str, out: str = "o_proj") -> list[_Rule]:
    """``torch.nn.MultiheadAttention`` with its fused projection."""
    thirds = (("q", Layout.QUERY), ("k", Layout.KEY), ("v", Layout.VALUE))
    fused = [_Rule(f"{ours}.{third}_proj.*", (f"{theirs}.in_proj_*",), layout) for third, layout in thirds]
    return [*fused, _Rule(f"{ours}.{out}.*", (f"{theirs}.out_proj.*",))]


def _layers(ours: str, theirs: str, count: int) -> list[_Rule]:
    """The detector's multi-layer perceptrons: ``layer1`` is ``layers.0``."""
    return [_Rule(f"{ours}.layer{n + 1}.*", (f"{theirs}.layers.{n}.*",)) for n in range(count)]


def _projections(ours: str, theirs: str) -> list[_Rule]:
    """The tracker's perceptrons of three layers."""
    return _same(
        ours, theirs, {".proj_in.*": ".layers.0.*", ".layers.0.*": ".layers.1.*", ".proj_out.*": ".layers.2.*"}
    )


def _pyramid(theirs: str) -> list[_Rule]:
    """A feature pyramid; detector and tracker have one each."""
    return _same(
        "vision_encoder.neck.fpn_layers.",
        theirs,
        {
            "0.scale_layers.0.*": "0.dconv_2x2_0.*",
            "0.scale_layers.2.*": "0.dconv_2x2_1.*",
            "1.scale_layers.0.*": "1.dconv_2x2.*",
            "#.proj1.*": "#.conv_1x1.*",
            "#.proj2.*": "#.conv_3x3.*",
        },
    )


def _fusion_layers(ours: str, theirs: str) -> list[_Rule]:
    """Layers of the geometry encoder and of the DETR encoder."""
    return [
        *_attention(f"{ours}.self_attn", f"{theirs}.self_attn"),
        *_attention(f"{ours}.cross_attn", f"{theirs}.cross_attn_image"),
        *_same(ours, theirs, {".mlp.fc1.*": ".linear1.*", ".mlp.fc2.*": ".linear2.*"}),
        *_same(ours, theirs, {f".layer_norm{n}.*": f".norm{n}.*" for n in (1, 2, 3)}),
    ]


@cache
def _detector_rules() -> list[tuple[re.Pattern[str], _Rule]]:
    return _compiled([*_vision(), *_text(), *_geometry(), *_detr(), *_heads()])


def _vision() -> list[_Rule]:
    ours, theirs = "vision_encoder.backbone.", "detector.backbone.vision_backbone.trunk."
    fused = (("q", Layout.QUERY), ("k", Layout.KEY), ("v", Layout.VALUE))
    return [
        _Rule(f"{ours}embeddings.position_embeddings", (f"{theirs}pos_embed",), Layout.BEHIND_CLASS),
        *(
            _Rule(f"{ours}layers.#.attention.{third}_proj.*", (f"{theirs}blocks.#.attn.qkv.*",), layout)
            for third, layout in fused
        ),
        *_same(
            ours,
            theirs,
            {
                "embeddings.patch_embeddings.projection.*": "patch_embed.proj.*",
                "layer_norm.*": "ln_pre.*",
                "layers.#.attention.o_proj.*": "blocks.#.attn.proj.*",
                "layers.#.layer_norm1.*": "blocks.#.norm1.*",
                "layers.#.layer_norm2.*": "blocks.#.norm2.*",
                "layers.#.mlp.fc1.*": "blocks.#.mlp.fc1.*",
                "layers.#.mlp.fc2.*": "blocks.#.mlp.fc2.*",
            },
        ),
        *_pyramid("detector.backbone.vision_backbone.convs."),
    ]


def _text() -> list[_Rule]:
    ours, theirs = "text_encoder.text_model.", "detector.backbone.language_backbone.encoder."
    block = "transformer.resblocks.#."
    return [
        _Rule("text_encoder.text_projection.weight", (f"{theirs}text_projection",), Layout.TRANSPOSED),
        _Rule("text_projection.*", ("detector.backbone.language_backbone.resizer.*",)),
        *_attention(f"{ours}encoder.layers.#.self_attn", f"{theirs}{block}attn", out="out_proj"),
        *_same(
            ours,
            theirs,
            {
                "embeddings.token_embedding.weight": "token_embedding.weight",
                "embeddings.position_embedding.weight": "positional_embedding",
                "encoder.layers.#.layer_norm1.*": f"{block}ln_1.*",
                "encoder.layers.#.layer_norm2.*": f"{block}ln_2.*",
                "encoder.layers.#.mlp.fc1.*": f"{block}mlp.c_fc.*",
                "encoder.layers.#.mlp.fc2.*": f"{block}mlp.c_proj.*",
                "final_layer_norm.*": "ln_final.*",
            },
        ),
    ]


def _geometry() -> list[_Rule]:
    ours, theirs = "geometry_encoder.", "detector.geometry_encoder."
    alike = ("label_embed", "cls_embed", "boxes_direct_project", "boxes_pool_project", "boxes_pos_enc_project")
    return [
        *_fusion_layers(f"{ours}layers.#", f"{theirs}encode.#"),
        *_same(ours, theirs, {f"{name}.*": f"{name}.*" for name in (*alike, "final_proj")}),
        *_same(
            ours,
            theirs,
            {
                "vision_layer_norm.*": "img_pre_norm.*",
                "prompt_layer_norm.*": "norm.*",
                "output_layer_norm.*": "encode_norm.*",
            },
        ),
    ]


def _detr() -> list[_Rule]:
    ours, theirs = "detr_decoder.", "detector.transformer.decoder."
    return [
        *_fusion_layers("detr_encoder.layers.#", "detector.transformer.encoder.layers.#"),
        *_attention(f"{ours}layers.#.self_attn", f"{theirs}layers.#.self_attn"),
        *_attention(f"{ours}layers.#.text_cross_attn", f"{theirs}layers.#.ca_text"),
        *_attention(f"{ours}layers.#.vision_cross_attn", f"{theirs}layers.#.cross_attn"),
        *_layers(f"{ours}box_head", f"{theirs}bbox_embed", 3),
        *_layers(f"{ours}presence_head", f"{theirs}presence_token_head", 3),
        *_layers(f"{ours}ref_point_head", f"{theirs}ref_point_head", 2),
        *_layers(f"{ours}box_rpb_embed_x", f"{theirs}boxRPB_embed_x", 2),
        *_layers(f"{ours}box_rpb_embed_y", f"{theirs}boxRPB_embed_y", 2),
        *_same(
            ours,
            theirs,
            {
                "layers.#.vision_cross_attn_layer_norm.*": "layers.#.norm1.*",
                "layers.#.text_cross_attn_layer_norm.*": "layers.#.catext_norm.*",
                "layers.#.self_attn_layer_norm.*": "layers.#.norm2.*",
                "layers.#.mlp_layer_norm.*": "layers.#.norm3.*",
                "layers.#.mlp.fc1.*": "layers.#.linear1.*",
                "layers.#.mlp.fc2.*": "layers.#.linear2.*",
                "output_layer_norm.*": "norm.*",
                "presence_layer_norm.*": "presence_token_out_norm.*",
                "query_embed.weight": "query_embed.weight",
                "reference_points.weight": "reference_points.weight",
                "presence_token.weight": "presence_token.weight",
            },
        ),
    ]


def _heads() -> list[_Rule]:
    ours, theirs = "mask_decoder.", "detector.segmentation_head."
    scoring, their_scoring = "dot_product_scoring.", "detector.dot_prod_scoring."
    return [
        *_attention(f"{ours}prompt_cross_attn", f"{theirs}cross_attend_prompt"),
        *_same(
            ours,
            theirs,
            {
                "pixel_decoder.conv_layers.#.*": "pixel_decoder.conv_layers.#.*",
                "pixel_decoder.norms.#.*": "pixel_decoder.norms.#.*",
                "mask_embedder.layers.#.*": "mask_predictor.mask_embed.layers.#.*",
                "instance_projection.*": "instance_seg_head.*",
                "semantic_projection.*": "semantic_seg_head.*",
                "prompt_cross_attn_norm.*": "cross_attn_norm.*",
            },
        ),
        *_layers(f"{scoring}text_mlp", f"{their_scoring}prompt_mlp", 2),
        *_same(
            scoring,
            their_scoring,
            {
                "text_mlp_out_norm.*": "prompt_mlp.out_norm.*",
                "text_proj.*": "prompt_proj.*",
                "query_proj.*": "hs_proj.*",
            },
        ),
    ]


@cache
def _tracker_rules() -> list[tuple[re.Pattern[str], _Rule]]:
    positions = ("tracker.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",)
    points = tuple(f"tracker.sam_prompt_encoder.point_embeddings.{kind}.weight" for kind in range(4))
    return _compiled(
        [
            *_pyramid("detector.backbone.vision_backbone.sam2_convs."),
            _Rule("no_memory_embedding", ("tracker.no_mem_embed",)),
            _Rule("shared_image_embedding.positional_embedding", positions),
            _Rule("prompt_encoder.shared_embedding.positional_embedding", positions),
            _Rule("prompt_encoder.point_embed.weight", points, Layout.STACKED),
            *_same(
                "prompt_encoder.",
                "tracker.sam_prompt_encoder.",
                {
                    "mask_embed.conv1.*": "mask_downscaling.0.*",
                    "mask_embed.layer_norm1.*": "mask_downscaling.1.*",
                    "mask_embed.conv2.*": "mask_downscaling.3.*",
                    "mask_embed.layer_norm2.*": "mask_downscaling.4.*",
                    "mask_embed.conv3.*": "mask_downscaling.6.*",
                    "no_mask_embed.weight": "no_mask_embed.weight",
                    "not_a_point_embed.weight": "not_a_point_embed.weight",
                },
            ),
            *_mask_decoder("mask_decoder.", "tracker.sam_mask_decoder."),
        ]
    )


def _mask_decoder(ours: str, theirs: str) -> list[_Rule]:
    alike = ("q_proj", "k_proj", "v_proj")
    attention = {f".{name}.*": f".{name}.*" for name in alike} | {".o_proj.*": ".out_proj.*"}
    block = "transformer.layers.#."
    attentions = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    return [
        *(rule for name in attentions for rule in _same(f"{ours}{block}{name}", f"{theirs}{block}{name}", attention)),
        *_same(
            f"{ours}transformer.final_attn_token_to_image", f"{theirs}transformer.final_attn_token_to_image", attention
        ),
        *_same(ours, theirs, {f"{block}layer_norm{n}.*": f"{block}norm{n}.*" for n in (1, 2, 3, 4)}),
        *_projections(f"{ours}output_hypernetworks_mlps.#", f"{theirs}output_hypernetworks_mlps.#"),
        *_projections(f"{ours}iou_prediction_head", f"{theirs}iou_prediction_head"),
        *_projections(f"{ours}pred_obj_score_head", f"{theirs}pred_obj_score_head"),
        *_same(
            ours,
            theirs,
            {
                f"{block}mlp.proj_in.*": f"{block}mlp.lin1.*",
                f"{block}mlp.proj_out.*": f"{block}mlp.lin2.*",
                "transformer.layer_norm_final_attn.*": "transformer.norm_final_attn.*",
                "upscale_conv1.*": "output_upscaling.0.*",
                "upscale_layer_norm.*": "output_upscaling.1.*",
                "upscale_conv2.*": "output_upscaling.3.*",
                "iou_token.weight": "iou_token.weight",
                "mask_tokens.weight": "mask_tokens.weight",
                "obj_score_token.weight": "obj_score_token.weight",
                "conv_s0.*": "conv_s0.*",
                "conv_s1.*": "conv_s1.*",
            },
        ),
    ]
